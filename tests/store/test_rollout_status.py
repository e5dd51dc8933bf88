"""The status of rollouts, read from their records."""

from datetime import UTC, datetime

import pytest

from relight.domain.rollout.rollout import (
    MAX_LISTED_ROUTES,
    RolloutPhase,
    RolloutStanding,
    RouteOutcome,
    RouteProgress,
)
from relight.domain.rollout.strategy import Strategy
from relight.domain.rollout.wave import AdvanceWaveInput, WaveWork
from relight.store.rollout_choice import Chosen
from tests.store.fleets import FAULT, closing_rollout, plan_rollout, rollout_run, serve

NOW = datetime.now(UTC)
RUNNING = RolloutStanding(
    phase=RolloutPhase.RUNNING, detail="wave 1 of 1", since=NOW, wave=1, waves=1
)


def status_of(store, run):
    status = store.rollout_status.get(run.run_id)
    assert status is not None
    return status


def test_a_rollout_that_never_claimed_its_scope_has_none(store):
    run = rollout_run()
    store.rollout_status.record(run.run_id, RUNNING)
    store.rollout_status.record_blocked(run.run_id, "nothing")
    assert store.rollout_status.get(run.run_id) is None


def test_it_is_what_the_rollout_has_recorded_with_the_progress_of_its_routes(store):
    serve(store, "r-1")
    run = plan_rollout(store, ["r-1"])
    assert status_of(store, run).phase is RolloutPhase.PREPARING
    store.rollout_status.record(run.run_id, RUNNING)
    status = status_of(store, run)
    assert (status.phase, status.detail, status.wave) == (RolloutPhase.RUNNING, "wave 1 of 1", 1)
    assert status.counts == {RouteProgress.WAITING: 1}
    assert [each.route_id for each in status.routes] == ["r-1"]


def test_while_its_wave_waits_it_holds_with_the_reason_unless_it_is_paused(store):
    serve(store, "r-1")
    run = plan_rollout(store, ["r-1"])
    store.rollout_status.record(run.run_id, RUNNING)
    store.rollout_status.record_blocked(run.run_id, "region P/R: 1 are out, 1 may be")
    held = status_of(store, run)
    assert (held.phase, held.detail) == (RolloutPhase.HOLDING, "region P/R: 1 are out, 1 may be")
    assert "it continues by itself" in held.to_do
    paused = RUNNING.model_copy(update={"phase": RolloutPhase.PAUSED, "detail": "paused by ann"})
    store.rollout_status.record(run.run_id, paused)
    assert status_of(store, run).detail == "paused by ann"
    store.rollout_status.record(run.run_id, RUNNING)
    store.rollout_status.record_blocked(run.run_id, "")
    assert status_of(store, run).phase is RolloutPhase.RUNNING


def test_once_it_is_closed_routes_that_still_wait_are_untouched_and_nothing_changes_it(store):
    serve(store, "r-1")
    run = plan_rollout(store, ["r-1"])
    ended = closing_rollout(phase=RolloutPhase.ABORTED, promote=False)
    store.rollouts.close(ended, run.activity())
    store.rollout_status.record(run.run_id, RUNNING)
    status = status_of(store, run)
    assert (status.phase, status.detail) == (RolloutPhase.ABORTED, "it ended")
    assert status.counts == {RouteProgress.UNTOUCHED: 1}
    assert [each.progress for each in status.routes] == [RouteProgress.UNTOUCHED]


def advance(store, run, starts, ended=(), in_flight=()):
    """Start so many routes of the wave, and end some as failed."""
    failed = tuple(
        RouteOutcome(route_id=each, wave=1, progress=RouteProgress.FAILED, fault=FAULT)
        for each in ended
    )
    advanced = store.rollout_routes.advance(
        AdvanceWaveInput(
            rollout_run_id=run.run_id,
            release_tag="v0.0.74",
            work=WaveWork.SWAP,
            number=1,
            strategy=Strategy(),
            in_flight=in_flight,
            ended=failed,
            max_in_flight=len(in_flight) + starts,
        ),
        lambda waiting, _: Chosen(waiting),
        constrained=False,
    )
    return [each.route_id for each in advanced.starts]


@pytest.mark.parametrize(("failed", "active"), [(3, 50), (600, 50), (3, 700), (600, 700)])
def test_of_a_large_rollout_failed_routes_and_those_in_progress_are_listed(store, failed, active):
    run = plan_rollout(store, [f"r-{number}" for number in range(2000)])
    started = advance(store, run, failed)
    in_flight = advance(store, run, active, ended=started)
    assert (len(started), len(in_flight)) == (failed, active)
    status = status_of(store, run)
    listed = [each.progress for each in status.routes]
    assert len(listed) == min(failed + active, MAX_LISTED_ROUTES)
    assert listed.count(RouteProgress.SWAPPING) >= min(active, 100)
    assert listed.count(RouteProgress.FAILED) >= min(failed, MAX_LISTED_ROUTES - 100)
    assert status.counts == {
        RouteProgress.FAILED: failed,
        RouteProgress.SWAPPING: active,
        RouteProgress.WAITING: 2000 - failed - active,
    }


def test_a_followed_rollout_has_the_counts_of_each_wave_and_when_it_was_opened(store):
    run = plan_rollout(store, ["r-1"])
    store.rollout_routes.plan(run.run_id, [["r-2", "r-3"]], first=2)
    followed = store.rollout_status.follow(run.run_id)
    assert followed.waves == {1: {RouteProgress.WAITING: 1}, 2: {RouteProgress.WAITING: 2}}
    assert followed.status.counts == {RouteProgress.WAITING: 3}
    assert followed.opened_at == store.rollouts.list()[-1].opened_at
