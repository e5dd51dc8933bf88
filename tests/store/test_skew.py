"""The release skew, counted by the database."""

from datetime import datetime

import pytest

from relight.domain.skew import SkewPair
from relight.store.store import Store
from tests.store.fleets import (
    MANUAL,
    begin_swap,
    opening,
    proving,
    run_on,
    serve,
)


def set_target(store: Store, route_id: str, tag: str) -> datetime:
    """Set what a route should run, as a swap does; return when."""
    begin_swap(store, route_id, tag)
    return store.events.list(route_id=route_id, kind="target-set")[-1].at


def prove(store: Store, route_id: str, tag: str) -> None:
    store.routes.record_proof(proving(route_id, tag), run_on(route_id).activity())


def pairs(store: Store, track: str = "stable") -> list[tuple[str | None, str | None, int]]:
    [found] = [each for each in store.skew.get().tracks if each.track == track]
    return [(pair.target, pair.current, pair.routes) for pair in found.pairs]


def oldest_lag(store: Store) -> datetime | None:
    [found] = store.skew.get().tracks
    return found.oldest_lag


def test_an_empty_fleet_has_no_skew(store: Store):
    assert store.skew.get().tracks == ()


def test_routes_are_counted_by_track_target_and_current_release(store: Store):
    for route_id in ("r-1", "r-2", "r-3"):
        serve(store, route_id)
    serve(store, "p-1", track="pinned")
    store.fleet_settings.set("default_release_tag", "v0.0.74", MANUAL)
    at = set_target(store, "r-2", "v0.0.74")
    pinned, stable = store.skew.get().tracks
    assert (pinned.track, pinned.declared, pinned.lagging) == ("pinned", "v0.0.70", 0)
    assert (stable.track, stable.declared) == ("stable", "v0.0.74")
    assert (stable.routes, stable.lagging, stable.oldest_lag) == (3, 1, at)
    assert stable.pairs == (
        SkewPair(target="v0.0.74", current="v0.0.73", routes=1, lags_since=at),
        SkewPair(target="v0.0.73", current="v0.0.73", routes=2),
    )


def test_only_routes_in_service_count(store: Store):
    serve(store, "r-1")
    store.routes.open(opening("r-2"), run_on("r-2").activity())
    assert pairs(store) == [("v0.0.73", "v0.0.73", 1)]


def test_a_lag_begins_with_the_first_of_the_attempts_at_the_same_target(store: Store):
    serve(store, "r-1")
    first = set_target(store, "r-1", "v0.0.74")
    set_target(store, "r-1", "v0.0.74")
    prove(store, "r-1", "v0.0.73")  # As a verification does: it still is not at its target.
    set_target(store, "r-1", "v0.0.74")
    assert oldest_lag(store) == first


def test_another_target_begins_another_lag(store: Store):
    serve(store, "r-1")
    set_target(store, "r-1", "v0.0.74")
    set_target(store, "r-1", "v0.0.75")
    again = set_target(store, "r-1", "v0.0.74")
    assert oldest_lag(store) == again


def test_a_proof_at_the_target_ends_the_lag(store: Store):
    serve(store, "r-1")
    set_target(store, "r-1", "v0.0.74")
    prove(store, "r-1", "v0.0.74")
    assert (pairs(store), oldest_lag(store)) == ([("v0.0.74", "v0.0.74", 1)], None)
    set_target(store, "r-1", "v0.0.73")
    prove(store, "r-1", "v0.0.73")
    back = set_target(store, "r-1", "v0.0.74")
    assert oldest_lag(store) == back


def test_the_oldest_of_several_lags_counts(store: Store):
    for route_id in ("r-1", "r-2"):
        serve(store, route_id)
    first = set_target(store, "r-2", "v0.0.74")
    set_target(store, "r-1", "v0.0.74")
    assert (pairs(store), oldest_lag(store)) == ([("v0.0.74", "v0.0.73", 2)], first)


@pytest.mark.parametrize(("max_pairs", "listed", "hidden"), [(1, 1, 1), (2, 2, 0), (None, 2, 0)])
def test_further_pairs_are_counted_and_not_listed(
    store: Store, max_pairs: int | None, listed: int, hidden: int
):
    for route_id in ("r-1", "r-2"):
        serve(store, route_id)
    set_target(store, "r-1", "v0.0.74")
    skew = store.skew.get(max_pairs)
    assert (len(skew.tracks[0].pairs), skew.hidden) == (listed, hidden)
    assert (skew.tracks[0].routes, skew.tracks[0].lagging) == (2, 1)
