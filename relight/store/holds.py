"""Holds: freeze windows, exclusions and pins, each kept until an operator removes it.

An expired one has no effect but stays recorded. Who added it is in the event log; its own owner
and reason are shown to the operators whom it stops.
"""

from datetime import datetime

from sqlmodel import Session, col, select

from relight.domain.hold import (
    Exclusion,
    FreezeWindow,
    Selector,
)
from relight.store.database import Database
from relight.store.declarations import require_track
from relight.store.events import Operation, delete_row, write
from relight.store.rows import require_route, validating
from relight.store.tables import (
    ExclusionRow,
    FreezeRow,
)

FREEZE_ADDED, FREEZE_REMOVED = "freeze-added", "freeze-removed"
EXCLUSION_ADDED, EXCLUSION_REMOVED = "exclusion-added", "exclusion-removed"


class FreezeRecord(FreezeWindow):
    """A recorded freeze window.

    Attributes:
        freeze_id: unique; never reused.
        added_at: UTC.
    """

    freeze_id: int
    added_at: datetime


class ExclusionRecord(Exclusion):
    """A recorded exclusion or pin.

    Attributes:
        exclusion_id: unique; never reused.
        added_at: UTC.
    """

    exclusion_id: int
    added_at: datetime


class Freezes:
    """Freeze windows: past, current and future."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, freeze: FreezeWindow, operation: Operation) -> FreezeRecord:
        """Record a freeze window.

        Raises:
            UnknownRouteError: it names a route that does not exist.
            UnknownTrackError: it names a track that does not exist.
        """
        with write(self._database, operation, FREEZE_ADDED) as w:
            if w.earlier:
                return FreezeRecord.model_validate(w.earlier.detail["freeze"])
            _require_covered(w.session, freeze.covers)
            row = FreezeRow(
                starts_at=freeze.starts_at,
                ends_at=freeze.ends_at,
                owner=freeze.owner,
                reason=freeze.reason,
                added_at=w.at,
                **freeze.covers.model_dump(),
            )
            w.session.add(row)
            # The database assigns the id.
            w.session.flush()
            record = _freeze(row)
            w.log(
                route_id=record.covers.route_id, detail={"freeze": record.model_dump(mode="json")}
            )
            return record

    def remove(self, freeze_id: int, operation: Operation) -> bool:
        """Remove a freeze window; return whether it existed."""
        with write(self._database, operation, FREEZE_REMOVED) as w:
            return delete_row(w, w.session.get(FreezeRow, freeze_id), "freeze")

    def list(self) -> list[FreezeRecord]:
        """Return every freeze window, including expired ones, oldest first.

        Raises:
            BadValueError: one was changed by hand and is invalid.
        """
        with self._database.reading() as session:
            rows = session.exec(select(FreezeRow).order_by(col(FreezeRow.freeze_id)))
            return [_freeze(row) for row in rows]


class Exclusions:
    """Exclusions and pins, including expired ones."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, exclusion: Exclusion, operation: Operation) -> ExclusionRecord:
        """Record an exclusion or a pin.

        Raises:
            UnknownRouteError: it names a route that does not exist.
            UnknownTrackError: it names a track that does not exist.
        """
        with write(self._database, operation, EXCLUSION_ADDED) as w:
            if w.earlier:
                return ExclusionRecord.model_validate(w.earlier.detail["exclusion"])
            _require_covered(w.session, exclusion.covers)
            row = ExclusionRow(
                owner=exclusion.owner,
                reason=exclusion.reason,
                expires_at=exclusion.expires_at,
                pinned_to=exclusion.pinned_to,
                added_at=w.at,
                **exclusion.covers.model_dump(),
            )
            w.session.add(row)
            # The database assigns the id.
            w.session.flush()
            record = _exclusion(row)
            w.log(
                route_id=record.covers.route_id,
                release_tag=record.pinned_to,
                detail={"exclusion": record.model_dump(mode="json")},
            )
            return record

    def remove(self, exclusion_id: int, operation: Operation) -> bool:
        """Remove an exclusion or a pin; return whether it existed."""
        with write(self._database, operation, EXCLUSION_REMOVED) as w:
            return delete_row(w, w.session.get(ExclusionRow, exclusion_id), "exclusion")

    def list(self) -> list[ExclusionRecord]:
        """Return every exclusion and pin, including expired ones, oldest first.

        Raises:
            BadValueError: one was changed by hand and is invalid.
        """
        with self._database.reading() as session:
            rows = session.exec(select(ExclusionRow).order_by(col(ExclusionRow.exclusion_id)))
            return [_exclusion(row) for row in rows]


def _require_covered(session: Session, covers: Selector) -> None:
    """Refuse a selector with an unknown route or track: a misspelt one would hold nothing."""
    if covers.route_id is not None:
        require_route(session, covers.route_id)
    if covers.track is not None:
        require_track(session, covers.track)


def _freeze(row: FreezeRow) -> FreezeRecord:
    with validating(f"freeze window {row.freeze_id}"):
        values = row.model_dump()
        return FreezeRecord.model_validate({**values, "covers": Selector.model_validate(values)})


def _exclusion(row: ExclusionRow) -> ExclusionRecord:
    with validating(f"exclusion {row.exclusion_id}"):
        values = row.model_dump()
        return ExclusionRecord.model_validate({**values, "covers": Selector.model_validate(values)})
