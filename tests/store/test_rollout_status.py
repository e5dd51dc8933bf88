"""The status of rollouts, read from their records."""

from datetime import UTC, datetime

from relight.domain.rollout.rollout import RolloutPhase, RolloutStanding, RouteProgress
from tests.store.fleets import closing_rollout, plan_rollout, rollout_run, serve

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
