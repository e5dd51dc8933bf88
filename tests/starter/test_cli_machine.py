"""`relight machine remove`: a person's word ends a machine that automation leaves."""

from relight.domain.names import machine_workflow_id
from relight.domain.route import RouteStatus


async def test_a_machine_that_serves_nothing_is_removed_by_a_persons_word(installation):
    harness, relight = installation.harness, installation.relight
    key = await harness.pool_machine()
    harness.store.pool_sizes.set("fake", "fake-east", 1, harness.operation())
    done = await relight("machine", "remove", key, "--reason", "its disk is slow")
    assert done.code == 0, done
    assert f"{key} is drained, and destroyed once" in done.out
    await harness.client.get_workflow_handle(machine_workflow_id(key)).result()
    assert key not in await harness.machine_keys()
    assert harness.store.pool.list() == []
    [word] = harness.events(kind="machine-removal-requested")
    assert (word.machine_key, word.reason) == (key, "its disk is slow")
    [event] = harness.events(kind="machine-destroyed")
    assert event.detail["cause"] == "requested"


async def test_a_machine_that_serves_is_refused_and_kept(installation):
    harness = installation.harness
    [route_id] = await installation.provision(1)
    words = ("machine", "remove", f"{route_id}-g1", "--reason", "a typing error")
    await installation.refuses(3, words, f"serves route {route_id}: `relight route replace")
    assert harness.route(route_id).status is RouteStatus.SERVING
    assert harness.events(kind="machine-removal-requested") == []


async def test_a_machine_that_is_not_on_record_needs_its_provider(installation):
    words = ("machine", "remove", "nobody-g1", "--reason", "left over")
    await installation.refuses(2, words, "name its provider with --provider")
