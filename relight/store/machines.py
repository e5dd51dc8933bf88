"""Machines: every key that was ever planned, and its state."""

import builtins
from collections import defaultdict
from collections.abc import Mapping, Set
from datetime import datetime

from sqlmodel import Session, col, func, select

from relight.domain.base import Message
from relight.domain.image.image import ImageName
from relight.domain.machine import Machine
from relight.domain.names import RouteId
from relight.store.bad_rows import read_good
from relight.store.database import Database
from relight.store.events import Write
from relight.store.rows import Columns, machine_of, read_row
from relight.store.tables import MachineRow, RecordStatus, RouteRow


class MachineRecord(Message):
    """A recorded machine.

    Attributes:
        route_id: the route that it belongs to, None while it is in the pool.
        generation: its 1-based sequence number within the route; None while it is in the pool.
        provider_id: None while it is only planned.
        created_at: when its key was planned, UTC.
        destroyed_at: when it was known to be destroyed, UTC.
        image_name, image_id: what it was made of; None: what the settings said of its location.
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
    image_name: str | None = None
    image_id: str | None = None


class Machines:
    """Read access. Machines are written by the operations on routes and the pool."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> MachineRecord | None:
        """Return the record of a machine, None if there is none.

        Raises:
            BadValueError: a value was changed by hand and is invalid.
        """
        with self._database.reading() as session:
            row = session.get(MachineRow, key)
            return record_of(row) if row else None

    def last_observed(self, key: str) -> Machine | None:
        """Return a machine as last observed, None if it never was, or is destroyed.

        Raises:
            BadValueError: a value was changed by hand and is invalid.
        """
        with self._database.reading() as session:
            row = session.get(MachineRow, key)
            if row is None or row.provider_id is None or row.status == RecordStatus.DESTROYED:
                return None
            return machine_of(row)

    def routes_of_image(self, image_name: ImageName) -> Set[RouteId]:
        """Return the routes that machines of an image serve."""
        query = (
            select(RouteRow.route_id)
            .join(MachineRow, col(MachineRow.key) == col(RouteRow.machine_key))
            .where(MachineRow.image_name == image_name)
        )
        with self._database.reading() as session:
            return {*session.exec(query)}

    def image_ids(self) -> Mapping[tuple[str, str], Set[str]]:
        """Return the ids of the images of machines that may exist, by provider and region."""
        query = (
            select(MachineRow.provider, MachineRow.region, MachineRow.image_id)
            .where(MachineRow.status != RecordStatus.DESTROYED)
            .distinct()
        )
        found = defaultdict[tuple[str, str], set[str]](set)
        with self._database.reading() as session:
            for provider, region, image_id in session.exec(query):
                found[provider, region] |= {image_id} if image_id is not None else set()
        return found

    def count_by_image(self) -> Mapping[ImageName, int]:
        """Return how many machines that may exist are made of each published image."""
        query = (
            select(MachineRow.image_name, func.count())
            .where(MachineRow.status != RecordStatus.DESTROYED)
            .group_by(col(MachineRow.image_name))
        )
        with self._database.reading() as session:
            return {name: count for name, count in session.exec(query) if name is not None}

    def without_image(self, provider: str, region: str) -> builtins.list[str]:
        """Return the provider's ids of machines that may exist, and whose image is not on record.

        Args:
            provider: the driver's name.
            region: of that provider.
        """
        query = select(MachineRow.provider_id).where(
            MachineRow.provider == provider,
            MachineRow.region == region,
            MachineRow.status != RecordStatus.DESTROYED,
            col(MachineRow.image_id).is_(None),
            col(MachineRow.provider_id).is_not(None),
        )
        with self._database.reading() as session:
            return [each for each in session.exec(query) if each is not None]

    def list(self, route_id: str | None = None) -> list[MachineRecord]:
        """Return the machines of a route, or all, by route and generation; pool machines first.

        Invalid ones are noted and left out.
        """
        query = select(MachineRow)
        if route_id is not None:
            query = query.where(MachineRow.route_id == route_id)
        with self._database.reading() as session:
            records = read_good(session.exec(query), record_of)
        return sorted(
            records, key=lambda record: (record.route_id or "", record.generation or 0, record.key)
        )


def last_machine(session: Session, route_id: str) -> MachineRow | None:
    """Return the row of a route's newest machine, None if it never had one."""
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
    """Return the row of a planned machine, which the caller adds."""
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
    """Record that a machine is known not to exist."""
    if row.status != RecordStatus.DESTROYED:
        row.status = RecordStatus.DESTROYED
        row.destroyed_at = at


def record_observed(row: MachineRow, machine: Machine) -> None:
    """Record what a provider reports of a running machine. A draining or kept one stays so."""
    row.sqlmodel_update({**observed(row.status, machine)})


def observed(status: str, machine: Machine) -> Columns:
    """Return the columns that record what a provider reports of a running machine.

    Args:
        status: as recorded until now.
        machine: as it was observed.
    """
    stays = status in (RecordStatus.DRAINING, RecordStatus.KEPT)
    return {
        **machine.model_dump(
            include={"provider", "provider_id", "region", "architecture", "address"}
        ),
        "status": status if stays else RecordStatus.RUNNING,
    }


def record_of(row: MachineRow) -> MachineRecord:
    """Return a row's record."""
    return read_row(MachineRecord, row, f"machine {row.key}")
