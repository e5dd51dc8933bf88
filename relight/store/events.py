"""The event log: the write that changes the store and appends an event, and reading the events.

An activity writes once: its retry finds the event of the earlier attempt.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from relight.domain.base import Origin
from relight.domain.event import Event
from relight.domain.fault.fault import Fault
from relight.store.database import Database, storable
from relight.store.rows import read_row, validating
from relight.store.tables import BY_ACTIVITY, EventRow, Row


@dataclass(frozen=True)
class Operation:
    """On whose behalf the store is written.

    Attributes:
        origin: requested by whom, and for what reason.
        workflow_id: the workflow that writes, empty for a command typed by a person.
        run_id: that workflow's run.
        activity_id: the activity of that run. Its retries have the same id, and write once.
    """

    origin: Origin
    workflow_id: str = ""
    run_id: str = ""
    activity_id: str = ""


@dataclass(frozen=True)
class Write:
    """The transaction of one operation.

    Attributes:
        earlier: the event of an earlier attempt of the same activity, which has written
            everything. The write then changes nothing and returns what that attempt returned.
        at: the time of everything that it writes.
    """

    session: Session
    operation: Operation
    kind: str
    earlier: EventRow | None
    at: datetime

    def log(
        self,
        *,
        kind: str | None = None,
        route_id: str | None = None,
        machine_key: str | None = None,
        release_tag: str | None = None,
        fault: Fault | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """Append an event of the write's kind, or of `kind`, to the event log.

        Raises:
            BadValueError: a value is invalid and could not be read back.
        """
        operation = self.operation
        kind = kind or self.kind
        with validating(f"the event {kind}"):
            event = Event(
                event_id=0,
                at=self.at,
                kind=kind,
                requested_by=operation.origin.requested_by,
                reason=operation.origin.reason,
                workflow_id=operation.workflow_id,
                run_id=operation.run_id,
                route_id=route_id,
                machine_key=machine_key,
                release_tag=release_tag,
                fault_kind=fault.kind if fault else None,
                fault_class=fault.fault_class if fault else None,
                detail=storable(dict(detail or {})),
            )
        values = event.model_dump(exclude={"event_id"})
        self.session.add(EventRow(**values, activity_id=operation.activity_id))


@contextmanager
def write(database: Database, operation: Operation, kind: str) -> Iterator[Write]:
    """Begin an operation's write of this kind. It is committed unless the body raises."""
    with database.writing() as session:
        yield Write(
            session=session,
            operation=operation,
            kind=kind,
            earlier=_earlier(session, operation, kind),
            at=datetime.now(UTC),
        )


def delete_row(w: Write, row: Row | None, name: str) -> bool:
    """Delete a row that an operator added, and log it under `name`; return whether it existed."""
    if w.earlier:
        return True
    if row is None:
        return False
    w.session.delete(row)
    # Unvalidated: a row that was made invalid by hand can be removed too.
    w.log(detail={name: row.model_dump(mode="json")})
    return True


def written_by(operation: Operation, kind: str) -> SelectOfScalar[EventRow]:
    """Return the query for the event of one kind that an activity wrote."""
    return select(EventRow).where(
        # Repeats the condition of the partial index, which is not used without it.
        BY_ACTIVITY,
        EventRow.run_id == operation.run_id,
        EventRow.activity_id == operation.activity_id,
        EventRow.kind == kind,
    )


def _earlier(session: Session, operation: Operation, kind: str) -> EventRow | None:
    if not operation.activity_id:
        return None
    return session.exec(written_by(operation, kind)).one_or_none()


class Events:
    """Every write appends an event. The database refuses changes, and to delete a recent one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(
        self,
        kind: str,
        operation: Operation,
        *,
        route_id: str | None = None,
        machine_key: str | None = None,
        release_tag: str | None = None,
        fault: Fault | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """Record an event that changes nothing else.

        Raises:
            BadValueError: a value is invalid.
        """
        with write(self._database, operation, kind) as w:
            if not w.earlier:
                w.log(
                    route_id=route_id,
                    machine_key=machine_key,
                    release_tag=release_tag,
                    fault=fault,
                    detail=detail,
                )

    def list(
        self,
        route_id: str | None = None,
        kind: str | None = None,
        workflow_id: str | None = None,
        limit: int | None = None,
    ) -> list[Event]:
        """Return the newest `limit` events that match all given values, oldest first.

        Raises:
            BadValueError: an event that was inserted by hand is invalid.
        """
        query = select(EventRow).order_by(col(EventRow.event_id).desc()).limit(limit)
        if route_id is not None:
            query = query.where(EventRow.route_id == route_id)
        if kind is not None:
            query = query.where(EventRow.kind == kind)
        if workflow_id is not None:
            query = query.where(EventRow.workflow_id == workflow_id)
        with self._database.reading() as session:
            return [
                read_row(Event, row, f"event {row.event_id}")
                for row in reversed(session.exec(query).all())
            ]
