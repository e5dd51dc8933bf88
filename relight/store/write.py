"""On whose behalf the store is written."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlmodel import Session, select
from sqlmodel.sql.expression import SelectOfScalar

from relight.domain.base import Origin
from relight.domain.event import Event
from relight.domain.fault.fault import Fault
from relight.store.column_types import storable
from relight.store.database import Database
from relight.store.rows import naming
from relight.store.tables import BY_ACTIVITY, EventRow


@dataclass(frozen=True)
class Operation:
    """Who asks for a write, and as part of what.

    Attributes:
        origin: who, and why.
        workflow_id: the workflow that writes, empty for a command typed by hand.
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
        earlier: the event of an earlier attempt of the same activity, which has done it all:
            the write is to answer as that attempt did, and to change nothing.
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
        """Append to the event log; with `kind`, another event than the write is named after.

        Raises:
            BadValueError: it holds what could not be read back.
        """
        operation = self.operation
        kind = kind or self.kind
        with naming(f"the event {kind}"):
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
    """Begin the operation's write of this kind; it is committed when the body ends well."""
    with database.writing() as session:
        yield Write(
            session=session,
            operation=operation,
            kind=kind,
            earlier=_earlier(session, operation, kind),
            at=datetime.now(UTC),
        )


def _earlier(session: Session, operation: Operation, kind: str) -> EventRow | None:
    if not operation.activity_id:
        return None
    return session.exec(written_by(operation, kind)).one_or_none()


def written_by(operation: Operation, kind: str) -> SelectOfScalar[EventRow]:
    """Return the query for what an activity has written of one kind."""
    return select(EventRow).where(
        # Said once more, or the index of these alone is not taken, and the log is read through.
        BY_ACTIVITY,
        EventRow.run_id == operation.run_id,
        EventRow.activity_id == operation.activity_id,
        EventRow.kind == kind,
    )


# MERGEDOC """A write: one transaction that changes the store and says so in the event log, once."""
