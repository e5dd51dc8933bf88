"""Holds: freezes, exclusions and pins, breaker overrides, each kept until an operator removes it.

A hold that was made invalid by hand still holds: all that it may cover, as a freeze and as an
exclusion if its kind is unknown. An invalid breaker override permits nothing.

One that has ended has no effect but stays recorded until the store is pruned. Who added it is in
the event log; its own owner and reason are shown to the operators whom it stops.
"""

import builtins
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError
from sqlmodel import Session, col, select

from relight.domain.clock import hold_as_of
from relight.domain.hold import Hold, HoldKind, Selector
from relight.store.bad_rows import read_or_note
from relight.store.database import Database
from relight.store.declarations import require_track
from relight.store.events import Operation, delete_row, write
from relight.store.rows import require_route, validating
from relight.store.tables import HoldRow

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_LONG = timedelta(days=365)
"""How long a hold lasts whose end cannot be read."""

_OTHER_KINDS = {kind: {*HoldKind} - {kind} for kind in HoldKind}


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
            record = record_of(row)
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
        """Return every hold, ended ones included, oldest first."""
        return self._read(None)

    def standing(self, now: datetime) -> builtins.list[HoldRecord]:
        """Return the holds that have not ended, as they count now, oldest first."""
        counted = (hold_as_of(each, each.added_at, now) for each in self._read(now))
        return [each for each in counted if each is not None]

    def _read(self, now: datetime | None) -> builtins.list[HoldRecord]:
        """Return the holds, with a time only those that have not ended by then."""
        # All are read: in the columns of an invalid one a database may compare anything.
        query = select(HoldRow).order_by(col(HoldRow.hold_id))
        found: list[HoldRecord] = []
        with self._database.reading() as session:
            for row in session.exec(query):
                if row.kind in _OTHER_KINDS[self._kind]:
                    continue
                record = read_or_note(row, record_of) or self._stand_in(row)
                if record is not None and (now is None or record.ends_at > now):
                    found.append(record)
        return found

    def _stand_in(self, row: HoldRow) -> HoldRecord | None:
        """Return a hold in place of an invalid one, that covers all that this one may cover."""
        if self._kind is HoldKind.BREAKER_OVERRIDE:
            return None
        at = datetime.now(UTC)
        starts_at = row.starts_at if isinstance(row.starts_at, datetime) else _LONG_AGO
        ends_at = row.ends_at if isinstance(row.ends_at, datetime) else at + _LONG
        # Not validated: an exclusion of all routes is refused to people.
        return HoldRecord.model_construct(
            hold_id=row.hold_id or 0,
            kind=self._kind,
            covers=Selector(**_valid_fields(row)),
            starts_at=min(starts_at, ends_at),
            ends_at=ends_at,
            owner=str(row.owner) or "unknown",
            reason=f"the record of hold {row.hold_id} is invalid: it holds all that it may cover",
            pinned_to=None,
            added_at=row.added_at if isinstance(row.added_at, datetime) else at,
        )


def _require_covered(session: Session, covers: Selector) -> None:
    """Refuse a selector with an unknown route or track: a misspelt one would hold nothing."""
    if covers.route_id is not None:
        require_route(session, covers.route_id)
    if covers.track is not None:
        require_track(session, covers.track)


def _valid_fields(row: HoldRow) -> dict[str, str]:
    """Return the fields of a selector that are valid: without a field it selects more."""
    found: dict[str, str] = {}
    for name in Selector.model_fields:
        value = getattr(row, name)
        try:
            Selector.model_validate({name: value})
        except ValidationError:
            continue
        if value is not None:
            found[name] = value
    return found


def record_of(row: HoldRow) -> HoldRecord:
    """Return a row's hold."""
    with validating(f"{row.kind} {row.hold_id}"):
        values = row.model_dump(warnings=False)
        return HoldRecord.model_validate({**values, "covers": Selector.model_validate(values)})
