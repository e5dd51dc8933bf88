"""Machines: every key that was ever chosen, and what became of it."""

from datetime import datetime
from enum import StrEnum

from sqlmodel import Session, col, select

from relight.domain.base import Message
from relight.domain.machine import Machine
from relight.domain.names import RouteId
from relight.store.database import Database
from relight.store.errors import UnknownMachineError, WrongMachineError
from relight.store.rows import machine_of, naming
from relight.store.tables import MachineRow
from relight.store.write import Write


class RecordStatus(StrEnum):
    """What is on record of a machine.

    `planned` may or may not exist at its provider; `running` was seen there; `draining` was, and
    is to be destroyed, since another serves its route; `lost` was no longer there; `destroyed` is
    known not to exist there.
    """

    PLANNED = "planned"
    RUNNING = "running"
    DRAINING = "draining"
    LOST = "lost"
    DESTROYED = "destroyed"


class MachineRecord(Message):
    """A machine on record.

    Attributes:
        route_id: the route that it was made for or given to, None while it is the pool's.
        generation: the route's how-manieth machine it is, from 1; None while it is the pool's.
        provider_id: None while it is only planned.
        created_at: when its key was chosen, UTC.
        destroyed_at: when it was known to be gone, UTC.
    """

    key: str
    route_id: RouteId | None
    generation: int | None
    provider: str
    provider_id: str | None
    region: str
    architecture: str | None
    address: str | None
    status: RecordStatus
    user_data_sha256: str | None
    created_at: datetime
    destroyed_at: datetime | None


class Machines:
    """Written by what happens to routes; read here."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> MachineRecord | None:
        """Return what is on record of a machine, None where nothing is.

        Raises:
            BadValueError: it was changed by hand and is not of its shape.
        """
        with self._database.reading() as session:
            row = session.get(MachineRow, key)
            return record_of(row) if row else None

    def seen(self, key: str) -> Machine | None:
        """Return a machine as it was seen last, None where nobody saw it, or it is destroyed.

        Raises:
            BadValueError: it was changed by hand and is not of its shape.
        """
        with self._database.reading() as session:
            row = session.get(MachineRow, key)
            if row is None or row.provider_id is None or row.status == RecordStatus.DESTROYED:
                return None
            return machine_of(row)

    def list(self, route_id: str | None = None) -> list[MachineRecord]:
        """Return the machines of a route, or all, by route and generation; the pool's come first.

        Raises:
            BadValueError: one was changed by hand and is not of its shape.
        """
        query = select(MachineRow)
        if route_id is not None:
            query = query.where(MachineRow.route_id == route_id)
        with self._database.reading() as session:
            records = [record_of(row) for row in session.exec(query)]
        return sorted(
            records, key=lambda record: (record.route_id or "", record.generation or 0, record.key)
        )


def require_alive(session: Session, key: str) -> MachineRow:
    """Return the row of a machine that is not known to be gone.

    An attempt that was believed dead may still write after its operation was undone: it must
    not bring a machine back to life.

    Raises:
        UnknownMachineError: nobody planned it.
        WrongMachineError: it is destroyed.
    """
    row = session.get(MachineRow, key)
    if row is None:
        raise UnknownMachineError(f"no machine was ever planned under the key {key}")
    if row.status == RecordStatus.DESTROYED:
        raise WrongMachineError(f"machine {key} is destroyed: nothing more can be said of it")
    return row


def last_machine(session: Session, route_id: str) -> MachineRow | None:
    """Return the row of a route's newest machine, None where it never had one."""
    return session.exec(
        select(MachineRow)
        .where(MachineRow.route_id == route_id)
        .order_by(col(MachineRow.generation).desc())
        .limit(1)
    ).one_or_none()


def next_generation(last: MachineRow | None) -> int:
    """Return the generation that follows a route's newest machine."""
    return (last.generation or 0) + 1 if last else 1


def plan_machine(w: Write, key: str, provider: str, region: str) -> MachineRow:
    """Return the row of a machine that is to be."""
    return MachineRow(
        key=key,
        provider=provider,
        region=region,
        status=RecordStatus.PLANNED,
        created_at=w.at,
        planned_run_id=w.operation.run_id,
        held_run_id=w.operation.run_id,
    )


def mark_destroyed(row: MachineRow, at: datetime) -> None:
    """Write down that a machine is known to be gone."""
    if row.status != RecordStatus.DESTROYED:
        row.status = RecordStatus.DESTROYED
        row.destroyed_at = at


def describe(row: MachineRow, machine: Machine) -> None:
    """Write down what a provider said of a machine that runs; one that drains still does."""
    row.provider = machine.provider
    row.provider_id = machine.provider_id
    row.region = machine.region
    row.architecture = machine.architecture
    row.address = machine.address
    if row.status != RecordStatus.DRAINING:
        row.status = RecordStatus.RUNNING


def record_of(row: MachineRow) -> MachineRecord:
    """Return what is on record of a machine."""
    with naming(f"machine {row.key}"):
        return MachineRecord.model_validate(row.model_dump())
