"""Machines: every key that was ever chosen, and what became of it."""

from datetime import datetime
from enum import StrEnum

from sqlmodel import Session, select

from fleet.checking import naming
from fleet.database import Database
from fleet.errors import UnknownMachineError, WrongMachineError
from fleet.tables import MachineRow
from messages.base import Message
from messages.machine import Machine, MachineStatus
from messages.names import RouteId


class RecordStatus(StrEnum):
    """What is on record of a machine.

    `planned` may or may not exist at its provider; `running` was seen there; `destroyed` is
    known not to exist there.
    """

    PLANNED = "planned"
    RUNNING = "running"
    DESTROYED = "destroyed"


class MachineRecord(Message):
    """A machine on record.

    Attributes:
        generation: the route's how-manieth machine it is, from 1.
        provider_id: None while it is only planned.
        created_at: when its key was chosen, UTC.
        destroyed_at: when it was known to be gone, UTC.
    """

    key: str
    route_id: RouteId
    generation: int
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

    def list(self, route_id: str | None = None) -> list[MachineRecord]:
        """Return the machines of a route, or all, by route and generation.

        Raises:
            BadValueError: one was changed by hand and is not of its shape.
        """
        query = select(MachineRow)
        if route_id is not None:
            query = query.where(MachineRow.route_id == route_id)
        with self._database.reading() as session:
            records = [_record(row) for row in session.exec(query)]
        return sorted(records, key=lambda record: (record.route_id, record.generation))


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


def describe(row: MachineRow, machine: Machine) -> None:
    """Write down what a provider said of a machine that runs."""
    row.provider = machine.provider
    row.provider_id = machine.provider_id
    row.region = machine.region
    row.architecture = machine.architecture
    row.address = machine.address
    row.status = RecordStatus.RUNNING


def machine_of(row: MachineRow) -> Machine:
    """Return the machine that serves a route."""
    with naming(f"machine {row.key}"):
        return Machine.model_validate({**row.model_dump(), "status": MachineStatus.RUNNING})


def _record(row: MachineRow) -> MachineRecord:
    with naming(f"machine {row.key}"):
        return MachineRecord.model_validate(row.model_dump())
