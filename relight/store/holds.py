"""Restraints: freeze windows, exclusions and pins, each until somebody removes it.

One that is over keeps nothing back any more; it stays on record until it is removed. Who put it
there, and why, is in the event log; its own owner and reason are for those whom it stops.
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
from relight.store.errors import UnknownRouteError
from relight.store.rows import naming
from relight.store.tables import (
    ExclusionRow,
    FreezeRow,
    RouteRow,
)
from relight.store.write import Operation, write

FREEZE_ADDED, FREEZE_REMOVED = "freeze-added", "freeze-removed"
EXCLUSION_ADDED, EXCLUSION_REMOVED = "exclusion-added", "exclusion-removed"


class FreezeRecord(FreezeWindow):
    """A freeze window on record.

    Attributes:
        freeze_id: its number, which no other will ever have.
        added_at: UTC.
    """

    freeze_id: int
    added_at: datetime


class ExclusionRecord(Exclusion):
    """An exclusion or pin on record.

    Attributes:
        exclusion_id: its number, which no other will ever have.
        added_at: UTC.
    """

    exclusion_id: int
    added_at: datetime


class Freezes:
    """Freeze windows: past, present and to come."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, freeze: FreezeWindow, operation: Operation) -> FreezeRecord:
        """Write a freeze window down.

        Raises:
            UnknownRouteError: it names a route that is not there.
            UnknownTrackError: it names a track that is not there.
        """
        with write(self._database, operation, FREEZE_ADDED) as w:
            if w.earlier:
                return FreezeRecord.model_validate(w.earlier.detail["freeze"])
            _require_named(w.session, freeze.covers)
            row = FreezeRow(
                starts_at=freeze.starts_at,
                ends_at=freeze.ends_at,
                owner=freeze.owner,
                reason=freeze.reason,
                added_at=w.at,
                **freeze.covers.model_dump(),
            )
            w.session.add(row)
            # The database chooses its number.
            w.session.flush()
            record = _freeze(row)
            w.log(
                route_id=record.covers.route_id, detail={"freeze": record.model_dump(mode="json")}
            )
            return record

    def remove(self, freeze_id: int, operation: Operation) -> bool:
        """Take a freeze window away; say whether it was there."""
        with write(self._database, operation, FREEZE_REMOVED) as w:
            if w.earlier:
                return True
            row = w.session.get(FreezeRow, freeze_id)
            if row is None:
                return False
            w.session.delete(row)
            # As it stands, so that one that was spoilt by hand can be removed too.
            w.log(detail={"freeze": row.model_dump(mode="json")})
            return True

    def list(self) -> list[FreezeRecord]:
        """Return every freeze window, those that are over too, oldest first.

        Raises:
            BadValueError: one was changed by hand and is not of its shape.
        """
        with self._database.reading() as session:
            rows = session.exec(select(FreezeRow).order_by(col(FreezeRow.freeze_id)))
            return [_freeze(row) for row in rows]


class Exclusions:
    """Exclusions and pins: those that hold, and those that have expired."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, exclusion: Exclusion, operation: Operation) -> ExclusionRecord:
        """Write an exclusion or a pin down.

        Raises:
            UnknownRouteError: it names a route that is not there.
            UnknownTrackError: it names a track that is not there.
        """
        with write(self._database, operation, EXCLUSION_ADDED) as w:
            if w.earlier:
                return ExclusionRecord.model_validate(w.earlier.detail["exclusion"])
            _require_named(w.session, exclusion.covers)
            row = ExclusionRow(
                owner=exclusion.owner,
                reason=exclusion.reason,
                expires_at=exclusion.expires_at,
                pinned_to=exclusion.pinned_to,
                added_at=w.at,
                **exclusion.covers.model_dump(),
            )
            w.session.add(row)
            # The database chooses its number.
            w.session.flush()
            record = _exclusion(row)
            w.log(
                route_id=record.covers.route_id,
                release_tag=record.pinned_to,
                detail={"exclusion": record.model_dump(mode="json")},
            )
            return record

    def remove(self, exclusion_id: int, operation: Operation) -> bool:
        """Take an exclusion or a pin away; say whether it was there."""
        with write(self._database, operation, EXCLUSION_REMOVED) as w:
            if w.earlier:
                return True
            row = w.session.get(ExclusionRow, exclusion_id)
            if row is None:
                return False
            w.session.delete(row)
            # As it stands, so that one that was spoilt by hand can be removed too.
            w.log(detail={"exclusion": row.model_dump(mode="json")})
            return True

    def list(self) -> list[ExclusionRecord]:
        """Return every exclusion and pin, those that have expired too, oldest first.

        Raises:
            BadValueError: one was changed by hand and is not of its shape.
        """
        with self._database.reading() as session:
            rows = session.exec(select(ExclusionRow).order_by(col(ExclusionRow.exclusion_id)))
            return [_exclusion(row) for row in rows]


def _require_named(session: Session, covers: Selector) -> None:
    """Refuse a route or track that is not there: a misspelt one would keep nothing back."""
    if covers.route_id is not None and session.get(RouteRow, covers.route_id) is None:
        raise UnknownRouteError(f"there is no route {covers.route_id}")
    if covers.track is not None:
        require_track(session, covers.track)


def _freeze(row: FreezeRow) -> FreezeRecord:
    with naming(f"freeze window {row.freeze_id}"):
        values = row.model_dump()
        return FreezeRecord.model_validate({**values, "covers": Selector.model_validate(values)})


def _exclusion(row: ExclusionRow) -> ExclusionRecord:
    with naming(f"exclusion {row.exclusion_id}"):
        values = row.model_dump()
        return ExclusionRecord.model_validate({**values, "covers": Selector.model_validate(values)})
