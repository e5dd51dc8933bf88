"""Tracks: named groups of routes, each with its own release override."""

from sqlmodel import select

from relight.domain.track import Track
from relight.store.bad_rows import read_good
from relight.store.database import Database
from relight.store.declarations import (
    TRACK_SET,
    set_track,
    track_of,
)
from relight.store.events import Operation, write
from relight.store.rows import validating
from relight.store.tables import TrackRow


class Tracks:
    """A track exists from the first time that it is set."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> Track | None:
        """Return a track, None if it does not exist.

        Raises:
            BadValueError: its override was changed by hand and is no release tag.
        """
        with self._database.reading() as session:
            row = session.get(TrackRow, name)
            return track_of(row) if row else None

    def set(self, name: str, release_override: str | None, operation: Operation) -> None:
        """Create a track, or change the override of an existing one.

        Raises:
            BadValueError: the name or the tag is invalid.
        """
        with validating(f"track {name}"):
            track = Track(name=name, release_override=release_override)
        with write(self._database, operation, TRACK_SET) as w:
            if not w.earlier:
                set_track(w, track)

    def list(self) -> list[Track]:
        """Return every track, by name. An invalid one is noted and left out."""
        with self._database.reading() as session:
            tracks = read_good(session.exec(select(TrackRow)), track_of)
        return sorted(tracks, key=lambda track: track.name)
