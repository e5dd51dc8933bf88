"""Machines that a person keeps: automation leaves them, until a person has them removed."""

from datetime import datetime
from typing import NamedTuple

from sqlmodel import Session, col, select

from relight.domain.pool.pool import PoolStatus
from relight.store.database import Database
from relight.store.destruction_evidence import MACHINE_KEPT
from relight.store.destructions import DESTRUCTION_BEGUN
from relight.store.events import Operation, write
from relight.store.tables import EventRow, MachineRow, PoolMachineRow, RecordStatus, RouteRow


class Kept(NamedTuple):
    """A machine that a person keeps, or the reason why not.

    Attributes:
        refusal: why nothing was changed; None if it is kept.
        route_id: the route that it serves; None if it serves none.
        begun_at: when its destruction began, which may not have ended; None if none has begun.
    """

    refusal: str | None = None
    route_id: str | None = None
    begun_at: datetime | None = None


class KeptMachines:
    """The gate before destructions refuses a machine from the moment in which it is kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, key: str, operation: Operation, *, is_removed: bool) -> Kept:
        """Record that a person keeps a machine. Whoever asked for its end before has no say now.

        One that serves its route goes on as it was. Another one leaves its pool, is continued with
        by no operation, and stands in nobody's way.

        Args:
            key: the machine's.
            operation: who keeps it, and why.
            is_removed: its removal runs.
        """
        with write(self._database, operation, MACHINE_KEPT) as w:
            machine = w.session.get(MachineRow, key)
            member = w.session.get(PoolMachineRow, key)
            serves = w.session.exec(
                select(RouteRow.route_id).where(RouteRow.machine_key == key)
            ).one_or_none()
            refusal = _refusal(machine, member, serves, key, is_removed=is_removed)
            if refusal is not None:
                return Kept(refusal)
            known = _last(w.session, key, MACHINE_KEPT)
            since = known.event_id or 0 if known is not None else 0
            begun = _last(w.session, key, DESTRUCTION_BEGUN, after=since)
            if machine is not None and machine.status == RecordStatus.KEPT and begun is None:
                return Kept()
            if member is not None:
                w.session.delete(member)
            if machine is not None and not serves and machine.status != RecordStatus.LOST:
                machine.status = RecordStatus.KEPT
                w.session.add(machine)
            w.log(route_id=machine.route_id if machine else None, machine_key=key)
            return Kept(route_id=serves, begun_at=begun.at if begun else None)


def _refusal(
    machine: MachineRow | None,
    member: PoolMachineRow | None,
    serves: str | None,
    key: str,
    *,
    is_removed: bool,
) -> str | None:
    if machine is not None and machine.status == RecordStatus.DESTROYED:
        at = f" since {machine.destroyed_at:%Y-%m-%d %H:%M:%S} UTC" if machine.destroyed_at else ""
        return f"too late: machine {key} is destroyed{at}"
    if is_removed:
        return None
    if machine is None:
        return f"machine {key} is not on record, and no removal of it runs"
    if serves:
        return f"machine {key} serves route {serves}, and no removal of it runs"
    if member is not None and member.status != PoolStatus.LEAVING:
        pool = f"{member.provider}/{member.region}"
        return f"machine {key} is in the pool of {pool}, and no removal of it runs"
    return None


def _last(session: Session, key: str, kind: str, after: int = 0) -> EventRow | None:
    query = select(EventRow).where(
        EventRow.kind == kind, EventRow.machine_key == key, col(EventRow.event_id) > after
    )
    return session.exec(query.order_by(col(EventRow.event_id).desc()).limit(1)).one_or_none()
