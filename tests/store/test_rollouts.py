"""Rollouts: one open per scope, and only what converged is promoted."""

import pytest

from relight.domain.event import Track
from relight.domain.rollout.rollout import (
    CloseRolloutInput,
    OpenRolloutInput,
    RolloutPhase,
)
from relight.store.errors import (
    BadValueError,
    ScopeBusyError,
    UnknownTrackError,
)
from tests.store.fleets import (
    HAND,
    ORIGIN,
    rollout_run,
)
from tests.store.sql import (
    DATABASE_ERRORS,
    execute,
    insert,
)


def claiming(tag: str = "v0.0.74", scope: str = "fleet") -> OpenRolloutInput:
    return OpenRolloutInput(release_tag=tag, scope=scope, origin=ORIGIN)


def closing(
    tag: str = "v0.0.74",
    scope: str = "fleet",
    phase: RolloutPhase = RolloutPhase.CONVERGED,
    *,
    promote: bool = True,
) -> CloseRolloutInput:
    return CloseRolloutInput(
        release_tag=tag, scope=scope, phase=phase, detail="it ended", origin=ORIGIN, promote=promote
    )


def test_a_rollout_that_converged_moves_the_fleets_default(store):
    run = rollout_run()
    opened = store.rollouts.open(claiming(), run.activity())
    assert (opened.phase, opened.closed_at) == (RolloutPhase.RUNNING, None)
    assert store.rollouts.get(run.workflow_id) == opened
    store.rollouts.close(closing(), run.activity())
    [closed] = store.rollouts.list()
    assert (closed.phase, closed.detail) == (RolloutPhase.CONVERGED, "it ended")
    assert closed.closed_at is not None
    assert closed.closed_at >= closed.opened_at
    assert store.settings.get("default_release_tag") == "v0.0.74"
    assert [event.kind for event in store.events.list(workflow_id=run.workflow_id)] == [
        "rollout-opened",
        "rollout-closed",
        "setting-set",
    ]


def test_a_tracks_rollout_moves_the_tracks_override(store):
    run = rollout_run(scope="track:pinned")
    store.rollouts.open(claiming(scope="track:pinned"), run.activity())
    store.rollouts.close(closing(scope="track:pinned"), run.activity())
    assert store.tracks.get("pinned") == Track(name="pinned", release_override="v0.0.74")
    assert store.settings.get("default_release_tag") is None


def test_a_rollout_that_did_not_converge_moves_nothing(store):
    run = rollout_run()
    store.rollouts.open(claiming(), run.activity())
    store.rollouts.close(closing(phase=RolloutPhase.STOPPED, promote=False), run.activity())
    assert store.settings.get("default_release_tag") is None
    assert store.rollouts.list()[0].phase is RolloutPhase.STOPPED


def test_a_scope_that_is_held_is_refused_by_its_holders_name(store):
    holder = store.rollouts.open(claiming(), rollout_run().activity())
    late = rollout_run("v0.0.75")
    with pytest.raises(ScopeBusyError, match=r"v0\.0\.74") as busy:
        store.rollouts.open(claiming("v0.0.75"), late.activity())
    assert busy.value.holder == holder
    # What follows in its workflow is the close of a rollout that never had the scope.
    store.rollouts.close(closing("v0.0.75"), late.activity())
    assert store.rollouts.list() == [holder]
    assert store.settings.get("default_release_tag") is None
    assert len(store.events.list(kind="rollout-opened")) == 1
    assert store.events.list(kind="rollout-closed") == []


def test_another_run_of_the_same_rollout_is_another_rollout(store):
    store.rollouts.open(claiming(), rollout_run().activity())
    again = rollout_run()
    with pytest.raises(ScopeBusyError):
        store.rollouts.open(claiming(), again.activity())
    store.rollouts.close(closing(), again.activity())
    assert store.rollouts.list()[0].closed_at is None


def test_scopes_do_not_hold_up_each_other(store):
    for scope in ("fleet", "track:stable", "track:pinned"):
        store.rollouts.open(claiming(scope=scope), rollout_run(scope=scope).activity())
    assert [rollout.scope for rollout in store.rollouts.list()] == [
        "fleet",
        "track:stable",
        "track:pinned",
    ]


def test_an_unknown_track_is_refused(store):
    with pytest.raises(UnknownTrackError, match="nowhere"):
        store.rollouts.open(claiming(scope="track:nowhere"), rollout_run().activity())
    assert store.rollouts.list() == []


def test_each_activity_that_runs_again_changes_nothing(store):
    run, other = rollout_run(), rollout_run("v0.0.75")
    open_activity, close_activity = run.activity(), run.activity()
    opened = store.rollouts.open(claiming(), open_activity)
    assert store.rollouts.open(claiming(), open_activity) == opened
    assert store.rollouts.open(claiming(), run.activity()) == opened
    store.rollouts.close(closing(), close_activity)
    store.rollouts.open(claiming("v0.0.75"), other.activity())
    store.settings.set("default_release_tag", "v0.0.70", HAND)
    # A reply that was lost comes very late: the next rollout has the scope by now.
    store.rollouts.close(closing(), close_activity)
    assert store.rollouts.open(claiming(), open_activity) == opened
    assert store.rollouts.list()[-1].closed_at is None
    assert store.settings.get("default_release_tag") == "v0.0.70"
    assert len(store.events.list(kind="rollout-closed")) == 1
    assert len(store.events.list(kind="rollout-opened")) == 2


def test_a_claim_whose_workflow_is_gone_is_taken_over_by_one_activity(store):
    gone, taker = rollout_run(), rollout_run("v0.0.75")
    holder = store.rollouts.open(claiming(), gone.activity())
    activity = taker.activity()
    for _ in range(2):
        store.rollouts.abandon(holder, activity)
    opened = store.rollouts.open(claiming("v0.0.75"), activity)
    store.rollouts.abandon(holder, activity)
    assert [rollout.phase for rollout in store.rollouts.list()] == [
        RolloutPhase.ABORTED,
        RolloutPhase.RUNNING,
    ]
    # The one that was gone comes back: it has lost its claim, and moves nothing.
    store.rollouts.close(closing(), gone.activity())
    assert store.rollouts.get(taker.workflow_id) == opened
    assert store.settings.get("default_release_tag") is None
    [event] = store.events.list(kind="rollout-abandoned")
    assert event.detail["rollout"]["run_id"] == gone.run_id
    assert event.workflow_id == taker.workflow_id


def test_one_activity_may_come_past_several_rollouts_that_are_gone(store):
    activity = rollout_run("v0.0.77").activity()
    for tag in ("v0.0.74", "v0.0.75"):
        holder = store.rollouts.open(claiming(tag), rollout_run(tag).activity())
        store.rollouts.abandon(holder, activity)
    assert len(store.events.list(kind="rollout-abandoned")) == 2
    assert store.rollouts.open(claiming("v0.0.77"), activity).release_tag == "v0.0.77"


def test_the_newest_run_of_a_rollout_is_the_one_that_is_shown(store):
    for _ in range(2):
        run = rollout_run()
        opened = store.rollouts.open(claiming(), run.activity())
        store.rollouts.close(closing(promote=False), run.activity())
    shown = store.rollouts.get(run.workflow_id)
    assert shown is not None
    assert shown.run_id == opened.run_id
    assert store.rollouts.get("rollout/v9.9.9/fleet") is None


def test_the_database_itself_admits_one_open_rollout_per_scope(store, store_url):
    store.rollouts.open(claiming(), rollout_run().activity())
    values = {
        "workflow_id": "w",
        "run_id": "r",
        "release_tag": "v0.0.75",
        "scope": "fleet",
        "phase": "running",
        "detail": "",
        "opened_at": "2026-01-01 00:00:00",
    }
    with pytest.raises(DATABASE_ERRORS):
        insert(store_url, "rollouts", **values)
    insert(store_url, "rollouts", **values, closed_at="2026-01-01 00:00:01")


def test_a_rollout_that_was_spoilt_by_hand_is_named(store, store_url):
    run = rollout_run()
    store.rollouts.open(claiming(), run.activity())
    execute(store_url, "UPDATE rollouts SET phase = 'going well'")
    with pytest.raises(BadValueError, match=f"rollout {run.workflow_id}: phase is 'going well'"):
        store.rollouts.get(run.workflow_id)
