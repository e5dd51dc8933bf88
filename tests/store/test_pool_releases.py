"""The evidence about releases for pools, and the failed tries of a pool."""

import pytest

from relight.domain.fault.table import fault
from relight.domain.pool.release import pool_release
from relight.domain.pool.tries import PoolPolicy, PoolTries
from relight.domain.rollout.rollout import RolloutPhase
from relight.store.pool_sizes import POOL_STOPPED, POOL_TRY_FAILED, PoolSize
from relight.store.store import Store
from tests.store.fleets import (
    MANUAL,
    Run,
    closing_rollout,
    opening_rollout,
    rollout_run,
    serve,
)
from tests.store.pools import made_ready, planned, pool_run

POOL = PoolSize(provider="lab", region="east", size=1)
CRASHED = fault("unit-failed", "it crashed")
POLICY = PoolPolicy()


def roll_out(store: Store, tag: str, phase: RolloutPhase | None, scope: str = "fleet") -> Run:
    """Open a rollout, and close it in a phase if there is one."""
    run = rollout_run(tag, scope)
    store.rollouts.open(opening_rollout(tag, scope), run.activity())
    if phase is not None:
        promote = phase is RolloutPhase.CONVERGED
        closing = closing_rollout(tag, scope, phase=phase, promote=promote)
        store.rollouts.close(closing, run.activity())
    return run


def declare(store: Store, tag: str) -> None:
    store.fleet_settings.set("default_release_tag", tag, MANUAL)


def released(store: Store) -> str | None:
    [evidence] = store.pool_releases.evidence([POOL])
    return pool_release(evidence).tag


def test_a_converged_rollout_lets_its_release_through_and_an_open_one_does_not(store):
    serve(store)
    declare(store, "v0.0.74")
    assert released(store) == "v0.0.73"
    run = roll_out(store, "v0.0.74", None)
    assert released(store) == "v0.0.73"
    store.rollouts.close(closing_rollout(), run.activity())
    assert released(store) == "v0.0.74"


@pytest.mark.parametrize(
    "phase", [RolloutPhase.STOPPED, RolloutPhase.ABORTED, RolloutPhase.SUPERSEDED]
)
@pytest.mark.parametrize("scope", ["fleet", "track:pinned"])
def test_a_release_whose_last_rollout_ended_otherwise_is_not_let_through(store, phase, scope):
    serve(store)
    roll_out(store, "v0.0.74", RolloutPhase.CONVERGED)
    assert released(store) == "v0.0.74"
    roll_out(store, "v0.0.74", phase, scope)
    declare(store, "v0.0.74")
    assert released(store) == "v0.0.73"
    [evidence] = store.pool_releases.evidence([POOL])
    assert str(phase) in evidence.refused["v0.0.74"]
    roll_out(store, "v0.0.74", RolloutPhase.CONVERGED)
    assert released(store) == "v0.0.74"


def test_a_release_that_routes_run_and_the_record_refuses_passes_with_another_rollout(store):
    serve(store)
    declare(store, "v0.0.73")
    roll_out(store, "v0.0.73", RolloutPhase.ABORTED)
    [evidence] = store.pool_releases.evidence([POOL])
    assert pool_release(evidence).tag is None
    named = "`relight rollout start v0.0.73`"
    assert named in pool_release(evidence).reason
    run = roll_out(store, "v0.0.73", None)
    [evidence] = store.pool_releases.evidence([POOL])
    assert named not in pool_release(evidence).reason
    store.rollouts.close(closing_rollout("v0.0.73"), run.activity())
    assert released(store) == "v0.0.73"


def test_routes_of_a_track_with_an_override_are_no_evidence(store):
    declare(store, "v0.0.75")
    serve(store, "r-1", track="pinned")
    assert released(store) == "v0.0.75"
    serve(store, "r-2", track="stable")
    assert released(store) == "v0.0.73"


def test_without_routes_a_pool_keeps_what_was_proven_in_it(store):
    declare(store, "v0.0.74")
    assert released(store) == "v0.0.74"
    made_ready(store, region="west")
    assert released(store) == "v0.0.74"
    made_ready(store)
    assert released(store) == "v0.0.73"


def test_failed_tries_are_counted_until_a_machine_is_ready_at_the_release(store):
    store.pool_sizes.set("lab", "east", 2, MANUAL)
    activities = [pool_run().activity() for _ in range(4)]
    for number, activity in enumerate(activities, start=1):
        for _ in range(2):
            store.pool_sizes.record_failed_try("lab", "east", "v0.0.73", CRASHED, POLICY, activity)
        [pool] = store.pool_sizes.list()
        assert (pool.tries.failed, pool.tries.release_tag) == (number, "v0.0.73")
        assert pool.tries.fault == CRASHED.brief
    assert len(store.events.list(kind=POOL_TRY_FAILED)) == 4
    assert len(store.events.list(kind=POOL_STOPPED)) == 1
    made_ready(store, tag="v0.0.72")
    assert store.pool_sizes.list()[0].tries.failed == 4
    made_ready(store, tag="v0.0.73")
    assert store.pool_sizes.list()[0].tries == PoolTries()


def test_another_release_and_a_command_begin_the_count_again(store):
    assert not store.pool_sizes.retry("lab", "east", MANUAL)
    store.pool_sizes.set("lab", "east", 2, MANUAL)
    for tag in ("v0.0.73", "v0.0.73", "v0.0.74"):
        store.pool_sizes.record_failed_try(
            "lab", "east", tag, CRASHED, POLICY, pool_run().activity()
        )
    assert store.pool_sizes.list()[0].tries.failed == 1
    assert store.pool_sizes.retry("lab", "east", MANUAL)
    assert store.pool_sizes.list() == [PoolSize(provider="lab", region="east", size=2)]


def test_a_failed_try_of_a_region_without_a_size_is_only_an_event(store):
    planned(store)
    store.pool_sizes.record_failed_try("lab", "east", "v0.0.73", CRASHED, POLICY, MANUAL)
    assert store.pool_sizes.list() == []
    assert len(store.events.list(kind=POOL_TRY_FAILED)) == 1
