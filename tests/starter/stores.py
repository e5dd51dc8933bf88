"""Stores for tests of commands that need no Temporal."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from relight.domain.proof import ReleaseSwapped
from relight.home import temporal_lock
from relight.store.store import Store, open_upgraded_store
from starter.local.home import try_lock
from tests.store.fleets import (
    MANUAL,
    proving,
    run_on,
    serve,
)
from tests.support.command_line import CommandLine, Ended

ROUTE_KEYS = [
    "route_id",
    "track",
    "provider",
    "region",
    "status",
    "target_release_tag",
    "current_release_tag",
    "proven_at",
    "machine",
    "fault",
    "newer_version",
]
SHOWN_ROUTE_KEYS = [*ROUTE_KEYS, "since", "known_release_tag"]


@contextmanager
def store_of(relight: CommandLine) -> Iterator[Store]:
    """Create the store that a command line finds, with a track `stable`.

    The lock of the home's Temporal server is held, as if it ran: otherwise each command notes that
    it does not.
    """
    relight.home.mkdir()
    url = f"sqlite:///{relight.home / 'fleet.db'}"
    with temporal_lock(relight.home).open("w") as lock, open_upgraded_store(url) as store:
        assert try_lock(lock)
        store.tracks.set("stable", None, MANUAL)
        yield store


def serve_all(store: Store, *route_ids: str, track: str = "stable") -> None:
    """Let routes serve that were proven just now."""
    for route_id in route_ids:
        serve(store, route_id, track=track, at=datetime.now(UTC))


def record_swap(store: Store, took: timedelta, route_id: str = "east-1") -> None:
    """Append the event of a successful swap; its proof observed the unit for 10 s."""
    swapped = ReleaseSwapped(unit="u", attached=False, took=took, proof=proving(route_id).proof)
    store.events.append(
        "swap-attempted",
        run_on(route_id).activity(),
        route_id=route_id,
        detail={"attempt": 1, "unit": "u", "ran": [], "seen": swapped.model_dump(mode="json")},
    )


def refused(ended: Ended, code: int, *texts: str) -> None:
    """Check that a command ended with this code, and that its error has these texts."""
    assert ended.code == code, ended
    assert ended.out == ""
    for text in texts:
        assert text in ended.said
