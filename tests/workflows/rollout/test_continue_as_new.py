"""Rollouts and waves that continue as new end as if they had not.

The limit of a history is a few events here, so that each stage continues as new, some more than
once.
"""

import asyncio
from datetime import timedelta

import pytest

from relight.domain.names import ROLLOUT_PREFIX
from relight.domain.rollout.rollout import RolloutPhase, RouteProgress, SetConcurrency
from relight.domain.route import RouteStatus
from relight.hosts.errors import LoginRefusedError
from tests.workflows.rollout.conftest import WaveForm, six_routes, until_holding
from tests.workflows.rollout.histories import histories
from tests.workflows.rollout.test_rollback import CONTROL
from workflows.rollout.rollout import RolloutRelease

EVENTS = 30
"""More than the first workflow tasks of a run need, less than a stage."""


@pytest.fixture
def harness(roomy_harness, wave_form, monkeypatch):
    """An installation whose rollouts and waves continue as new all the time."""
    monkeypatch.setattr("workflows.rollout.state.MAX_HISTORY_EVENTS", EVENTS)
    return roomy_harness


@pytest.fixture
async def route_ids(harness):
    return await six_routes(harness)


async def runs(harness, rollout):
    """Return how many runs each workflow of a rollout had so far."""
    return {name: len(each) for name, each in (await histories(harness.client, rollout)).items()}


async def continued(harness, rollout, wave_id=None, max_concurrent=2):
    """Send controls until the rollout, and its wave, have continued as new once more."""
    workflow_id = wave_id or rollout.id
    before = await runs(harness, rollout)
    again = before
    while again[rollout.id] == before[rollout.id] or again[workflow_id] == before[workflow_id]:
        control = SetConcurrency(max_concurrent=max_concurrent, origin=CONTROL.origin)
        await rollout.execute_update(RolloutRelease.set_concurrency, control)
        again = await runs(harness, rollout)


def installs(harness, route_ids):
    return [harness.hosts.of(each).installs for each in route_ids]


async def test_with_swaps_in_flight_each_is_awaited_and_none_is_repeated(
    harness, route_ids, wave_form
):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("2", "100%"), max_concurrent=2)
    await harness.until(lambda: harness.hosts.max_concurrent("install") == 2)
    await continued(harness, rollout, wave_form.id_of(rollout, "1/swap"))
    status = harness.status(rollout)
    assert (status.phase, status.count(RouteProgress.SWAPPING)) == (RolloutPhase.RUNNING, 2)
    assert len(harness.store.disruptions.list()) == 2
    gate.open()
    ended = await rollout.result()
    assert (ended.phase, ended.counts) == (RolloutPhase.CONVERGED, {RouteProgress.CONVERGED: 6})
    assert installs(harness, route_ids) == [["0.0.73", "0.0.74"]] * 6
    assert harness.store.disruptions.list() == []
    assert harness.store.fleet_settings.get("default_release_tag") == "v0.0.74"
    [recorded] = harness.store.rollouts.list()
    assert recorded.run_id == rollout.first_execution_run_id


async def test_a_route_that_is_busy_meanwhile_is_swapped_once_it_is_free(
    harness, route_ids, wave_form, monkeypatch
):
    monkeypatch.setattr("workflows.rollout.wave.ROUTE_BUSY_PAUSE", timedelta(milliseconds=300))
    gate = harness.hosts.hold_installs()
    by_hand = await harness.start_swap(route_ids[0], "v0.0.74")
    await gate.reached()
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), max_concurrent=6)
    await harness.until(lambda: harness.hosts.max_concurrent("install") == 6)
    await continued(harness, rollout, wave_form.id_of(rollout, "1/swap"), max_concurrent=6)
    gate.open()
    await by_hand.result()
    assert (await rollout.result()).counts == {RouteProgress.CONVERGED: 6}
    assert installs(harness, route_ids) == [["0.0.73", "0.0.74"]] * 6


async def test_a_route_that_fails_while_it_continues_as_new_stops_it_with_its_fault(
    harness, route_ids, wave_form
):
    harness.hosts.of(route_ids[0]).unhealthy_version = "0.0.74"
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("100%",), max_concurrent=6, roll_back=False
    )
    await harness.until(lambda: harness.hosts.max_concurrent("install") >= 3)
    await continued(harness, rollout, wave_form.id_of(rollout, "1/swap"), max_concurrent=6)
    gate.open()
    ended = await harness.ended(rollout)
    assert ended.phase is RolloutPhase.STOPPED
    [failed] = [each for each in ended.routes if each.progress is RouteProgress.FAILED]
    assert failed.fault is not None
    assert (failed.route_id, failed.fault.fault_class) == (route_ids[0], "release")
    assert harness.hosts.of(route_ids[0]).installs == ["0.0.73", "0.0.74"]


async def test_a_failure_is_kept_while_it_is_asked_whether_our_key_is_wrong(
    harness, route_ids, wave_form, monkeypatch
):
    [check] = harness.parts.connectivity
    asked, answered, usual = asyncio.Event(), asyncio.Event(), check.run

    async def run():
        asked.set()
        await answered.wait()
        return await usual()

    monkeypatch.setattr(check, "run", run)
    harness.hosts.locked_out = {f"{route_ids[0]}-g1": LoginRefusedError}
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("100%",), max_concurrent=6, failure_budget=1
    )
    await asked.wait()
    await continued(harness, rollout, wave_form.id_of(rollout, "1/swap"), max_concurrent=6)
    answered.set()
    ended = await rollout.result()
    [failed] = [each for each in ended.routes if each.progress is RouteProgress.FAILED]
    assert failed.fault is not None
    assert (failed.route_id, failed.fault.kind) == (route_ids[0], "login-refused")
    swaps = {event.run_id for event in harness.events(route_ids[0]) if event.fault_kind}
    assert len(swaps) == 1


async def test_a_soak_and_an_approval_end_as_without(harness, route_ids):
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("2", "100%"), approval="canary", soak="PT2S"
    )
    await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.SOAKING)
    await continued(harness, rollout)
    status = await until_holding(harness, rollout, "approve to continue")
    assert status.count(RouteProgress.CONVERGED) == 2
    await continued(harness, rollout)
    assert harness.status(rollout).phase is RolloutPhase.HOLDING
    await rollout.execute_update(RolloutRelease.approve, CONTROL)
    ended = await rollout.result()
    assert (ended.phase, ended.counts) == (RolloutPhase.CONVERGED, {RouteProgress.CONVERGED: 6})
    proofs = [len(harness.events(each, "route-proven")) for each in route_ids]
    assert proofs == [3] * 6  # At the first boot, at the swap, after the soak.
    decided = [event.detail["decision"] for event in harness.events(kind="rollout-decided")]
    assert decided == ["promote", "promote"]


async def test_a_rollback_ends_as_without(harness, route_ids, wave_form):
    rollout = await harness.start_rollout("v0.0.74", waves=("3", "100%"), approval="canary")
    await until_holding(harness, rollout)
    gate = harness.hosts.hold_installs()
    await rollout.execute_update(RolloutRelease.abort, CONTROL)
    await gate.reached()
    await continued(harness, rollout, wave_form.id_of(rollout, "1/roll back"))
    paused = await rollout.execute_update(RolloutRelease.pause, CONTROL)
    assert paused.phase is RolloutPhase.PAUSED
    await continued(harness, rollout, wave_form.id_of(rollout, "1/roll back"))
    resumed = await rollout.execute_update(RolloutRelease.resume, CONTROL)
    assert resumed.phase is RolloutPhase.ROLLING_BACK
    gate.open()
    ended = await harness.ended(rollout)
    assert ended.phase is RolloutPhase.ABORTED
    assert ended.counts == {RouteProgress.ROLLED_BACK: 3, RouteProgress.UNTOUCHED: 3}
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 6
    assert {harness.route(each).status for each in route_ids} == {RouteStatus.SERVING}
    assert sorted(map(len, installs(harness, route_ids))) == [1, 1, 1, 3, 3, 3]


async def test_an_undo_ends_as_without(harness, route_ids, wave_form):
    await (await harness.start_rollout("v0.0.74", waves=("100%",), max_concurrent=6)).result()
    gate = harness.hosts.hold_installs()
    undo = await harness.start_rollout("v0.0.74", undo=True, waves=("100%",), max_concurrent=3)
    await gate.reached()
    await continued(harness, undo, wave_form.id_of(undo, "1/undo"))
    gate.open()
    ended = await undo.result()
    assert (ended.phase, ended.counts) == (RolloutPhase.CONVERGED, {RouteProgress.CONVERGED: 6})
    assert installs(harness, route_ids) == [["0.0.73", "0.0.74", "0.0.73"]] * 6
    assert harness.store.fleet_settings.get("default_release_tag") == "v0.0.73"


async def test_it_is_aborted_just_after_it_has_continued_as_new(harness, route_ids, wave_form):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"), roll_back=False)
    await gate.reached()
    await continued(harness, rollout, wave_form.id_of(rollout, "1/swap"))
    aborted = await rollout.execute_update(RolloutRelease.abort, CONTROL)
    assert aborted.phase is RolloutPhase.ABORTED
    assert harness.status(rollout).phase is RolloutPhase.ABORTED
    gate.open()
    ended = await harness.ended(rollout)
    assert ended.counts == {RouteProgress.CONVERGED: 1, RouteProgress.UNTOUCHED: 5}


async def test_a_new_rollout_supersedes_one_that_has_continued_as_new(
    harness, route_ids, wave_form
):
    gate = harness.hosts.hold_installs()
    first = await harness.start_rollout("v0.0.74", waves=("1", "100%"))
    await gate.reached()
    await continued(harness, first, wave_form.id_of(first, "1/swap"))
    second = await harness.start_rollout("v0.0.78", waves=("100%",), max_concurrent=6)
    await harness.until_status(first, lambda now: now.phase is RolloutPhase.SUPERSEDED)
    gate.open()
    assert (await first.result()).phase is RolloutPhase.SUPERSEDED
    assert (await second.result()).phase is RolloutPhase.CONVERGED
    assert harness.current_tags(route_ids) == ["v0.0.78"] * 6
    assert len(harness.events(kind="rollout-abandoned")) == 0


async def test_a_control_at_any_moment_is_applied(harness, route_ids):
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"), approval="waves")
    await until_holding(harness, rollout)
    for _ in range(12):
        for control, phase in (
            (RolloutRelease.pause, RolloutPhase.PAUSED),
            (RolloutRelease.resume, RolloutPhase.HOLDING),
        ):
            assert (await rollout.execute_update(control, CONTROL)).phase is phase
    assert len(harness.events(kind="rollout-pause")) == 12
    assert (await runs(harness, rollout))[rollout.id] > 3
    await rollout.execute_update(RolloutRelease.approve, CONTROL)
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED


async def test_no_wave_sends_its_rollout_a_signal_as_it_goes(harness, route_ids, wave_form):
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), max_concurrent=1)
    await rollout.result()
    found = await histories(harness.client, rollout)
    of_waves = [name for name in found if name != rollout.id and name.startswith(ROLLOUT_PREFIX)]
    assert of_waves == ([f"{rollout.id}/1/swap"] if wave_form is WaveForm.CHILD else [])
    signals = [
        event
        for events in found[rollout.id]
        for event in events
        if event.HasField("workflow_execution_signaled_event_attributes")
    ]
    assert signals == []
