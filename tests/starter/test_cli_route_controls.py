"""`relight route swap`, `cancel`, `retire`, `quarantine`, `release`, `move`, `replace --cancel`."""

import asyncio
from datetime import timedelta

import pytest

from relight.domain.names import machine_workflow_id
from relight.domain.route import RouteStatus
from tests.starter.stores import ROUTE_KEYS
from tests.store.fleets import MANUAL


@pytest.fixture(autouse=True)
def prompt_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """A running activity learns of its cancellation by its next heartbeat."""
    monkeypatch.setattr("activities.execution.HEARTBEAT_INTERVAL", timedelta(milliseconds=200))
    monkeypatch.setattr("worker.MAX_HEARTBEAT_INTERVAL", timedelta(milliseconds=200))


async def test_a_route_is_swapped_to_any_release(installation):
    harness, relight = installation.harness, installation.relight
    [route_id] = await installation.provision(1)
    forward = await relight("route", "swap", route_id, "v0.0.74", "-r", "to try it")
    assert forward.code == 0, forward
    assert f"{route_id}: proven at v0.0.74 on {route_id}-g1" in forward.out
    assert harness.events(route_id, "target-set")[-1].reason == "to try it"
    refused = await relight("route", "swap", route_id, "v0.0.73")
    assert refused.code == 3
    assert "--allow-downgrade" in refused.said
    words = ("route", "swap", route_id, "v0.0.73", "--allow-downgrade", "--json")
    back = await relight(*words)
    assert back.code == 0, back
    assert (back.json["release_tag"], back.json["machine_key"]) == ("v0.0.73", f"{route_id}-g1")


async def test_a_release_or_route_that_does_not_exist_is_bad_input(installation):
    [route_id] = await installation.provision(1)
    await installation.refuses(2, ("route", "swap", route_id, "v9.9.9"), "v9.9.9")
    await installation.refuses(2, ("route", "swap", "nobody", "v0.0.74"), "no route nobody")
    await installation.refuses(
        2, ("route", "retire", "nobody", "--reason", "a typing error"), "no route nobody"
    )


async def test_a_retired_route_is_shown_with_its_removal_until_that_ends(installation):
    harness, relight = installation.harness, installation.relight
    [route_id] = await installation.provision(1)
    ended = await relight("route", "retire", route_id, "--reason", "nobody uses it")
    assert ended.code == 0, ended
    assert f"{route_id} is retired; its history stays" in ended.out
    assert f"{route_id}-g1 is drained, and destroyed once" in ended.out
    await harness.client.get_workflow_handle(machine_workflow_id(f"{route_id}-g1")).result()
    shown = (await relight("route", "show", route_id, "--json")).json
    assert shown["route"]["status"] == "retired"
    assert [machine["status"] for machine in shown["machines"]] == ["destroyed"]
    [event] = [each for each in shown["events"] if each["kind"] == "route-retired"]
    assert event["reason"] == "nobody uses it"
    assert (await relight("fleet", "status", "--json")).json["converged"]
    again = await relight("route", "retire", route_id, "-r", "once more", "--json")
    assert (again.code, list(again.json)) == (0, ["route_id", "track", "machines"])
    assert again.json["machines"] == []


async def test_a_running_swap_is_cancelled_with_who_and_why(installation):
    harness, relight = installation.harness, installation.relight
    [route_id] = await installation.provision(1)
    gate = harness.hosts.hold_installs()
    swap = await harness.start_swap(route_id, "v0.0.74")
    await gate.reached()
    await installation.refuses(
        3, ("route", "replace", route_id, "--cancel", "-r", "why not"), "no AutoreplaceRoute runs"
    )
    ended = await relight("route", "cancel", route_id, "-r", "its postinst hangs", "--json")
    assert ended.code == 0, ended
    assert ended.json == {"route_id": route_id, "operation": "HotSwapRoute", "ended": "cancelled"}
    [event] = harness.events(route_id, "operation-cancelled")
    assert (event.reason, event.detail["run_id"]) == ("its postinst hangs", swap.result_run_id)
    assert harness.route(route_id).status is RouteStatus.FAULTED
    await installation.refuses(3, ("route", "cancel", route_id), "no operation runs on route")


async def test_a_replacement_is_cancelled_and_the_route_keeps_its_machine(installation):
    harness, relight = installation.harness, installation.relight
    [route_id] = await installation.provision(1)
    await harness.pool_machine()
    await harness.swap(route_id, "v0.0.74")
    gate = harness.hosts.hold_installs()
    replacing = asyncio.create_task(relight("route", "replace", route_id, "-r", "its disk fails"))
    await gate.reached()
    ended = await relight("route", "replace", route_id, "--cancel", "-r", "it is well again")
    assert ended.code == 0, ended
    assert "AutoreplaceRoute has ended: cancelled" in ended.out
    assert (await replacing).code == 1
    gate.open()
    route = harness.route(route_id)
    assert route.machine is not None
    assert (route.status, route.machine.key) == (RouteStatus.SERVING, f"{route_id}-g1")


async def test_a_quarantine_is_shown_and_released(relight, one_faulted):
    quarantined = await relight("route", "quarantine", "east-2", "-r", "incident 412", "--json")
    assert quarantined.code == 0, quarantined
    assert quarantined.json["quarantine"]["reason"] == "incident 412"
    again = await relight("route", "quarantine", "east-2", "-r", "again")
    assert (again.code, "already" in again.said) == (3, True)
    shown = (await relight("route", "show", "east-2")).out
    assert "incident 412; `relight route release east-2` ends it" in shown
    released = await relight("route", "release", "east-2", "-r", "it is found")
    assert (released.code, "east-2 is released" in released.out) == (0, True)
    assert (await relight("route", "release", "east-2")).code == 3
    assert (await relight("route", "quarantine", "nobody", "-r", "x")).code == 2
    reasons = {event.kind: event.reason for event in one_faulted.events.list(route_id="east-2")}
    assert reasons["route-quarantined"] == "incident 412"
    assert reasons["quarantine-ended"] == "it is found"


async def test_a_route_is_moved_to_another_track(relight, one_faulted):
    one_faulted.tracks.set("beta", "v0.0.74", MANUAL)
    moved = await relight("route", "move", "east-1", "--track", "beta", "-r", "a canary", "--json")
    assert moved.code == 0, moved
    assert (list(moved.json), moved.json["track"]) == (ROUTE_KEYS, "beta")
    [event] = one_faulted.events.list(kind="route-moved")
    assert (event.reason, event.detail) == ("a canary", {"previous": "stable", "track": "beta"})
    again = await relight("route", "move", "east-1", "--track", "beta")
    assert (again.code, len(one_faulted.events.list(kind="route-moved"))) == (0, 1)
    assert (await relight("route", "move", "east-1", "--track", "nowhere")).code == 2
    assert (await relight("route", "move", "nobody", "--track", "beta")).code == 2
