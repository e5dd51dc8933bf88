"""Routes, tracks and pools are deleted only when nothing needs them, and no key is used twice."""

import pytest

from relight.store.errors import UnknownRouteError, UnknownTrackError
from tests.store.fleets import (
    MANUAL,
    closing_rollout,
    declare_tracks,
    opening,
    opening_rollout,
    plan_rollout,
    rollout_run,
    run_on,
    serve,
)


def retire(store, route_id="r-1"):
    """Retire a route, and destroy its machine."""
    store.retirements.retire(route_id, run_on(route_id).activity())
    for record in store.machines.list(route_id):
        store.destructions.record(record.key, MANUAL, reason="it is retired")


def test_a_retired_route_is_deleted_and_its_events_stay(store):
    serve(store)
    retire(store)
    assert store.deletions.delete_route("r-1", MANUAL) is None
    assert store.routes.get("r-1") is None
    kinds = [event.kind for event in store.events.list(route_id="r-1")]
    assert (kinds[0], kinds[-1]) == ("route-opened", "route-deleted")
    with pytest.raises(UnknownRouteError):
        store.deletions.delete_route("r-1", MANUAL)


def test_a_route_that_is_provisioned_again_gets_a_key_that_was_never_used(store):
    serve(store)
    retire(store)
    store.deletions.delete_route("r-1", MANUAL)
    opened = store.routes.open(opening(), run_on().activity())
    assert (opened.machine_key, opened.generation) == ("r-1-g2", 2)


def test_a_route_with_a_machine_or_a_rollout_stays(store):
    serve(store)
    assert "relight route retire r-1" in store.deletions.delete_route("r-1", MANUAL)
    store.retirements.retire("r-1", run_on().activity())
    assert "r-1-g1" in store.deletions.delete_route("r-1", MANUAL)
    store.destructions.record("r-1-g1", MANUAL, reason="it is retired")
    run = plan_rollout(store, ["r-1"])
    assert "running rollout of v0.0.74" in store.deletions.delete_route("r-1", MANUAL)
    store.rollouts.close(closing_rollout(), run.activity())
    assert store.deletions.delete_route("r-1", MANUAL) is None


def test_a_track_is_deleted_once_it_has_no_route_and_no_rollout(store):
    serve(store)
    assert "has 1 route" in store.deletions.delete_track("stable", MANUAL)
    run = rollout_run(scope="track:pinned")
    store.rollouts.open(opening_rollout(scope="track:pinned"), run.activity())
    assert "relight rollout abort" in store.deletions.delete_track("pinned", MANUAL)
    store.rollouts.close(closing_rollout(scope="track:pinned", promote=False), run.activity())
    assert store.deletions.delete_track("pinned", MANUAL) is None
    assert [track.name for track in store.tracks.list()] == ["stable"]
    with pytest.raises(UnknownTrackError):
        store.deletions.delete_track("pinned", MANUAL)
    declare_tracks(store)
    assert store.tracks.get("pinned") is not None


def test_a_pool_is_deleted_once_it_is_empty(store):
    assert "has no pool" in store.deletions.delete_pool("lab", "east", MANUAL)
    store.pool_sizes.set("lab", "east", 1, MANUAL)
    assert "relight pool set lab east 0" in store.deletions.delete_pool("lab", "east", MANUAL)
    store.pool_sizes.set("lab", "east", 0, MANUAL)
    assert store.deletions.delete_pool("lab", "east", MANUAL) is None
    assert store.pool_sizes.list() == []
    assert store.events.list(kind="pool-deleted")[0].detail == {
        "provider": "lab",
        "region": "east",
    }
