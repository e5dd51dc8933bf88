"""Destroyed machines, and machines that are destroyed next: the breaker counts both.

A machine counts from the moment another one replaces it, since it is destroyed next. A machine
that was not replaced counts from its destruction.
"""

import builtins
from collections.abc import Mapping
from datetime import datetime
from itertools import takewhile

from sqlmodel import Session, col, select

from relight.domain.breaker.breaker import Destruction
from relight.domain.fault.table import fault
from relight.store.database import Database
from relight.store.events import Operation, write
from relight.store.machines import mark_destroyed
from relight.store.replacements import MACHINE_ATTACHED
from relight.store.route_faults import mark_faulted
from relight.store.rows import require_machine, validating
from relight.store.tables import (
    EventRow,
    PoolMachineRow,
    RecordStatus,
    RouteRow,
)

MACHINE_DESTROYED = "machine-destroyed"


class Destructions:
    """Destructions, in the order in which they began."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self, key: str, operation: Operation, *, reason: str, unreachable: bool = False
    ) -> None:
        """Record that a machine of a route or the pool no longer exists at its provider.

        A route that it served has no machine then, and is `failed`.

        Args:
            key: the machine's; one that is already destroyed stays unchanged.
            operation: the operation that destroyed it.
            reason: for a person.
            unreachable: the machine could not be reached.

        Raises:
            UnknownMachineError: no machine was planned under this key.
        """
        with write(self._database, operation, MACHINE_DESTROYED) as w:
            if w.earlier:
                return
            machine = require_machine(w.session, key)
            if machine.status == RecordStatus.DESTROYED:
                return
            mark_destroyed(machine, w.at)
            w.session.add(machine)
            if member := w.session.get(PoolMachineRow, key):
                w.session.delete(member)
            route = w.session.get(RouteRow, machine.route_id) if machine.route_id else None
            route_fault = None
            if route is not None and route.machine_key == key:
                route_fault = fault("machine-failed", f"machine {key} is destroyed: {reason}")
                mark_faulted(w.session, route, route_fault)
            w.log(
                route_id=machine.route_id,
                machine_key=key,
                fault=route_fault,
                detail={
                    "provider": machine.provider,
                    "region": machine.region,
                    "track": route.track if route else None,
                    "unreachable": unreachable,
                    "reason": reason,
                },
            )

    def list(self, since: datetime) -> list[Destruction]:
        """Return the destructions that began since an instant, one per machine.

        Raises:
            BadValueError: an event that was inserted by hand is invalid.
        """
        with self._database.reading() as session:
            return list(_destructions(session, since).values())

    def ahead_of(self, key: str, since: datetime) -> builtins.list[Destruction]:
        """Return the destructions of `list` that began before that of a machine.

        Where that of the machine has not begun, all are returned.

        Raises:
            BadValueError: an event that was inserted by hand is invalid.
        """
        with self._database.reading() as session:
            found = _destructions(session, since)
        return [found[each] for each in takewhile(lambda other: other != key, found)]


def _destructions(session: Session, since: datetime) -> Mapping[str, Destruction]:
    """Return the destructions by machine key, in the order in which they began."""
    events = session.exec(
        select(EventRow)
        .where(col(EventRow.kind).in_((MACHINE_ATTACHED, MACHINE_DESTROYED)), EventRow.at >= since)
        .order_by(col(EventRow.event_id))
    )
    found: dict[str, Destruction] = {}
    for event in events:
        attached = event.kind == MACHINE_ATTACHED
        key = event.detail.get("drained") if attached else event.machine_key
        if key and key not in found:
            with validating(f"event {event.event_id}"):
                found[key] = Destruction.model_validate({**event.detail, "at": event.at})
    return found
