"""Destroyed machines, and machines that are destroyed next: the breaker counts both.

A machine counts from the moment another one replaces it, since it is destroyed next. A machine
that was not replaced counts from the moment its destruction begins.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import takewhile
from typing import Any

from sqlmodel import Session, col, select

from relight.domain.breaker.breaker import Breaker, Destruction
from relight.domain.destruction import HOUR, DestroyMachineInput, Refusal
from relight.domain.destruction_gate import DestructionEvidence
from relight.domain.fault.table import fault
from relight.domain.machine import MachineAtProvider
from relight.domain.sweep.planner import SweepView
from relight.domain.sweep.sweep import ProviderListing
from relight.store.bad_rows import read_or_note
from relight.store.breaker import current_breaker
from relight.store.database import Database
from relight.store.destruction_evidence import evidence_of
from relight.store.events import Operation, Write, not_later, write
from relight.store.machines import mark_destroyed
from relight.store.replacements import MACHINE_ATTACHED
from relight.store.route_faults import mark_faulted
from relight.store.rows import require_machine, validating
from relight.store.sweeps import records_of
from relight.store.tables import (
    EventRow,
    MachineRow,
    PoolMachineRow,
    RecordStatus,
    RouteRow,
)

DESTRUCTION_BEGUN = "destruction-begun"
DESTRUCTION_REFUSED = "destruction-refused"
MACHINE_DESTROYED = "machine-destroyed"
REMOVAL_BEGUN = "removal-begun"

TELL_AGAIN_AFTER = timedelta(days=1)
"""A refusal that is repeated is recorded once in this time."""

_COUNTED = (MACHINE_ATTACHED, DESTRUCTION_BEGUN, MACHINE_DESTROYED)

RecordsOf = Callable[[ProviderListing], SweepView]
"""Returns a listing of a provider with the records of it."""

Decide = Callable[[Breaker, Sequence[Destruction], DestructionEvidence, RecordsOf], Refusal | None]
"""Decides by the breaker's state, the destructions of the last hour that come before this one, what
the records say about the machine, and what they say about a listing. All is read in the transaction
of the decision."""


class Destructions:
    """Destructions, in the order in which they began."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(
        self,
        request: DestroyMachineInput,
        found: MachineAtProvider,
        operation: Operation,
        decide: Decide,
    ) -> Refusal | None:
        """Record that a destruction begins, or return why not.

        The decision, all that it reads, and the event are one transaction: two destructions cannot
        share the last place within a limit, and nothing begins to need the machine meanwhile.

        Args:
            request: who destroys it, and why.
            found: the machine at its provider.
            operation: the operation that destroys it.
            decide: returns why the machine is not destroyed.

        Raises:
            BadValueError: what it reads was changed by hand and is invalid.
        """
        with write(self._database, operation, DESTRUCTION_BEGUN) as w:
            refusal = _decided(w.session, found, w.at, decide)
            if refusal is None and not w.earlier:
                machine = w.session.get(MachineRow, found.key)
                w.log(
                    route_id=machine.route_id if machine else None,
                    machine_key=found.key,
                    detail={
                        "provider": found.provider,
                        "region": found.region,
                        "track": request.track,
                        "unreachable": request.unreachable,
                        "cause": request.reason,
                        "reason": request.text,
                        "provider_id": found.provider_id,
                        "address": found.address,
                        "created_by": found.created_by,
                    },
                )
            return refusal

    def check(self, found: MachineAtProvider, decide: Decide) -> Refusal | None:
        """Return why a machine would not be destroyed now, as `begin` does. Records nothing."""
        with self._database.reading() as session:
            return _decided(session, found, datetime.now(UTC), decide)

    def last_address(self, key: str) -> str | None:
        """Return the last known address of a machine; None if it never had one.

        One that is not on record has that of when its destruction began.
        """
        begun = (
            select(EventRow)
            .where(EventRow.kind == DESTRUCTION_BEGUN, EventRow.machine_key == key)
            .order_by(col(EventRow.event_id).desc())
            .limit(1)
        )
        with self._database.reading() as session:
            machine = session.get(MachineRow, key)
            if machine is not None and machine.address:
                return machine.address
            event = session.exec(begun).one_or_none()
        detail: Any = event.detail if event is not None else None
        address = detail.get("address") if isinstance(detail, dict) else None
        return address if isinstance(address, str) else None

    def record(
        self,
        key: str,
        operation: Operation,
        *,
        reason: str,
        cause: str | None = None,
        unreachable: bool = False,
        found: MachineAtProvider | None = None,
        absent: bool = False,
    ) -> None:
        """Record that a machine no longer exists at its provider.

        A route that it served has no machine then, and is `failed`.

        Args:
            key: the machine's; one that is already destroyed stays unchanged.
            operation: the operation that destroyed it.
            reason: for a person.
            cause: why it was destroyed, one of a closed list.
            unreachable: the machine could not be reached.
            found: as it was at its provider: one that is not on record is only logged.
            absent: it did not exist, so it does not count as destroyed.

        Raises:
            UnknownMachineError: it is not on record, and was not found.
        """
        with write(self._database, operation, MACHINE_DESTROYED) as w:
            if w.earlier:
                return
            machine = w.session.get(MachineRow, key)
            if machine is None and found is None:
                machine = require_machine(w.session, key)
            detail: dict[str, object] = {
                "unreachable": unreachable,
                "cause": cause,
                "reason": reason,
                "absent": absent,
            }
            if machine is None or machine.status == RecordStatus.DESTROYED:
                if found is not None:
                    detail |= {"provider": found.provider, "region": found.region, "track": None}
                    route_id = machine.route_id if machine else None
                    w.log(route_id=route_id, machine_key=key, detail=detail)
                return
            detail |= {"provider": machine.provider, "region": machine.region}
            _record_destroyed(w, machine, detail)

    def record_refusal(
        self, request: DestroyMachineInput, refusal: Refusal, operation: Operation
    ) -> None:
        """Record, once a day, that a machine is left to a person."""
        # Not once per activity: it may be refused for another reason when it is tried again.
        operation = replace(operation, activity_id="")
        with write(self._database, operation, DESTRUCTION_REFUSED) as w:
            known = w.session.exec(
                select(EventRow).where(
                    EventRow.kind == DESTRUCTION_REFUSED, EventRow.at > w.at - TELL_AGAIN_AFTER
                )
            )
            if any(
                (each.machine_key, each.detail.get("by")) == (request.key, refusal.by)
                for each in known
            ):
                return
            machine = w.session.get(MachineRow, request.key)
            refused = fault("machine-not-destroyed", refusal.why)
            w.log(
                route_id=machine.route_id if machine else None,
                machine_key=request.key,
                fault=refused.model_copy(update={"machine_key": request.key}),
                detail={"reason": request.reason, "by": refusal.by, "why": refusal.why},
            )

    def begin_removal(self, key: str, operation: Operation) -> None:
        """Record that a machine is destroyed next: no operation continues with it.

        A machine that serves a route, or that is in the pool, stays unchanged.

        Raises:
            UnknownMachineError: no machine was planned under this key.
        """
        with write(self._database, operation, REMOVAL_BEGUN) as w:
            machine = require_machine(w.session, key)
            serves = w.session.exec(
                select(RouteRow.route_id).where(RouteRow.machine_key == key)
            ).one_or_none()
            leaves = machine.status in (
                RecordStatus.PLANNED,
                RecordStatus.RUNNING,
                RecordStatus.KEPT,
            )
            if w.earlier or serves or not leaves or w.session.get(PoolMachineRow, key):
                return
            machine.status = RecordStatus.DRAINING
            w.session.add(machine)
            w.log(route_id=machine.route_id, machine_key=key)

    def list(self, since: datetime) -> list[Destruction]:
        """Return the destructions that began since an instant, one per machine.

        An invalid event is noted, and counts as one in an unknown region.
        """
        with self._database.reading() as session:
            return list(_destructions(session, since).values())


def _decided(
    session: Session, found: MachineAtProvider, now: datetime, decide: Decide
) -> Refusal | None:
    ahead = _ahead_of(session, found.key, now - HOUR)
    evidence = evidence_of(session, found, now)
    return decide(current_breaker(session), ahead, evidence, partial(records_of, session))


def _ahead_of(session: Session, key: str, since: datetime) -> list[Destruction]:
    begun = _destructions(session, since)
    return [begun[each] for each in takewhile(lambda other: other != key, begun)]


def _destructions(session: Session, since: datetime) -> Mapping[str, Destruction]:
    """Return the destructions by machine key, in the order in which they began."""
    events = session.exec(
        select(EventRow)
        .where(col(EventRow.kind).in_(_COUNTED), EventRow.at >= since)
        .order_by(col(EventRow.event_id))
    ).all()
    found: dict[str, Destruction] = {}
    now = datetime.now(UTC)
    for event in events:
        key = _destroyed_key(event)
        destruction = read_or_note(event, partial(_destruction, key=key))
        if key and key not in found and not _was_absent(event):
            if destruction is not None:
                was = min(not_later(session, event, now), now)
                destruction = destruction.model_copy(update={"at": was})
            found[key] = destruction or _unknown_destruction(event, key)
    return found


def _was_absent(event: EventRow) -> bool:
    detail: Any = event.detail
    return isinstance(detail, dict) and bool(detail.get("absent"))


def _destroyed_key(event: EventRow) -> str | None:
    """Return the key of the machine that an event destroys; None if it destroys none."""
    if event.kind != MACHINE_ATTACHED:
        return event.machine_key or f"that of event {event.event_id}"
    detail: Any = event.detail
    drained = detail.get("drained") if isinstance(detail, dict) else detail
    valid = isinstance(detail, dict) and isinstance(drained, str | None)
    return drained if valid else f"that of event {event.event_id}"


def _destruction(event: EventRow, key: str | None) -> Destruction:
    with validating(f"event {event.event_id}"):
        detail: Any = event.detail
        values = detail if isinstance(detail, dict) else {}
        return Destruction.model_validate({**values, "at": event.at, "key": key})


def _unknown_destruction(event: EventRow, key: str) -> Destruction:
    at = event.at if isinstance(event.at, datetime) else datetime.now(UTC)
    return Destruction(at=at, key=key, provider="unknown", region="unknown", unreachable=True)


def _record_destroyed(w: Write, machine: MachineRow, detail: dict[str, object]) -> None:
    mark_destroyed(machine, w.at)
    w.session.add(machine)
    if member := w.session.get(PoolMachineRow, machine.key):
        w.session.delete(member)
    route = w.session.get(RouteRow, machine.route_id) if machine.route_id else None
    route_fault = None
    if route is not None and route.machine_key == machine.key:
        text = f"machine {machine.key} is destroyed: {detail['reason']}"
        route_fault = fault("machine-failed", text)
        mark_faulted(w.session, route, route_fault)
    w.log(
        route_id=machine.route_id,
        machine_key=machine.key,
        fault=route_fault,
        detail={**detail, "track": route.track if route else None},
    )
