"""The breaker's state, and the last result of each connectivity check."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from sqlmodel import Session, col, select

from relight.domain.breaker.breaker import (
    Breaker,
    ConnectivityResult,
)
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


def _state(session: Session) -> Breaker:
    row = session.get(BreakerRow, _BREAKER_ID)
    if row is None:
        return Breaker()
    with validating("the breaker"):
        return Breaker.model_validate(row.state)
