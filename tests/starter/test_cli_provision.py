"""`relight route provision` and `relight route wait`."""

import asyncio

from tests.starter.installation import FAULT_KEYS, provision


async def test_a_busy_route_does_not_block_the_others(installation, three_routes):
    harness = installation.harness
    busy, new = three_routes[0], harness.new_route_id()
    gate = harness.hosts.hold_installs()
    swap = await harness.start_swap(busy, "v0.0.74")
    await gate.reached()
    await installation.refuses(3, provision(busy), busy, "another operation")
    ended = await installation.relight(*provision(busy, new))
    gate.open()
    assert ended.code == 1
    assert "1 of 2 routes were not provisioned" in ended.said
    assert harness.route(new).current_release_tag == "v0.0.73"
    await swap.result()


async def test_a_count_of_routes_gets_the_first_free_ids(installation):
    harness = installation.harness
    await harness.provision("fake-east-2")
    # Workflows of another test may have these ids on this server: they have ended.
    ended = await installation.relight(*provision(), "--count", "2", "-r", "more room", "--json")
    assert ended.code == 0, ended
    assert [each["route_id"] for each in ended.json] == ["fake-east-1", "fake-east-3"]
    for each in ended.json:
        assert list(each) == ["route_id", "provisioned", "fault"]
        assert list(each["provisioned"]) == [
            *("route_id", "machine", "release_tag", "proof"),
            *("instead_of", "instead_reason"),
        ]
        assert harness.route(each["route_id"]).current_release_tag == "v0.0.73"
    assert harness.events("fake-east-3", "route-opened")[0].reason == "more room"


async def test_without_waiting_it_prints_the_wait_command(installation):
    route_id = installation.harness.new_route_id()
    started = await installation.relight(*provision(route_id), "--no-wait")
    assert started.code == 0
    assert f"relight route wait {route_id}" in started.out
    waited = await installation.relight("route", "wait", route_id)
    assert (waited.code, waited.out) == (0, "")
    assert f"{route_id}: proven at v0.0.73 on {route_id}-g1" in waited.err


async def test_without_waiting_the_json_has_each_workflow(installation):
    route_id = installation.harness.new_route_id()
    started = await installation.relight(*provision(route_id), "--no-wait", "--json")
    assert started.json == [{"route_id": route_id, "workflow_id": f"route/{route_id}"}]
    waited = await installation.relight("route", "wait", route_id, "--json")
    assert [list(each) for each in waited.json] == [["route_id", "provisioned", "fault"]]


async def test_wait_finds_a_provisioning_that_is_older_than_other_operations(
    installation, three_routes
):
    await (await installation.harness.start_swap(three_routes[0], "v0.0.74")).result()
    waited = await installation.relight("route", "wait", three_routes[0])
    assert waited.code == 0
    assert "proven at v0.0.73" in waited.err


async def test_a_failed_route_is_reported_with_its_host_and_the_others_succeed(installation):
    harness = installation.harness
    harness.store.fleet_settings.set("default_release_tag", "v0.0.76", harness.operation())
    harness.store.tracks.set("beta", "v0.0.74", harness.operation())
    bad, good = harness.new_route_id(), harness.new_route_id()
    failed, _ = await asyncio.gather(
        installation.relight(*provision(bad)), installation.relight(*provision(good, track="beta"))
    )
    assert (failed.code, failed.out) == (1, "")
    for text in (f"route {bad}", f"{bad}-g1", "192.0.2.", "(release)", "panic: "):
        assert text in failed.said
    assert harness.route(good).current_release_tag == "v0.0.74"
    assert await harness.machines_of(bad) == []


async def test_a_failure_as_json_has_the_fault(installation):
    harness = installation.harness
    harness.store.fleet_settings.set("default_release_tag", "v0.0.77", harness.operation())
    failed = await installation.relight(*provision(harness.new_route_id()), "--json")
    assert failed.code == 1
    [outcome] = failed.json
    assert outcome["provisioned"] is None
    assert list(outcome["fault"]) == FAULT_KEYS
