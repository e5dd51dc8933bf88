"""Holds: freezes, exclusions and pins, breaker overrides, each kept until an operator removes it.

One that has ended has no effect but stays recorded until the store is pruned. Who added it is in
the event log; its own owner and reason are shown to the operators whom it stops.
"""

import builtins
from datetime import datetime

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from relight.domain.hold import Hold, HoldKind, Selector
from relight.store.database import Database
from relight.store.declarations import require_track
from relight.store.events import Operation, delete_row, write
from relight.store.rows import require_route, validating
from relight.store.tables import HoldRow


class HoldRecord(Hold):
    """A recorded hold.

    Attributes:
        hold_id: unique among all kinds; never reused.
        added_at: UTC.
    """

    hold_id: int
    added_at: datetime


class Holds:
    """The holds of one kind: past, current and future."""

    def __init__(self, database: Database, kind: HoldKind) -> None:
        self._database = database
        self._kind = kind

    def add(self, hold: Hold, operation: Operation) -> HoldRecord:
        """Record a hold.

        Raises:
            UnknownRouteError: it names a route that does not exist.
            UnknownTrackError: it names a track that does not exist.
        """
        assert hold.kind is self._kind
        with write(self._database, operation, f"{self._kind}-added") as w:
            if w.earlier:
                return HoldRecord.model_validate(w.earlier.detail["hold"])
            _require_covered(w.session, hold.covers)
            values = hold.model_dump(exclude={"covers"})
            row = HoldRow(**values, **hold.covers.model_dump(), added_at=w.at)
            w.session.add(row)
            # The database assigns the id.
            w.session.flush()
            record = _record(row)
            w.log(
                route_id=record.covers.route_id,
                release_tag=record.pinned_to,
                detail={"hold": record.model_dump(mode="json")},
            )
            return record

    def remove(self, hold_id: int, operation: Operation) -> bool:
        """Remove a hold; return whether there was one of this kind."""
        with write(self._database, operation, f"{self._kind}-removed") as w:
            row = w.session.get(HoldRow, hold_id)
            return delete_row(w, row if row and row.kind == self._kind else None, "hold")

    def list(self) -> list[HoldRecord]:
        """Return every hold, ended ones included, oldest first.

        Raises:
            BadValueError: one was changed by hand and is invalid.
        """
        return self._read(select(HoldRow))

    def standing(self, now: datetime) -> builtins.list[HoldRecord]:
        """Return the holds that have not ended, oldest first.

        Raises:
            BadValueError: one was changed by hand and is invalid.
        """
        return self._read(select(HoldRow).where(HoldRow.ends_at > now))

    def _read(self, query: SelectOfScalar[HoldRow]) -> builtins.list[HoldRecord]:
        query = query.where(HoldRow.kind == self._kind).order_by(col(HoldRow.hold_id))
        with self._database.reading() as session:
            return [_record(row) for row in session.exec(query)]


def _require_covered(session: Session, covers: Selector) -> None:
    """Refuse a selector with an unknown route or track: a misspelt one would hold nothing."""
    if covers.route_id is not None:
        require_route(session, covers.route_id)
    if covers.track is not None:
        require_track(session, covers.track)


def _record(row: HoldRow) -> HoldRecord:
    with validating(f"{row.kind} {row.hold_id}"):
        values = row.model_dump()
        return HoldRecord.model_validate({**values, "covers": Selector.model_validate(values)})
