"""RolloutRelease, from its plan to its end."""

from collections import Counter

import pytest
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import WorkflowAlreadyStartedError

from relight.domain.base import Origin
from relight.domain.names import rollout_workflow_id, track_scope
from relight.domain.rollout.rollout import ControlInput, RolloutPhase, RouteProgress
from relight.domain.route import RouteStatus
from starter.cli.operations import current_details
from tests.support.interference import REPEATED, Injection
from tests.support.log_lines import logging_as_a_worker
from tests.workflows.harness import ORIGIN, Harness
from tests.workflows.matrix import run_cells
from tests.workflows.rollout.conftest import WaveForm
from tests.workflows.rollout.histories import histories
from workflows.failures import fault_of
from workflows.rollout.rollout import RolloutRelease

CONTROL = ControlInput(origin=Origin(requested_by="operator", reason="to check a host"))
BEFORE_THE_FIRST_WAVE = ("check_rollout", "open_rollout")
LATER = ("advance_wave", "record_decision", "close_rollout")


async def two_routes(harness: Harness) -> list[str]:
    return sorted([await harness.serving_route() for _ in range(2)])


def default_release(harness):
    return harness.store.fleet_settings.get("default_release_tag")


async def count_signals(rollout, name):
    """Return how many signals of a name a rollout received."""
    events = [event async for event in rollout.fetch_history_events()]
    names = [event.workflow_execution_signaled_event_attributes.signal_name for event in events]
    return names.count(name)


async def test_a_good_release_converges_and_becomes_the_fleets_default(harness, route_ids):
    rollout = await harness.start_rollout("v0.0.74", waves=("2", "100%"))
    plan = await rollout.execute_update(RolloutRelease.planned)
    assert [len(wave) for wave in plan.waves] == [2, 4]
    status = await rollout.result()
    assert status.phase is RolloutPhase.CONVERGED
    assert status.count(RouteProgress.CONVERGED) == 6
    assert harness.current_tags(route_ids) == ["v0.0.74"] * 6
    assert default_release(harness) == "v0.0.74"


async def test_a_bad_release_stops_in_the_first_wave_and_changes_no_other_route(harness, route_ids):
    rollout = await harness.start_rollout("v0.0.76", waves=("2", "100%"), roll_back=False)
    status = await harness.ended(rollout)
    assert status.phase is RolloutPhase.STOPPED
    assert status.count(RouteProgress.FAILED) == 2
    assert "2 failed, the failure budget is 0 (unit-crash-looping)" in status.detail
    assert status.count(RouteProgress.UNTOUCHED) == 4
    for outcome in status.routes:
        route = harness.route(outcome.route_id)
        if outcome.progress is RouteProgress.FAILED:
            assert outcome.fault is not None
            assert outcome.fault.fault_class == "release"
            assert outcome.fault.machine_key == f"{outcome.route_id}-g1"
            assert route.fault is not None
            assert route.fault.journal_tail
            assert route.status is RouteStatus.FAULTED
        else:
            assert (route.target_release_tag, route.status) == ("v0.0.73", RouteStatus.SERVING)
            assert harness.hosts.of(outcome.route_id).installs == ["0.0.73"]
    assert default_release(harness) == "v0.0.73"


async def test_one_route_at_a_time_it_stops_within_a_wave_once_the_failure_budget_is_spent(
    harness, route_ids
):
    rollout = await harness.start_rollout(
        "v0.0.76", waves=("100%",), max_concurrent=1, failure_budget=1, roll_back=False
    )
    status = await harness.ended(rollout)
    assert status.count(RouteProgress.FAILED) == 2
    assert status.count(RouteProgress.UNTOUCHED) == 4


async def test_no_more_routes_change_at_once_than_max_concurrent(harness, route_ids):
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), max_concurrent=2)
    await rollout.result()
    assert harness.hosts.max_concurrent("install") <= 2


async def test_paused_it_starts_nothing_and_resumed_it_converges(harness, route_ids):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"))
    await gate.reached()
    paused = await rollout.execute_update(RolloutRelease.pause, CONTROL)
    assert paused.phase is RolloutPhase.PAUSED
    gate.open()
    await harness.until(lambda: harness.current_tags(route_ids).count("v0.0.74") == 1)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await rollout.execute_update(RolloutRelease.pause, CONTROL)
    assert fault_of(refused.value.cause).summary == "cannot pause a rollout that is paused"
    status = harness.status(rollout)
    assert status.count(RouteProgress.WAITING) == 5
    await rollout.execute_update(RolloutRelease.resume, CONTROL)
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert [event.requested_by for event in harness.events(kind="rollout-pause")] == ["operator"]


async def test_aborted_it_completes_running_swaps_and_starts_nothing(harness, route_ids):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"), roll_back=False)
    await gate.reached()
    await rollout.execute_update(RolloutRelease.abort, CONTROL)
    gate.open()
    status = await harness.ended(rollout)
    assert status.phase is RolloutPhase.ABORTED
    assert status.count(RouteProgress.CONVERGED) == 1
    assert status.count(RouteProgress.UNTOUCHED) == 5
    assert default_release(harness) == "v0.0.73"


async def test_a_newer_rollout_supersedes_the_one_in_its_scope(harness, route_ids):
    gate = harness.hosts.hold_installs()
    first = await harness.start_rollout("v0.0.74", waves=("1", "100%"))
    await gate.reached()
    with pytest.raises(WorkflowAlreadyStartedError):
        await harness.start_rollout("v0.0.74")
    second = await harness.start_rollout("v0.0.78")
    await harness.until_status(first, lambda status: status.phase is RolloutPhase.SUPERSEDED)
    await harness.until(lambda: harness.interference.ran.count("open_rollout") == 3)
    gate.open()
    ended = await first.result()
    assert ended.phase is RolloutPhase.SUPERSEDED
    assert "superseded by v0.0.78" in ended.detail
    # The second rollout tried to open twice, and sent one signal.
    assert await count_signals(first, "supersede") == 1
    assert ended.count(RouteProgress.UNTOUCHED) == 5
    assert (await second.result()).phase is RolloutPhase.CONVERGED
    assert harness.current_tags(route_ids) == ["v0.0.78"] * 6
    assert default_release(harness) == "v0.0.78"


async def test_each_log_line_about_work_on_a_host_names_the_rollout(harness, route_ids):
    with logging_as_a_worker() as logged:
        rollout = await harness.start_rollout("v0.0.74", waves=("100%",), soak="PT0.1S")
        await rollout.result()
        await harness.swap(route_ids[0], "v0.0.78")
    done = [(line["event"], line.get("rollout.id")) for line in logged() if "duration_s" in line]
    assert Counter(done) == {
        ("swap_route done", rollout.id): 6,
        ("prove_release done", rollout.id): 6,
        ("swap_route done", None): 1,
    }


async def test_the_scope_of_a_terminated_rollout_is_free_again(harness, route_ids):
    gate = harness.hosts.hold_installs()
    first = await harness.start_rollout("v0.0.74", waves=("1", "100%"))
    await gate.reached()
    await first.terminate("gone")
    gate.open()
    second = await harness.start_rollout("v0.0.78")
    assert (await second.result()).phase is RolloutPhase.CONVERGED
    assert harness.current_tags(route_ids) == ["v0.0.78"] * 6
    assert len(harness.events(kind="rollout-abandoned")) == 1


@pytest.mark.parametrize(
    ("tag", "scope", "kind", "named"),
    [
        ("v9.9.9", "fleet", "release-unknown", "v9.9.9"),
        ("v0.0.74", "track:nowhere", "unknown-track", "nowhere"),
        ("v0.0.74", "track:empty", "no-routes", "track:empty"),
    ],
)
async def test_bad_input_is_refused_by_name_and_changes_nothing(
    harness, route_ids, tag, scope, kind, named
):
    harness.store.tracks.set("empty", None, harness.operation())
    rollout = await harness.start_rollout(tag, scope)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await rollout.execute_update(RolloutRelease.planned)
    fault = fault_of(refused.value.cause)
    assert (fault.kind, fault.refused) == (kind, True)
    assert named in fault.summary
    with pytest.raises(WorkflowFailureError):
        await rollout.result()
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 6
    assert default_release(harness) == "v0.0.73"
    # The scope is free again.
    assert (await (await harness.start_rollout("v0.0.74")).result()).phase is RolloutPhase.CONVERGED


@pytest.mark.parametrize("tag", ["v9.9.9", "v0.0.90"])
async def test_a_refused_release_leaves_the_running_rollout_and_the_records_as_they_are(
    harness, route_ids, tag
):
    harness.releases.add("v0.0.90", "amd64")  # The control plane has it, the hosts do not.
    running = await harness.start_rollout("v0.0.74", waves=("1", "100%"), approval="canary")
    await harness.until_status(running, lambda now: now.phase is RolloutPhase.HOLDING)
    recorded = harness.store.rollouts.list()
    events = len(harness.events())
    with pytest.raises(WorkflowFailureError):
        await (await harness.start_rollout(tag)).result()
    assert harness.store.rollouts.list() == recorded
    assert len(harness.events()) == events
    assert await count_signals(running, "supersede") == 0
    await running.execute_update(RolloutRelease.approve, CONTROL)
    assert (await running.result()).phase is RolloutPhase.CONVERGED
    assert harness.current_tags(route_ids) == ["v0.0.74"] * 6


@pytest.mark.parametrize("injection", REPEATED)
async def test_a_step_that_runs_again_changes_nothing(roomy_harness, injection):
    async def cell(harness: Harness, step: str) -> None:
        route_ids, scope = await two_routes(harness), track_scope(harness.track)
        rollout_id = rollout_workflow_id("v0.0.74", scope)
        harness.interference.inject(injection, step, rollout_id)
        rollout = await harness.start_rollout("v0.0.74", scope, waves=("1", "100%"))
        assert (await rollout.result()).phase is RolloutPhase.CONVERGED
        assert harness.current_tags(route_ids) == ["v0.0.74"] * 2
        closed = harness.store.events.list(kind="rollout-closed", workflow_id=rollout_id)
        assert len(closed) == 1

    await run_cells(roomy_harness, cell, [*BEFORE_THE_FIRST_WAVE, *LATER])


async def test_cancelled_before_the_first_wave_it_frees_the_scope(roomy_harness):
    async def cell(harness: Harness, step: str) -> None:
        route_ids, scope = await two_routes(harness), track_scope(harness.track)
        rollout_id = rollout_workflow_id("v0.0.74", scope)
        harness.interference.inject(Injection.CANCELLED_BEFORE, step, rollout_id)
        with pytest.raises(WorkflowFailureError):
            await (await harness.start_rollout("v0.0.74", scope)).result()
        # The task that claims the scope also starts the first wave. What it started finishes.
        started = int(step == "open_rollout")
        await harness.until(
            lambda: (
                harness.current_tags(route_ids).count("v0.0.74") == started
                and not harness.store.disruptions.list()
            )
        )
        again = await harness.start_rollout("v0.0.74", scope)
        assert (await again.result()).phase is RolloutPhase.CONVERGED

    await run_cells(roomy_harness, cell, BEFORE_THE_FIRST_WAVE)


@pytest.mark.usefixtures("wave_form")
async def test_cancelled_during_a_wave_its_running_swaps_complete(harness, route_ids):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"))
    await gate.reached()
    await rollout.cancel()
    with pytest.raises(WorkflowFailureError):
        await rollout.result()
    gate.open()
    await harness.until(lambda: harness.current_tags(route_ids).count("v0.0.74") == 1)
    assert harness.current_tags(route_ids).count("v0.0.73") == 5


async def test_its_page_shows_how_far_the_routes_of_the_wave_are(harness, wave_form, route_ids):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("2", "100%"), max_concurrent=2)
    await harness.until(lambda: harness.hosts.max_concurrent("install") == 2)
    page = (await current_details(rollout)).replace("\\", "")
    if wave_form is WaveForm.CHILD:
        assert f"The page of `{rollout.id}/1/swap` shows" in page
        child = harness.client.get_workflow_handle(f"{rollout.id}/1/swap")
        page = (await current_details(child)).replace("\\", "")
    else:
        assert "| wave | 1 of 2 |" in page
    assert f"swap: wave 1 of `{rollout.id}`" in page
    assert "| routes of the rollout | 4 waiting, 2 swapping |" in page
    gate.open()
    await rollout.result()
    assert "wave 1 of `" not in await current_details(rollout)


async def test_a_small_wave_a_large_one_and_a_large_rollback_are_one_rollout(
    harness, route_ids, monkeypatch
):
    monkeypatch.setattr("relight.domain.rollout.wave.SMALL_WAVE", 2)
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("2", "100%"), max_concurrent=2)
    for wave in (1, 2):
        await harness.until(lambda: harness.hosts.max_concurrent("install") == 2)
        await harness.until_status(rollout, lambda now, wave=wave: now.wave == wave)
        await rollout.execute_update(RolloutRelease.pause, CONTROL)
        await rollout.execute_update(RolloutRelease.resume, CONTROL)
        if wave == 1:
            gate.open()
            gate = harness.hosts.hold_installs()
    await gate.reached()
    await rollout.execute_update(RolloutRelease.abort, CONTROL)
    gate.open()
    assert (await harness.ended(rollout)).phase is RolloutPhase.ABORTED
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 6
    ran_in = [each for each in await histories(harness.client, rollout) if each != rollout.id]
    assert ran_in == [f"{rollout.id}/2/swap", f"{rollout.id}/2/roll back"]


async def test_the_event_log_says_who_rolled_out_what_and_why(harness, route_ids):
    await (await harness.start_rollout("v0.0.74")).result()
    [opened] = harness.events(kind="rollout-opened")
    [closed] = harness.events(kind="rollout-closed")
    assert (opened.requested_by, opened.reason) == (ORIGIN.requested_by, ORIGIN.reason)
    assert opened.workflow_id == closed.workflow_id == "rollout/v0.0.74/fleet"


async def test_a_bad_release_is_rolled_back_unless_the_strategy_says_otherwise(harness, route_ids):
    rollout = await harness.start_rollout("v0.0.76", waves=("2", "100%"))
    status = await harness.ended(rollout)
    assert status.phase is RolloutPhase.STOPPED
    assert status.count(RouteProgress.ROLLED_BACK) == 2
    assert status.count(RouteProgress.UNTOUCHED) == 4
    rolled_back = [each for each in status.routes if each.progress is RouteProgress.ROLLED_BACK]
    for outcome in rolled_back:
        assert outcome.fault is not None
        assert outcome.fault.kind == "unit-crash-looping"
    for route_id in route_ids:
        route = harness.route(route_id)
        assert (route.status, route.target_release_tag) == (RouteStatus.SERVING, "v0.0.73")
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 6
