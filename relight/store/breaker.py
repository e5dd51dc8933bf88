"""The breaker's state, and the last result of each connectivity check."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from sqlmodel import Session, col, select

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerIncident,
    ConnectivityResult,
)
from relight.domain.clock import is_future
from relight.store.bad_rows import read_good, read_or_note
from relight.store.database import Database
from relight.store.events import Operation, write
from relight.store.rows import read_row, validating
from relight.store.tables import (
    BreakerRow,
    ConnectivityCheckRow,
)

BREAKER_OPENED, BREAKER_CLOSED = "breaker-opened", "breaker-closed"

_BREAKER_ID = 1
"""The id of the only row."""


class BreakerStore:
    """The breaker's state is one row. Each opening and closing is an event."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self) -> Breaker:
        """Return the breaker's state; closed if none was recorded, open if it is invalid."""
        with self._database.reading() as session:
            return current_breaker(session)

    def update(self, decide: Callable[[Breaker], Breaker], operation: Operation) -> Breaker:
        """Replace the breaker's state by what `decide` makes of it; return the new state."""
        # An event is written only for a change of state, so a retry writes none. One activity may
        # update the breaker more than once.
        operation = replace(operation, activity_id="")
        with write(self._database, operation, BREAKER_OPENED) as w:
            before = current_breaker(w.session)
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
        """Keep the newest result of each connectivity check. An older one changes nothing.

        A recorded one of the future was written by a wrong clock, and does not keep others out.
        """
        now = datetime.now(UTC)
        with self._database.writing() as session:
            for result in results:
                row = session.get(ConnectivityCheckRow, result.name)
                known = read_or_note(row, result_of) if row else None
                if (
                    known is None
                    or known.observed_at <= result.observed_at
                    or is_future(known.observed_at, now)
                ):
                    session.merge(ConnectivityCheckRow(**result.model_dump()))

    def connectivity(self) -> list[ConnectivityResult]:
        """Return the newest result of each connectivity check, by name.

        An invalid one is noted and left out.
        """
        query = select(ConnectivityCheckRow).order_by(col(ConnectivityCheckRow.name))
        with self._database.reading() as session:
            return read_good(session.exec(query), result_of)


def result_of(row: ConnectivityCheckRow) -> ConnectivityResult:
    """Return a row's result."""
    return read_row(ConnectivityResult, row, f"connectivity check {row.name}")


def breaker_of(row: BreakerRow) -> Breaker:
    """Return the row's state of the breaker."""
    with validating("the breaker"):
        return Breaker.model_validate(row.state)


def current_breaker(session: Session) -> Breaker:
    """Return the breaker's recorded state; closed if none was recorded."""
    row = session.get(BreakerRow, _BREAKER_ID)
    if row is None:
        return Breaker()
    state = read_or_note(row, breaker_of)
    if state is not None:
        return state
    # What it was is unknown: nothing is destroyed until the fleet has been calm for a while.
    now = datetime.now(UTC)
    return Breaker(
        incident=BreakerIncident(
            opened_at=now, last_observed_at=now, summary="the record of the breaker was invalid"
        )
    )
