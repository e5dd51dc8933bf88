"""`relight machine remove`, `keep`: a person's word ends a machine, or its removal."""

from temporalio.client import WorkflowExecutionStatus

from relight.domain.names import machine_workflow_id
from relight.domain.route import RouteStatus
from tests.workflows.pools import close_breaker, open_breaker
from tests.workflows.replacing import removal, replace


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


async def test_a_machine_that_is_destroyed_is_refused(installation):
    harness, relight = installation.harness, installation.relight
    key = await harness.pool_machine()
    assert (await relight("machine", "remove", key, "--reason", "it is slow")).code == 0
    await harness.client.get_workflow_handle(machine_workflow_id(key)).result()
    words = ("machine", "remove", key, "--reason", "once more")
    await installation.refuses(3, words, f"{key} is destroyed since", f"{key} --provider fake")
    keep = ("machine", "keep", key, "--reason", "no, stay")
    await installation.refuses(3, keep, f"too late: machine {key} is destroyed since")
    assert len(harness.events(kind="machine-removal-requested")) == 1


async def test_a_removal_is_ended_and_its_machine_is_kept_until_a_person_removes_it(installation):
    harness, relight = installation.harness, installation.relight
    [route_id] = await installation.provision(1)
    key = f"{route_id}-g1"
    open_breaker(harness)
    await replace(harness, route_id, requested=True)
    shown = (await relight("route", "show", route_id)).out
    assert f"relight machine keep {key}" in " ".join(shown.split())
    kept = await relight("machine", "keep", key, "--reason", "its users are there", "--json")
    assert kept.code == 0, kept
    assert kept.json == {"machine_key": key, "route_id": None, "removal_ended": True}
    described = await removal(harness, key).describe()
    assert described.status is not WorkflowExecutionStatus.RUNNING
    [event] = harness.events(kind="machine-kept")
    assert (event.machine_key, event.reason) == (key, "its users are there")
    close_breaker(harness)
    # No run destroys it, though nothing but the person holds it any more.
    for _ in range(2):
        assert (await relight("reconcile")).code == 0
    assert key in await harness.machine_keys()
    assert harness.store.machines.get(key).status == "kept"
    shown = (await relight("route", "show", route_id)).out
    assert f"relight machine remove {key}" in " ".join(shown.split())
    again = await relight("machine", "keep", key, "--reason", "its users are there")
    assert (again.code, len(harness.events(kind="machine-kept"))) == (0, 1)
    assert (await relight("machine", "remove", key, "--reason", "they left")).code == 0
    await removal(harness, key).result()
    assert key not in await harness.machine_keys()


async def test_what_is_not_being_removed_cannot_be_kept(installation):
    [route_id] = await installation.provision(1)
    pooled = await installation.harness.pool_machine()
    for key, why in (
        (f"{route_id}-g1", f"serves route {route_id}, and no removal of it runs"),
        (pooled, "is in the pool of fake/fake-east, and no removal of it runs"),
        ("nobody-g1", "is not on record, and no removal of it runs"),
    ):
        await installation.refuses(3, ("machine", "keep", key, "--reason", "stay"), why)
