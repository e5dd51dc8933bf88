"""The recent history of routes, by which their remediation is decided.

Events of the past are read from the event log. What holds until it is ended (a quarantine, a
requested replacement, a machine that its provider does not have) is a row of `route_remediations`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pydantic import AwareDatetime
from sqlalchemy import func
from sqlmodel import Session, col, or_, select

from relight.domain.base import Message
from relight.domain.names import RouteId
from relight.domain.route import RouteStatus
from relight.domain.route_history import ObservedFault, Quarantine, RouteHistory
from relight.store.bad_rows import BadRow, note_bad, read_or_note
from relight.store.database import Database
from relight.store.events import Operation, Write, not_later, write
from relight.store.routes import ROUTE_PROVEN
from relight.store.rows import read_row, require_route, route_of, time_or_none, validating
from relight.store.tables import (
    EventRow,
    LivenessRow,
    RouteRemediationRow,
    RouteRow,
)

REPAIR_BEGUN = "repair-begun"
REPLACEMENT_BEGUN = "replacement-begun"
ROUTE_QUARANTINED = "route-quarantined"
QUARANTINE_ENDED = "quarantine-ended"
REPLACEMENT_REQUESTED = "replacement-requested"
REPLACEMENT_REQUEST_CANCELLED = "replacement-request-cancelled"

DRIFT_FOUND = "drift-found"
"""The event of a fault that a verification found at the release that was proven there."""

BROKE_DURING_OPERATION = frozenset({"connection-lost", "host-rebooted", "transaction-lost"})
"""Faults of an operation that had connected to the host: they do not mean it is unreachable."""

_BATCH_SIZE = 1000

# Without the detail, which contains whole logs.
_EVENT_COLUMNS: tuple[Any, ...] = (
    EventRow.event_id,
    EventRow.route_id,
    EventRow.at,
    EventRow.kind,
    EventRow.fault_kind,
    EventRow.machine_key,
)


class Remediations:
    """What is recorded about faulty routes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def histories(self, since: datetime) -> Mapping[RouteId, RouteHistory]:
        """Return the history of each route since an instant; routes without any are left out.

        One whose record is invalid is noted and left out, and so is an invalid event.
        """
        with self._database.reading() as session:
            found = _routes(session, since)
            events = _events(session, since)
            faulted = {event.route_id for event in events if event.fault_kind is not None}
            proven = _last_proofs(session, sorted(faulted))
            now = datetime.now(UTC)
            for event in events:
                if not isinstance(event.at, datetime):
                    text = f"event {event.event_id}: at is {event.at!r}"
                    note_bad(BadRow("events", (str(event.event_id),), text))
                    continue
                is_past = event.event_id < proven.get(event.route_id, 0)
                if event.route_id in found and not (is_past and event.fault_kind is not None):
                    found[event.route_id].add(event, not_later(session, event, now))
            read = {
                route_id: read_or_note(history.row, history.read)
                for route_id, history in sorted(found.items())
                if read_or_note(history.route, partial(route_of, machine=None)) is not None
            }
        return {route_id: history for route_id, history in read.items() if history is not None}

    def record_repair(self, route_id: str, operation: Operation) -> None:
        """Record that a hot swap to repair a route begins.

        Raises:
            UnknownRouteError: there is no such route.
        """
        self._record_begin(route_id, REPAIR_BEGUN, operation)

    def record_replacement(self, route_id: str, operation: Operation) -> None:
        """Record that a replacement of a route's machine begins.

        Raises:
            UnknownRouteError: there is no such route.
        """
        self._record_begin(route_id, REPLACEMENT_BEGUN, operation)

    def quarantine_of(self, route_id: str) -> Quarantine | None:
        """Return the quarantine of a route, None if it is in none.

        Raises:
            BadValueError: it was changed by hand and is invalid.
        """
        with self._database.reading() as session:
            row = session.get(RouteRemediationRow, route_id)
            if row is None or row.quarantined_at is None:
                return None
            with validating(f"the quarantine of route {route_id}"):
                return Quarantine(since=row.quarantined_at, reason=row.quarantine_reason or "")

    def quarantine(self, route_id: str, reason: str, operation: Operation) -> bool:
        """Quarantine a route: automation leaves it alone; return whether it was in none before.

        Raises:
            UnknownRouteError: there is no such route.
        """
        with self._changing(route_id, ROUTE_QUARANTINED, operation) as (w, route, row):
            if w.earlier or row.quarantined_at is not None:
                return w.earlier is not None
            row.quarantined_at, row.quarantine_reason = w.at, reason
            w.log(route_id=route_id, machine_key=route.machine_key, detail={"reason": reason})
            return True

    def end_quarantine(self, route_id: str, operation: Operation) -> bool:
        """End a route's quarantine; return whether it was quarantined.

        Earlier repairs and replacements do not count any more.

        Raises:
            UnknownRouteError: there is no such route.
        """
        with self._changing(route_id, QUARANTINE_ENDED, operation) as (w, route, row):
            if w.earlier or row.quarantined_at is None:
                return w.earlier is not None
            w.log(
                route_id=route_id,
                machine_key=route.machine_key,
                detail={"since": row.quarantined_at.isoformat(), "reason": row.quarantine_reason},
            )
            row.quarantined_at = row.quarantine_reason = None
            row.quarantine_ended_at = w.at
            return True

    def request_replacement(self, route_id: str, operation: Operation) -> None:
        """Request another machine for a route. The request holds until the route has one.

        Raises:
            UnknownRouteError: there is no such route.
        """
        with self._changing(route_id, REPLACEMENT_REQUESTED, operation) as (w, route, row):
            if not w.earlier:
                row.replacement_requested_by = operation.origin.requested_by
                row.replacement_reason = operation.origin.reason
                w.log(route_id=route_id, machine_key=route.machine_key)

    def cancel_replacement_request(self, route_id: str, operation: Operation) -> bool:
        """Cancel a request for another machine; return whether there was one.

        Raises:
            UnknownRouteError: there is no such route.
        """
        with self._changing(route_id, REPLACEMENT_REQUEST_CANCELLED, operation) as (w, route, row):
            if w.earlier or row.replacement_requested_by is None:
                return w.earlier is not None
            w.log(
                route_id=route_id,
                machine_key=route.machine_key,
                detail={
                    "requested_by": row.replacement_requested_by,
                    "reason": row.replacement_reason,
                },
            )
            row.replacement_requested_by = row.replacement_reason = None
            return True

    def record_gone_since(self, route_id: str, at: datetime | None) -> None:
        """Record since when a provider does not have a route's machine; None: it has it.

        The first time since the machine was last proven is kept. No event is written, since every
        reconcile run records this.

        Raises:
            UnknownRouteError: there is no such route.
        """
        with self._database.writing(route_id) as session:
            route = require_route(session, route_id)
            row = remediation_row(session, route_id)
            set_gone_since(route, row, at)
            session.add(row)

    def _record_begin(self, route_id: str, kind: str, operation: Operation) -> None:
        with write(self._database, operation, kind, route_id) as w:
            if not w.earlier:
                route = require_route(w.session, route_id)
                w.log(route_id=route_id, machine_key=route.machine_key)

    @contextmanager
    def _changing(
        self, route_id: str, kind: str, operation: Operation
    ) -> Iterator[tuple[Write, RouteRow, RouteRemediationRow]]:
        with write(self._database, operation, kind, route_id) as w:
            route = require_route(w.session, route_id)
            row = remediation_row(w.session, route_id)
            yield w, route, row
            w.session.add(row)


class _Remediation(Message):
    """The columns of a row."""

    quarantined_at: AwareDatetime | None
    quarantine_reason: str | None
    quarantine_ended_at: AwareDatetime | None
    replacement_requested_by: str | None
    replacement_reason: str | None
    gone_since: AwareDatetime | None


def check_remediation(row: RouteRemediationRow) -> None:
    """Check a row.

    Raises:
        BadValueError: a value was changed by hand and is invalid.
    """
    read_row(_Remediation, row, f"the remediation of route {row.route_id}")


def remediation_row(session: Session, route_id: str) -> RouteRemediationRow:
    """Return a route's row, a new empty one if it has none."""
    return session.get(RouteRemediationRow, route_id) or RouteRemediationRow(route_id=route_id)


def set_gone_since(route: RouteRow, row: RouteRemediationRow, at: datetime | None) -> None:
    """Set since when a route's machine is gone, unless an earlier time since its proof is set."""
    proven_since = row.gone_since and route.proven_at and route.proven_at >= row.gone_since
    if at is None or row.gone_since is None or proven_since or row.gone_since > at:
        row.gone_since = at


@dataclass
class _History:
    """A route's history while its events are collected."""

    route: RouteRow
    row: RouteRemediationRow
    liveness: LivenessRow | None
    faults: list[ObservedFault] = field(default_factory=list)
    repairs: list[datetime] = field(default_factory=list)
    replacements: list[datetime] = field(default_factory=list)

    def add(self, event: Any, at: datetime) -> None:
        """Add an event, with its time; they come in the order in which they were written."""
        ended = self.row.quarantine_ended_at
        if event.fault_kind is not None:
            self.faults.append(
                ObservedFault(
                    at=at,
                    kind=event.fault_kind,
                    machine_key=event.machine_key,
                    fresh=event.fault_kind not in BROKE_DURING_OPERATION,
                    drifted=event.kind == DRIFT_FOUND,
                )
            )
        elif not isinstance(ended, datetime) or at > ended:
            begun = self.repairs if event.kind == REPAIR_BEGUN else self.replacements
            begun.append(at)

    def read(self, row: RouteRemediationRow) -> RouteHistory:
        check_remediation(row)
        liveness = self.liveness
        since = time_or_none(liveness.since) if liveness else None
        with validating(f"route {self.route.route_id}"):
            return RouteHistory(
                route_id=self.route.route_id,
                machine_key=self.route.machine_key,
                proven_at=self.route.proven_at,
                faults=tuple(self.faults),
                repairs=tuple(self.repairs),
                replacements=tuple(self.replacements),
                gone_since=self.row.gone_since,
                silent_since=since if liveness and not liveness.answers else None,
                answers_since=since if liveness and liveness.answers else None,
                replacement_requested_by=self.row.replacement_requested_by,
                faulted=self.route.status == RouteStatus.FAULTED,
                quarantined=self.row.quarantined_at is not None,
            )


def _routes(session: Session, since: datetime) -> dict[str, _History]:
    """Return a history without events for each route that has a row, an event or silence."""
    with_events = [select(EventRow.route_id).where(*where) for where in _conditions(since)]
    rows = session.exec(
        select(RouteRow, RouteRemediationRow, LivenessRow)
        .outerjoin(RouteRemediationRow, col(RouteRemediationRow.route_id) == col(RouteRow.route_id))
        .outerjoin(LivenessRow, col(LivenessRow.machine_key) == col(RouteRow.machine_key))
        .where(
            or_(
                col(RouteRow.route_id).in_(select(RouteRemediationRow.route_id)),
                col(LivenessRow.answers).is_(False),
                *(col(RouteRow.route_id).in_(ids) for ids in with_events),
            )
        )
    )
    return {
        route.route_id: _History(
            route, row or RouteRemediationRow(route_id=route.route_id), liveness
        )
        for route, row, liveness in rows
    }


def _events(session: Session, since: datetime) -> list[Any]:
    """Return the events of routes since an instant, in the order in which they were written."""
    # Not ordered by the database: it would scan the whole log in that order.
    found = [
        event
        for where in _conditions(since)
        for event in session.exec(select(*_EVENT_COLUMNS).where(*where))
    ]
    return sorted(found, key=lambda event: event.event_id)


def _last_proofs(session: Session, route_ids: Sequence[RouteId]) -> Mapping[RouteId, int]:
    """Return the id of the last proof of each route.

    What came before it is told by the order of the events: their times may be wrong.
    """
    found: dict[RouteId, int] = {}
    for start in range(0, len(route_ids), _BATCH_SIZE):
        batch = route_ids[start : start + _BATCH_SIZE]
        query = (
            select(EventRow.route_id, func.max(EventRow.event_id))
            .where(EventRow.kind == ROUTE_PROVEN, col(EventRow.route_id).in_(batch))
            .group_by(col(EventRow.route_id))
        )
        found |= {route_id: at for route_id, at in session.exec(query) if route_id and at}
    return found


def _conditions(since: datetime) -> tuple[tuple[Any, ...], ...]:
    """Return which events a remediation depends on: one condition per index of the log."""
    recent = (EventRow.at >= since, col(EventRow.route_id).is_not(None))
    return (
        (col(EventRow.fault_kind).is_not(None), *recent),
        (col(EventRow.kind).in_((REPAIR_BEGUN, REPLACEMENT_BEGUN)), *recent),
    )
