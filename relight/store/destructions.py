"""What was destroyed, and what is about to be: the breaker counts both.

A machine counts from the moment that another one took its place, since it is destroyed next, or
else from its end.
"""

import builtins
from collections.abc import Mapping
from datetime import datetime
from itertools import takewhile

from sqlmodel import Session, col, select

from relight.domain.breaker.breaker import Destruction
from relight.domain.fault.table import fault
from relight.store.database import Database
from relight.store.errors import UnknownMachineError
from relight.store.machines import RecordStatus, mark_destroyed
from relight.store.replacements import MACHINE_ATTACHED
from relight.store.route_faults import settle
from relight.store.rows import naming
from relight.store.tables import (
    EventRow,
    MachineRow,
    PoolMachineRow,
    RouteRow,
)
from relight.store.write import Operation, write

MACHINE_DESTROYED = "machine-destroyed"


class Destructions:
    """The ends of machines."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self, key: str, operation: Operation, *, reason: str, unreachable: bool = False
    ) -> None:
        """Write down that a machine is known to be gone at its provider, of a route or the pool.

        A route that it served has none then, and is `failed`.

        Args:
            key: the machine's; one that is destroyed already stays as it is.
            operation: who destroyed it.
            reason: why, for a person.
            unreachable: nobody got through to it.

        Raises:
            UnknownMachineError: no machine was ever planned under this key.
        """
        with write(self._database, operation, MACHINE_DESTROYED) as w:
            if w.earlier:
                return
            machine = w.session.get(MachineRow, key)
            if machine is None:
                raise UnknownMachineError(f"no machine was ever planned under the key {key}")
            if machine.status == RecordStatus.DESTROYED:
                return
            mark_destroyed(machine, w.at)
            w.session.add(machine)
            if member := w.session.get(PoolMachineRow, key):
                w.session.delete(member)
            route = w.session.get(RouteRow, machine.route_id) if machine.route_id else None
            gone = None
            if route is not None and route.machine_key == key:
                gone = fault("machine-failed", f"machine {key} is destroyed: {reason}")
                settle(w.session, route, gone)
            w.log(
                route_id=machine.route_id,
                machine_key=key,
                fault=gone,
                detail={
                    "provider": machine.provider,
                    "region": machine.region,
                    "track": route.track if route else None,
                    "unreachable": unreachable,
                    "reason": reason,
                },
            )

    def list(self, since: datetime) -> list[Destruction]:
        """Return what was destroyed since an instant, or began to be, each machine once.

        Raises:
            BadValueError: an event was put there by hand and is not of its shape.
        """
        with self._database.reading() as session:
            return list(_destructions(session, since).values())

    def ahead_of(self, key: str, since: datetime) -> builtins.list[Destruction]:
        """Return those of `list` that began before a machine's own; all, where that did not begin.

        Raises:
            BadValueError: an event was put there by hand and is not of its shape.
        """
        with self._database.reading() as session:
            found = _destructions(session, since)
        return [found[each] for each in takewhile(lambda other: other != key, found)]


def _destructions(session: Session, since: datetime) -> Mapping[str, Destruction]:
    """Return the destructions by the machine's key, in the order of their beginning."""
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
            with naming(f"event {event.event_id}"):
                found[key] = Destruction.model_validate({**event.detail, "at": event.at})
    return found
