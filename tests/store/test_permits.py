"""Leases of permits, on each database."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from relight.store.store import Store
from tests.store.concurrency import run_concurrently

LASTS = timedelta(minutes=1)
EXPIRED = timedelta(microseconds=1)


def lease(store: Store, holder: str, wanted: int, used: int = 0, lasts: timedelta = LASTS) -> int:
    return store.permits.lease(
        "logins", holder, limit=10, wanted=wanted, used=used, lasts=lasts
    ).count


def test_workers_share_a_limit(store):
    assert lease(store, "a", 8) == 8
    assert lease(store, "b", 8) == 2
    assert lease(store, "a", 8, used=6) == 6
    assert lease(store, "b", 8) == 4
    assert lease(store, "a", 0) == 0
    assert lease(store, "b", 8, used=4) == 8


def test_each_limit_is_its_own(store):
    assert lease(store, "a", 10) == 10
    other = store.permits.lease("creations", "b", limit=3, wanted=9, used=0, lasts=LASTS)
    assert other.count == 3


def test_the_permits_of_a_worker_that_died_come_free(store):
    assert lease(store, "a", 10, lasts=EXPIRED) == 10
    assert lease(store, "b", 10) == 10


def test_workers_that_ask_at_the_same_moment_never_exceed_the_limit(store):
    calls: list[Callable[[], int]] = [
        partial(lease, store, f"worker-{number}", 4) for number in range(8)
    ]
    assert sum(run_concurrently(calls)) == 10


def test_a_short_lease_ends_no_longer_one_of_another_limit(store):
    long = {"limit": 1, "wanted": 1, "used": 0, "lasts": timedelta(hours=1)}
    assert store.permits.lease("images at gcore", "image/a", **long).count == 1
    assert lease(store, "a", 8) == 8
    assert store.permits.lease("images at gcore", "image/b", **long).count == 0
