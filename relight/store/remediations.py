"""What befell routes lately, and what was said of them: what their remediation is decided by.

What happened is read from the event log. What holds until somebody takes it back (a quarantine, a
person's word, a machine that its provider does not have) is a row of `route_remediations`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, or_, select

from relight.domain.names import RouteId
from relight.domain.remediation import RouteHistory
from relight.domain.route import RouteStatus
from relight.store.database import Database
from relight.store.errors import UnknownRouteError
from relight.store.rows import naming
from relight.store.tables import (
    EventRow,
    RouteRemediationRow,
    RouteRow,
)
from relight.store.write import Operation, Write, write

REPAIR_BEGUN = "repair-begun"
REPLACEMENT_BEGUN = "replacement-begun"
ROUTE_QUARANTINED = "route-quarantined"
ROUTE_GIVEN_BACK = "route-given-back"
REPLACEMENT_ASKED = "replacement-asked"
REPLACEMENT_NOT_ASKED = "replacement-not-asked"

DRIFT_FOUND = "drift-found"
"""The event of a fault that a look met on a machine that was proven at the same release."""

BROKE_UNDER_IT = frozenset({"connection-lost", "host-rebooted", "transaction-lost"})
"""Faults of an operation that was on the host already: it had got through to it."""

_LISTS = {REPAIR_BEGUN: "repairs", REPLACEMENT_BEGUN: "replacements"}

# Without the detail, which holds whole logs.
_OF_EVENTS: tuple[Any, ...] = (
    EventRow.event_id,
    EventRow.route_id,
    EventRow.at,
    EventRow.kind,
    EventRow.fault_kind,
    EventRow.machine_key,
)


class Remediations:
    """Every write but that of `gone_since` is one with its event, and a retry writes once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def histories(self, since: datetime) -> Mapping[RouteId, RouteHistory]:
        """Return what befell each route since an instant; a route without any of it is not there.

        Raises:
            BadValueError: something was changed by hand and is not of its shape.
        """
        with self._database.reading() as session:
            found = _routes(session, since)
            for event in _events(session, since):
                history = found.get(event.route_id)
                if history is None:
                    continue
                if event.fault_kind is not None:
                    history["faults"].append(
                        {
                            "at": event.at,
                            "kind": event.fault_kind,
                            "machine_key": event.machine_key,
                            "fresh": event.fault_kind not in BROKE_UNDER_IT,
                            "drifted": event.kind == DRIFT_FOUND,
                        }
                    )
                elif not history["given_back_at"] or event.at > history["given_back_at"]:
                    history[_LISTS[event.kind]].append(event.at)
        return {route_id: _read(route_id, history) for route_id, history in sorted(found.items())}

    def repair_begun(self, route_id: str, operation: Operation) -> None:
        """Write down that a swap was begun to mend a route.

        Raises:
            UnknownRouteError: there is no such route.
        """
        self._begun(route_id, REPAIR_BEGUN, operation)

    def replacement_begun(self, route_id: str, operation: Operation) -> None:
        """Write down that another machine is looked for, whatever will come of it.

        Raises:
            UnknownRouteError: there is no such route.
        """
        self._begun(route_id, REPLACEMENT_BEGUN, operation)

    def quarantine(self, route_id: str, reason: str, operation: Operation) -> None:
        """Take a route out of the machinery's hands; one that is out already stays so.

        Raises:
            UnknownRouteError: there is no such route.
        """
        with self._changing(route_id, ROUTE_QUARANTINED, operation) as (w, route, remediations):
            if not w.earlier and remediations.quarantined_at is None:
                remediations.quarantined_at, remediations.quarantine_reason = w.at, reason
                w.log(route_id=route_id, machine_key=route.machine_key, detail={"reason": reason})

    def release_from_quarantine(self, route_id: str, operation: Operation) -> bool:
        """Give a route back; say whether it was in quarantine.

        The repairs and replacements before that are not held against it any more.

        Raises:
            UnknownRouteError: there is no such route.
        """
        with self._changing(route_id, ROUTE_GIVEN_BACK, operation) as (w, route, remediations):
            if w.earlier or remediations.quarantined_at is None:
                return w.earlier is not None
            w.log(
                route_id=route_id,
                machine_key=route.machine_key,
                detail={
                    "since": remediations.quarantined_at.isoformat(),
                    "reason": remediations.quarantine_reason,
                },
            )
            remediations.quarantined_at = remediations.quarantine_reason = None
            remediations.given_back_at = w.at
            return True

    def ask_replacement(self, route_id: str, operation: Operation) -> None:
        """Ask for another machine for a route, until it has one: the operation says who, and why.

        Raises:
            UnknownRouteError: there is no such route.
        """
        with self._changing(route_id, REPLACEMENT_ASKED, operation) as (w, route, remediations):
            if not w.earlier:
                remediations.asked_by, remediations.asked_reason = (
                    operation.origin.requested_by,
                    operation.origin.reason,
                )
                w.log(route_id=route_id, machine_key=route.machine_key)

    def clear_asked(self, route_id: str, operation: Operation) -> bool:
        """Take that back; say whether somebody had asked.

        Raises:
            UnknownRouteError: there is no such route.
        """
        with self._changing(route_id, REPLACEMENT_NOT_ASKED, operation) as (w, route, remediations):
            if w.earlier or remediations.asked_by is None:
                return w.earlier is not None
            w.log(
                route_id=route_id,
                machine_key=route.machine_key,
                detail={
                    "asked_by": remediations.asked_by,
                    "asked_reason": remediations.asked_reason,
                },
            )
            remediations.asked_by = remediations.asked_reason = None
            return True

    def gone_since(self, route_id: str, at: datetime | None) -> None:
        """Write down that a provider does not have a route's machine, or (None) that it has.

        The first of these looks counts, until the machine was proven again. There is no event:
        this is a look, which is taken again and again.

        Raises:
            UnknownRouteError: there is no such route.
        """
        with self._database.writing() as session:
            route, remediations = _find(session, route_id)
            set_gone(route, remediations, at)
            session.add(remediations)

    def _begun(self, route_id: str, kind: str, operation: Operation) -> None:
        with write(self._database, operation, kind) as w:
            if not w.earlier:
                route, _ = _find(w.session, route_id)
                w.log(route_id=route_id, machine_key=route.machine_key)

    @contextmanager
    def _changing(
        self, route_id: str, kind: str, operation: Operation
    ) -> Iterator[tuple[Write, RouteRow, RouteRemediationRow]]:
        with write(self._database, operation, kind) as w:
            route, remediations = _find(w.session, route_id)
            yield w, route, remediations
            w.session.add(remediations)


def set_gone(route: RouteRow, remediations: RouteRemediationRow, at: datetime | None) -> None:
    """Write down since when a route's machine is gone; the first look since its proof counts."""
    proven_since = (
        remediations.gone_since and route.proven_at and route.proven_at >= remediations.gone_since
    )
    if at is None or remediations.gone_since is None or proven_since:
        remediations.gone_since = at


def remediation_row(session: Session, route_id: str) -> RouteRemediationRow:
    """Return what is kept of a route, or a row in which nothing is."""
    return session.get(RouteRemediationRow, route_id) or RouteRemediationRow(route_id=route_id)


def _find(session: Session, route_id: str) -> tuple[RouteRow, RouteRemediationRow]:
    route = session.get(RouteRow, route_id)
    if route is None:
        raise UnknownRouteError(f"there is no route {route_id}")
    return route, remediation_row(session, route_id)


def _routes(session: Session, since: datetime) -> dict[str, dict[str, Any]]:
    """Return the routes that something befell or that something is kept of, nothing told yet."""
    befell = [select(EventRow.route_id).where(*where) for where in _asked_for(since)]
    rows = session.exec(
        select(RouteRow, RouteRemediationRow)
        .outerjoin(RouteRemediationRow, col(RouteRemediationRow.route_id) == col(RouteRow.route_id))
        .where(
            or_(
                col(RouteRow.route_id).in_(select(RouteRemediationRow.route_id)),
                *(col(RouteRow.route_id).in_(ids) for ids in befell),
            )
        )
    )
    return {route.route_id: _history(route, remediations) for route, remediations in rows}


def _events(session: Session, since: datetime) -> list[Any]:
    """Return what befell routes since an instant, in the order in which it was written down."""
    # Not ordered by the database: it would walk through the whole log in that order.
    found = [
        event
        for where in _asked_for(since)
        for event in session.exec(select(*_OF_EVENTS).where(*where))
    ]
    return sorted(found, key=lambda event: event.event_id)


def _asked_for(since: datetime) -> tuple[tuple[Any, ...], ...]:
    """Return which events a remediation is decided by: one query for each of the log's indexes."""
    lately = (EventRow.at >= since, col(EventRow.route_id).is_not(None))
    return (
        (col(EventRow.fault_kind).is_not(None), *lately),
        (col(EventRow.kind).in_(_LISTS), *lately),
    )


def _history(route: RouteRow, remediations: RouteRemediationRow | None) -> dict[str, Any]:
    return {
        "route_id": route.route_id,
        "machine_key": route.machine_key,
        "proven_at": route.proven_at,
        "faulted": route.status == RouteStatus.FAULTED,
        "faults": [],
        "repairs": [],
        "replacements": [],
        "gone_since": remediations.gone_since if remediations else None,
        "asked_by": remediations.asked_by if remediations else None,
        "quarantined": remediations is not None and remediations.quarantined_at is not None,
        "given_back_at": remediations.given_back_at if remediations else None,
    }


def _read(route_id: str, history: Mapping[str, Any]) -> RouteHistory:
    with naming(f"route {route_id}"):
        return RouteHistory.model_validate(history)
