"""The breaker as it stands, who vouches for which group, and the last look at each witness."""

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
from relight.store.rows import naming
from relight.store.tables import (
    BreakerOverrideRow,
    BreakerRow,
    ConnectivityCheckRow,
)
from relight.store.write import Operation, write

BREAKER_OPENED, BREAKER_CLOSED = "breaker-opened", "breaker-closed"
OVERRIDE_ADDED, OVERRIDE_REMOVED = "breaker-override-added", "breaker-override-removed"
OVERRIDE_EXPIRED = "breaker-override-expired"

THE_ONE = 1


class OverrideRecord(BreakerOverride):
    """An override on record.

    Attributes:
        override_id: its number, which no other will ever have.
        added_at: UTC.
    """

    override_id: int
    added_at: datetime


class BreakerStore:
    """Where the breaker stands is one row; that it opened or closed is an event."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self) -> Breaker:
        """Return where the breaker stands; closed, where it was never turned.

        Raises:
            BadValueError: it was changed by hand and is not of its shape.
        """
        with self._database.reading() as session:
            return _stands(session)

    def turn(self, decide: Callable[[Breaker], Breaker], operation: Operation) -> Breaker:
        """Have the breaker stand where `decide` says, by where it stood; return that.

        Raises:
            BadValueError: it was changed by hand and is not of its shape.
        """
        # Whether it opens or closes is told by where it stood: a retry finds nothing to tell. And
        # one activity may turn it more than once.
        operation = replace(operation, activity_id="")
        with write(self._database, operation, BREAKER_OPENED) as w:
            before = _stands(w.session)
            after = decide(before)
            row = w.session.get(BreakerRow, THE_ONE) or BreakerRow(breaker_id=THE_ONE, state={})
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

    def record_connectivity(self, looks: Iterable[ConnectivityResult]) -> None:
        """Keep the last look at each witness, one that came late behind a later one apart."""
        with self._database.writing() as session:
            for look in looks:
                row = session.get(ConnectivityCheckRow, look.name)
                if row is None or row.observed_at <= look.observed_at:
                    session.merge(ConnectivityCheckRow(**look.model_dump()))

    def connectivity(self) -> list[ConnectivityResult]:
        """Return the last look at each witness, by its name.

        Raises:
            BadValueError: one was changed by hand and is not of its shape.
        """
        with self._database.reading() as session:
            rows = session.exec(
                select(ConnectivityCheckRow).order_by(col(ConnectivityCheckRow.name))
            )
            return [_connectivity_result(row) for row in rows]


class BreakerOverrides:
    """Overrides: those that hold, and those that have expired and were not removed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, override: BreakerOverride, operation: Operation) -> OverrideRecord:
        """Write down that somebody vouches for a group."""
        with write(self._database, operation, OVERRIDE_ADDED) as w:
            if w.earlier:
                return OverrideRecord.model_validate(w.earlier.detail["override"])
            row = BreakerOverrideRow(
                group_name=override.group,
                **override.model_dump(exclude={"group"}),
                added_at=w.at,
            )
            w.session.add(row)
            # The database chooses its number.
            w.session.flush()
            record = _override(row)
            w.log(detail={"override": record.model_dump(mode="json")})
            return record

    def remove(self, override_id: int, operation: Operation) -> bool:
        """Take an override away; say whether it was there."""
        with write(self._database, operation, OVERRIDE_REMOVED) as w:
            if w.earlier:
                return True
            row = w.session.get(BreakerOverrideRow, override_id)
            if row is None:
                return False
            w.session.delete(row)
            # As it stands, so that one that was spoilt by hand can be removed too.
            w.log(detail={"override": row.model_dump(mode="json")})
            return True

    def expire(self, now: datetime, operation: Operation) -> int:
        """Take away what does not hold any more; return how many."""
        with write(self._database, operation, OVERRIDE_EXPIRED) as w:
            over = w.session.exec(
                select(BreakerOverrideRow).where(BreakerOverrideRow.expires_at <= now)
            ).all()
            if w.earlier or not over:
                return 0
            for row in over:
                w.session.delete(row)
            w.log(detail={"overrides": [row.model_dump(mode="json") for row in over]})
            return len(over)

    def list(self) -> list[OverrideRecord]:
        """Return every override, those that have expired too, oldest first.

        Raises:
            BadValueError: one was changed by hand and is not of its shape.
        """
        query = select(BreakerOverrideRow).order_by(col(BreakerOverrideRow.override_id))
        with self._database.reading() as session:
            return [_override(row) for row in session.exec(query)]


def _stands(session: Session) -> Breaker:
    row = session.get(BreakerRow, THE_ONE)
    if row is None:
        return Breaker()
    with naming("the breaker"):
        return Breaker.model_validate(row.state)


def _override(row: BreakerOverrideRow) -> OverrideRecord:
    with naming(f"override {row.override_id}"):
        return OverrideRecord.model_validate({**row.model_dump(), "group": row.group_name})


def _connectivity_result(row: ConnectivityCheckRow) -> ConnectivityResult:
    with naming(f"witness {row.name}"):
        return ConnectivityResult.model_validate(row.model_dump())
