"""Rollouts: one open per scope, and only what converged is promoted."""

from typing import Any

import pytest

from relight.domain.rollout.rollout import RolloutPhase
from relight.domain.track import Track
from relight.store.errors import (
    BadValueError,
    ScopeBusyError,
    UnknownTrackError,
)
from tests.store.fleets import (
    MANUAL,
    closing_rollout,
    opening_rollout,
    rollout_run,
)
from tests.store.sql import (
    DATABASE_ERRORS,
    execute,
    insert,
)


def test_a_converged_rollout_sets_the_fleets_default(store):
    run = rollout_run()
    opened = store.rollouts.open(opening_rollout(), run.activity())
    assert (opened.phase, opened.closed_at) == (RolloutPhase.PREPARING, None)
    assert store.rollouts.get(run.workflow_id) == opened
    store.rollouts.close(closing_rollout(), run.activity())
    [closed] = store.rollouts.list()
    assert (closed.phase, closed.detail) == (RolloutPhase.CONVERGED, "it ended")
    assert closed.closed_at is not None
    assert closed.closed_at >= closed.opened_at
    assert store.fleet_settings.get("default_release_tag") == "v0.0.74"
    assert [event.kind for event in store.events.list(workflow_id=run.workflow_id)] == [
        "rollout-opened",
        "rollout-closed",
        "setting-set",
    ]


def test_the_rollout_of_a_track_sets_its_override(store):
    run = rollout_run(scope="track:pinned")
    store.rollouts.open(opening_rollout(scope="track:pinned"), run.activity())
    store.rollouts.close(closing_rollout(scope="track:pinned"), run.activity())
    assert store.tracks.get("pinned") == Track(name="pinned", release_override="v0.0.74")
    assert store.fleet_settings.get("default_release_tag") is None


def test_a_stopped_rollout_declares_nothing(store):
    run = rollout_run()
    store.rollouts.open(opening_rollout(), run.activity())
    store.rollouts.close(closing_rollout(phase=RolloutPhase.STOPPED, promote=False), run.activity())
    assert store.fleet_settings.get("default_release_tag") is None
    assert store.rollouts.list()[0].phase is RolloutPhase.STOPPED


def test_a_held_scope_is_refused_and_its_holder_named(store):
    holder = store.rollouts.open(opening_rollout(), rollout_run().activity())
    late = rollout_run("v0.0.75")
    with pytest.raises(ScopeBusyError, match=r"v0\.0\.74") as busy:
        store.rollouts.open(opening_rollout("v0.0.75"), late.activity())
    assert busy.value.holder == holder
    # Its workflow then closes a rollout that never held the scope.
    store.rollouts.close(closing_rollout("v0.0.75"), late.activity())
    assert store.rollouts.list() == [holder]
    assert store.fleet_settings.get("default_release_tag") is None
    assert len(store.events.list(kind="rollout-opened")) == 1
    assert store.events.list(kind="rollout-closed") == []


def test_another_run_of_the_same_workflow_id_does_not_hold_the_scope(store):
    store.rollouts.open(opening_rollout(), rollout_run().activity())
    again = rollout_run()
    with pytest.raises(ScopeBusyError):
        store.rollouts.open(opening_rollout(), again.activity())
    store.rollouts.close(closing_rollout(), again.activity())
    assert store.rollouts.list()[0].closed_at is None


def test_scopes_are_independent(store):
    for scope in ("fleet", "track:stable", "track:pinned"):
        store.rollouts.open(opening_rollout(scope=scope), rollout_run(scope=scope).activity())
    assert [rollout.scope for rollout in store.rollouts.list()] == [
        "fleet",
        "track:stable",
        "track:pinned",
    ]


def test_an_unknown_track_is_refused(store):
    with pytest.raises(UnknownTrackError, match="nowhere"):
        store.rollouts.open(opening_rollout(scope="track:nowhere"), rollout_run().activity())
    assert store.rollouts.list() == []


def test_retries_change_nothing(store):
    run, other = rollout_run(), rollout_run("v0.0.75")
    open_activity, close_activity = run.activity(), run.activity()
    opened = store.rollouts.open(opening_rollout(), open_activity)
    assert store.rollouts.open(opening_rollout(), open_activity) == opened
    assert store.rollouts.open(opening_rollout(), run.activity()) == opened
    store.rollouts.close(closing_rollout(), close_activity)
    store.rollouts.open(opening_rollout("v0.0.75"), other.activity())
    store.fleet_settings.set("default_release_tag", "v0.0.70", MANUAL)
    # A late retry: the next rollout holds the scope now.
    store.rollouts.close(closing_rollout(), close_activity)
    assert store.rollouts.open(opening_rollout(), open_activity) == opened
    assert store.rollouts.list()[-1].closed_at is None
    assert store.fleet_settings.get("default_release_tag") == "v0.0.70"
    assert len(store.events.list(kind="rollout-closed")) == 1
    assert len(store.events.list(kind="rollout-opened")) == 2


def test_a_rollout_without_workflow_is_abandoned_and_its_scope_claimed(store):
    gone, taker = rollout_run(), rollout_run("v0.0.75")
    holder = store.rollouts.open(opening_rollout(), gone.activity())
    activity = taker.activity()
    for _ in range(2):
        store.rollouts.abandon(holder, activity)
    opened = store.rollouts.open(opening_rollout("v0.0.75"), activity)
    store.rollouts.abandon(holder, activity)
    assert [rollout.phase for rollout in store.rollouts.list()] == [
        RolloutPhase.ABORTED,
        RolloutPhase.PREPARING,
    ]
    # A late write of the abandoned rollout changes nothing.
    store.rollouts.close(closing_rollout(), gone.activity())
    assert store.rollouts.get(taker.workflow_id) == opened
    assert store.fleet_settings.get("default_release_tag") is None
    [event] = store.events.list(kind="rollout-abandoned")
    assert event.detail["rollout"]["run_id"] == gone.run_id
    assert event.workflow_id == taker.workflow_id


def test_one_activity_may_abandon_several_rollouts(store):
    activity = rollout_run("v0.0.77").activity()
    for tag in ("v0.0.74", "v0.0.75"):
        holder = store.rollouts.open(opening_rollout(tag), rollout_run(tag).activity())
        store.rollouts.abandon(holder, activity)
    assert len(store.events.list(kind="rollout-abandoned")) == 2
    assert store.rollouts.open(opening_rollout("v0.0.77"), activity).release_tag == "v0.0.77"


def test_the_newest_run_of_a_workflow_id_is_returned(store):
    for _ in range(2):
        run = rollout_run()
        opened = store.rollouts.open(opening_rollout(), run.activity())
        store.rollouts.close(closing_rollout(promote=False), run.activity())
    shown = store.rollouts.get(run.workflow_id)
    assert shown is not None
    assert shown.run_id == opened.run_id
    assert store.rollouts.get("rollout/v9.9.9/fleet") is None


def test_the_database_admits_one_open_rollout_per_scope(store, store_url):
    store.rollouts.open(opening_rollout(), rollout_run().activity())
    values: dict[str, Any] = {
        "workflow_id": "w",
        "run_id": "r",
        "release_tag": "v0.0.75",
        "scope": "fleet",
        "phase": "running",
        "detail": "",
        "opened_at": "2026-01-01 00:00:00",
        "since": "2026-01-01 00:00:00",
        "wave": "0",
        "waves": "0",
        "to_do": "",
        "blocked_by": "",
    }
    with pytest.raises(DATABASE_ERRORS):
        insert(store_url, "rollouts", **values)
    insert(store_url, "rollouts", **values, closed_at="2026-01-01 00:00:01")


def test_an_invalid_rollout_is_named(store, store_url):
    run = rollout_run()
    store.rollouts.open(opening_rollout(), run.activity())
    execute(store_url, "UPDATE rollouts SET phase = 'unknown'")
    with pytest.raises(BadValueError, match=f"rollout {run.workflow_id}: phase is 'unknown'"):
        store.rollouts.get(run.workflow_id)
