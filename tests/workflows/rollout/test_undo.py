"""The undo of a rollout: which routes go back, to which release, and what is declared then."""

from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import WorkflowFailureError

from relight.domain.hold import Hold, HoldKind, Selector
from relight.domain.names import track_scope
from relight.domain.rollout.rollout import RolloutPhase, RouteProgress
from tests.workflows.rollout.test_rollback import CONTROL, converged_in_part
from workflows.failures import fault_of
from workflows.rollout.rollout import RolloutRelease


def default_release(harness):
    return harness.store.fleet_settings.get("default_release_tag")


async def rolled_out(harness, tag, **strategy):
    rollout = await harness.start_rollout(tag, max_concurrent=6, waves=("100%",), **strategy)
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED


async def undone(harness, tag, scope="fleet", **strategy):
    return await harness.ended(await harness.start_rollout(tag, scope, undo=True, **strategy))


async def test_after_convergence_all_routes_and_the_declaration_go_back(harness, route_ids):
    await rolled_out(harness, "v0.0.74")
    assert default_release(harness) == "v0.0.74"
    ended = await undone(harness, "v0.0.74")
    assert (ended.phase, ended.undo) == (RolloutPhase.CONVERGED, True)
    assert ended.counts == {RouteProgress.CONVERGED: 6}
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 6
    assert default_release(harness) == "v0.0.73"


async def test_each_route_goes_back_to_its_own_release(harness, route_ids):
    ahead = route_ids[2]
    await harness.swap(ahead, "v0.0.74")
    await rolled_out(harness, "v0.0.78")
    assert (await undone(harness, "v0.0.78")).phase is RolloutPhase.CONVERGED
    expected = ["v0.0.74" if each == ahead else "v0.0.73" for each in route_ids]
    assert harness.current_tags(route_ids) == expected


async def test_it_takes_the_routes_of_every_run_and_no_other(harness, route_ids):
    part = await converged_in_part(harness, "v0.0.74", waves=("2", "100%"))
    moved = [each.route_id for each in part.routes if each.progress is RouteProgress.CONVERGED]
    elsewhere = next(each for each in route_ids if each not in moved)
    await harness.swap(elsewhere, "v0.0.78")
    ended = await undone(harness, "v0.0.74")
    assert sorted(each.route_id for each in ended.routes) == sorted(moved)
    tags = harness.current_tags(route_ids)
    assert tags == ["v0.0.78" if each == elsewhere else "v0.0.73" for each in route_ids]
    assert default_release(harness) == "v0.0.73"


async def test_a_running_rollout_is_superseded_and_its_routes_go_back(harness, route_ids):
    rollout = await harness.start_rollout("v0.0.74", waves=("2", "100%"), approval="canary")
    await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.HOLDING)
    undo = await harness.start_rollout("v0.0.74", undo=True)
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.SUPERSEDED
    assert ended.detail.startswith("superseded by the undo of v0.0.74: ")
    assert (await undo.result()).counts == {RouteProgress.CONVERGED: 2}
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 6


async def test_a_running_rollout_that_has_changed_no_route_is_ended(harness, route_ids):
    now = datetime.now(UTC)
    freeze = Hold(
        kind=HoldKind.FREEZE,
        starts_at=now - timedelta(hours=1),
        ends_at=now + timedelta(hours=1),
        owner="ops",
        reason="a match is on",
        covers=Selector(track=harness.track),
    )
    harness.store.freezes.add(freeze, harness.operation())
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",))
    await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.HOLDING)
    ended = await undone(harness, "v0.0.74")
    assert (await rollout.result()).phase is RolloutPhase.SUPERSEDED
    assert (ended.phase, ended.counts) == (RolloutPhase.CONVERGED, {})
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 6


async def test_a_track_follows_the_default_again_if_it_did_before(harness, route_ids):
    scope = track_scope("stable")
    await rolled_out(harness, "v0.0.74", scope=scope)
    assert (await undone(harness, "v0.0.74", scope)).phase is RolloutPhase.CONVERGED
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 6
    assert [track.release_override for track in harness.store.tracks.list()] == [None]


async def test_it_stops_at_its_budget_and_the_next_one_brings_back_what_is_left(harness, route_ids):
    await rolled_out(harness, "v0.0.74")
    host = harness.hosts.of(route_ids[0])
    host.unhealthy_version = "0.0.73"
    stopped = await undone(harness, "v0.0.74", waves=("100%",), failure_budget=0, max_concurrent=1)
    assert stopped.phase is RolloutPhase.STOPPED
    assert stopped.count(RouteProgress.FAILED) == 1
    assert stopped.to_do.startswith("relight rollout undo v0.0.74, for ")
    host.unhealthy_version = None
    again = await undone(harness, "v0.0.74")
    assert again.phase is RolloutPhase.CONVERGED
    assert harness.current_tags(route_ids[1:]) == ["v0.0.73"] * 5


async def test_without_a_route_at_the_release_it_is_refused_and_changes_nothing(harness, route_ids):
    undo = await harness.start_rollout("v0.0.78", undo=True)
    with pytest.raises(WorkflowFailureError) as caught:
        await undo.result()
    assert fault_of(caught.value.cause).kind == "no-routes"
    assert harness.store.rollouts.list() == []
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 6


async def test_it_obeys_the_controls_of_a_rollout(harness, route_ids):
    await rolled_out(harness, "v0.0.74")
    gate = harness.hosts.hold_installs()
    undo = await harness.start_rollout("v0.0.74", undo=True)
    await gate.reached()
    assert (await undo.execute_update(RolloutRelease.pause, CONTROL)).phase is RolloutPhase.PAUSED
    await undo.execute_update(RolloutRelease.resume, CONTROL)
    await undo.execute_update(RolloutRelease.abort, CONTROL)
    gate.open()
    ended = await harness.ended(undo)
    assert (ended.phase, ended.count(RouteProgress.UNTOUCHED)) == (RolloutPhase.ABORTED, 5)
    assert (await undone(harness, "v0.0.74")).phase is RolloutPhase.CONVERGED
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 6
