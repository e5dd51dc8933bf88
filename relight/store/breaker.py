"""The breaker's state, its overrides, and the last result of each connectivity check."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from sqlmodel import Session, col, select

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerOverride,
    ConnectivityResult,
)
from relight.store.database import Database
from relight.store.events import Operation, delete_row, write
from relight.store.rows import read_row, validating
from relight.store.tables import (
    BreakerOverrideRow,
    BreakerRow,
    ConnectivityCheckRow,
)

BREAKER_OPENED, BREAKER_CLOSED = "breaker-opened", "breaker-closed"
OVERRIDE_ADDED, OVERRIDE_REMOVED = "breaker-override-added", "breaker-override-removed"
OVERRIDE_EXPIRED = "breaker-override-expired"

_BREAKER_ID = 1
"""The id of the only row."""


class OverrideRecord(BreakerOverride):
    """A recorded override.

    Attributes:
        override_id: unique; never reused.
        added_at: UTC.
    """

    override_id: int
    added_at: datetime


class BreakerStore:
    """The breaker's state is one row. Each opening and closing is an event."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self) -> Breaker:
        """Return the breaker's state; closed if none was recorded.

        Raises:
            BadValueError: it was changed by hand and is invalid.
        """
        with self._database.reading() as session:
            return _state(session)

    def update(self, decide: Callable[[Breaker], Breaker], operation: Operation) -> Breaker:
        """Replace the breaker's state by what `decide` makes of it; return the new state.

        Raises:
            BadValueError: it was changed by hand and is invalid.
        """
        # An event is written only for a change of state, so a retry writes none. One activity may
        # update the breaker more than once.
        operation = replace(operation, activity_id="")
        with write(self._database, operation, BREAKER_OPENED) as w:
            before = _state(w.session)
            after = decide(before)
            row = w.session.get(BreakerRow, _BREAKER_ID)
            row = row or BreakerRow(breaker_id=_BREAKER_ID, state={})
            row.state = after.model_dump(mode="json")
            w.session.add(row)
            if after.incident is not None and before.incident is None:
                w.log(detail={"incident": after.incident.model_dump(mode="json")})
            elif before.incident is not None and after.incident is None:
                w.log(
                    kind=BREAKER_CLOSED,
                    detail={"incident": before.incident.model_dump(mode="json")},
                )
            return after

    def record_connectivity(self, results: Iterable[ConnectivityResult]) -> None:
        """Keep the newest result of each connectivity check. An older one changes nothing."""
        with self._database.writing() as session:
            for result in results:
                row = session.get(ConnectivityCheckRow, result.name)
                if row is None or row.observed_at <= result.observed_at:
                    session.merge(ConnectivityCheckRow(**result.model_dump()))

    def connectivity(self) -> list[ConnectivityResult]:
        """Return the newest result of each connectivity check, by name.

        Raises:
            BadValueError: one was changed by hand and is invalid.
        """
        query = select(ConnectivityCheckRow).order_by(col(ConnectivityCheckRow.name))
        with self._database.reading() as session:
            return [
                read_row(ConnectivityResult, row, f"connectivity check {row.name}")
                for row in session.exec(query)
            ]


class BreakerOverrides:
    """Overrides, including expired ones that were not removed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, override: BreakerOverride, operation: Operation) -> OverrideRecord:
        """Record an override for a group of machines."""
        with write(self._database, operation, OVERRIDE_ADDED) as w:
            if w.earlier:
                return OverrideRecord.model_validate(w.earlier.detail["override"])
            row = BreakerOverrideRow(
                group_name=override.group,
                **override.model_dump(exclude={"group"}),
                added_at=w.at,
            )
            w.session.add(row)
            # The database assigns the id.
            w.session.flush()
            record = _override(row)
            w.log(detail={"override": record.model_dump(mode="json")})
            return record

    def remove(self, override_id: int, operation: Operation) -> bool:
        """Remove an override; return whether it existed."""
        with write(self._database, operation, OVERRIDE_REMOVED) as w:
            return delete_row(w, w.session.get(BreakerOverrideRow, override_id), "override")

    def expire(self, now: datetime, operation: Operation) -> int:
        """Remove the expired overrides; return how many there were."""
        with write(self._database, operation, OVERRIDE_EXPIRED) as w:
            expired = w.session.exec(
                select(BreakerOverrideRow).where(BreakerOverrideRow.expires_at <= now)
            ).all()
            if w.earlier or not expired:
                return 0
            for row in expired:
                w.session.delete(row)
            w.log(detail={"overrides": [row.model_dump(mode="json") for row in expired]})
            return len(expired)

    def list(self) -> list[OverrideRecord]:
        """Return every override, including expired ones, oldest first.

        Raises:
            BadValueError: one was changed by hand and is invalid.
        """
        query = select(BreakerOverrideRow).order_by(col(BreakerOverrideRow.override_id))
        with self._database.reading() as session:
            return [_override(row) for row in session.exec(query)]


def _state(session: Session) -> Breaker:
    row = session.get(BreakerRow, _BREAKER_ID)
    if row is None:
        return Breaker()
    with validating("the breaker"):
        return Breaker.model_validate(row.state)


def _override(row: BreakerOverrideRow) -> OverrideRecord:
    return read_row(OverrideRecord, row, f"override {row.override_id}", group=row.group_name)
