"""The event log: everything that was done to the fleet, by whom, and why."""

from collections.abc import Mapping

from sqlmodel import col, select

from relight.domain.event import Event
from relight.domain.fault.fault import Fault
from relight.store.database import Database
from relight.store.rows import naming
from relight.store.tables import EventRow
from relight.store.write import Operation, write


class Events:
    """Appended to with every write. The database refuses to change or remove an event."""

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
        """Write an event down that changes nothing else.

        Raises:
            BadValueError: a value is not of its shape.
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
        """Return the events that are asked for, oldest first; the newest `limit` of them.

        Raises:
            BadValueError: one was put there by hand and is not of its shape.
        """
        query = select(EventRow).order_by(col(EventRow.event_id).desc()).limit(limit)
        if route_id is not None:
            query = query.where(EventRow.route_id == route_id)
        if kind is not None:
            query = query.where(EventRow.kind == kind)
        if workflow_id is not None:
            query = query.where(EventRow.workflow_id == workflow_id)
        with self._database.reading() as session:
            return [_event(row) for row in reversed(session.exec(query).all())]


def _event(row: EventRow) -> Event:
    with naming(f"event {row.event_id}"):
        return Event.model_validate(row.model_dump())
