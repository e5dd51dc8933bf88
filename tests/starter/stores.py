"""Stores for tests of commands that need no Temporal."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from relight.domain.proof import ReleaseSwapped
from relight.store.store import Store, open_store
from tests.store.fleets import (
    HAND,
    proving,
    run_on,
    serve,
)
from tests.support.command_line import CommandLine, Ended


@contextmanager
def store_of(relight: CommandLine) -> Iterator[Store]:
    """Make the store that a command line finds, with a track `stable`."""
    relight.home.mkdir()
    with open_store(f"sqlite:///{relight.home / 'fleet.db'}") as store:
        store.tracks.set("stable", None, HAND)
        yield store


def serve_all(store: Store, *route_ids: str, track: str = "stable") -> None:
    for route_id in route_ids:
        serve(store, route_id, track=track)


def note_swap(store: Store, took: timedelta, route_id: str = "east-1") -> None:
    """Leave the event of a swap that went well; its proof watched the unit for 10 s."""
    swapped = ReleaseSwapped(unit="u", attached=False, took=took, proof=proving(route_id).proof)
    store.events.append(
        "swap-attempted",
        run_on(route_id).activity(),
        route_id=route_id,
        detail={"attempt": 1, "unit": "u", "ran": [], "seen": swapped.model_dump(mode="json")},
    )


def refused(ended: Ended, code: int, *named: str) -> None:
    """See that a command was refused with this exit code, and said these words."""
    assert ended.code == code, ended
    assert ended.out == ""
    for name in named:
        assert name in ended.said
