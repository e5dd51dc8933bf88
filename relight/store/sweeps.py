"""What a sweep reads from the store, and how it corrects the store."""

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import partial

from sqlmodel import Session, col, select

from relight.domain.fault.fault import Fault
from relight.domain.fault.table import fault
from relight.domain.machine import Machine, MachineOnRecord, RecordedAs
from relight.domain.names import RouteId, key_number
from relight.domain.pool.pool import PoolStatus, pool_machine_key
from relight.domain.route import RouteStatus
from relight.domain.sweep.planner import SweepView, numbered
from relight.domain.sweep.sweep import OpenOperation, ProviderListing
from relight.store.bad_rows import read_good, read_or_note
from relight.store.database import Database
from relight.store.errors import (
    UnknownRouteError,
    WrongMachineError,
)
from relight.store.events import Operation, Write, write
from relight.store.machines import last_machine, next_generation, plan_machine, record_observed
from relight.store.pool import add_to_pool
from relight.store.remediations import remediation_row, set_gone_since
from relight.store.route_faults import mark_faulted
from relight.store.rows import read_row, require_alive, require_machine, time_or_none
from relight.store.tables import (
    DisruptionRow,
    MachineRow,
    PoolMachineRow,
    RecordStatus,
    RolloutRow,
    RouteRemediationRow,
    RouteRow,
)

MACHINE_LOST = "machine-lost"
MACHINE_ADOPTED = "machine-adopted"


_BATCH_SIZE = 1000

_WITH_ROUTES = (
    select(MachineRow, RouteRow.route_id, RouteRemediationRow.gone_since, PoolMachineRow)
    .outerjoin(RouteRow, col(RouteRow.machine_key) == col(MachineRow.key))
    .outerjoin(RouteRemediationRow, col(RouteRemediationRow.route_id) == col(RouteRow.route_id))
    .outerjoin(PoolMachineRow, col(PoolMachineRow.key) == col(MachineRow.key))
)
"""The query for all machines, each with the route that it serves or its row in the pool."""


class Sweeps:
    """Every write is one transaction with its event. Retries of an activity write once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def machines(self, listed: Collection[str]) -> list[MachineOnRecord]:
        """Return the recorded machines that may exist, by key.

        Args:
            listed: the keys of machines that do exist. Their records are returned even if they are
                recorded as destroyed.

        An invalid one is noted and left out. It may exist: whoever sweeps leaves its key alone.
        """
        with self._database.reading() as session:
            return _machines(session, listed)

    def open_operations(self) -> list[OpenOperation]:
        """Return the open rollouts and the operations that have a route out.

        Invalid ones are noted and left out.
        """
        with self._database.reading() as session:
            rollouts = session.exec(
                select(RolloutRow)
                .where(col(RolloutRow.closed_at).is_(None))
                .order_by(col(RolloutRow.rollout_id))
            ).all()
            claims = session.exec(select(DisruptionRow).order_by(col(DisruptionRow.route_id))).all()
        return [*read_good(rollouts, _rollout), *read_good(claims, _claim)]

    def route_ids(self) -> frozenset[RouteId]:
        """Return the ids of all routes that are not retired."""
        with self._database.reading() as session:
            return _route_ids(session)

    def newest(self) -> Mapping[str, int]:
        """Return the highest number of all keys on record, by the key without its number."""
        with self._database.reading() as session:
            return _newest(session)

    def record_pool_gone_since(self, key: str, at: datetime | None) -> None:
        """Record since when a provider does not list a pool machine; None: it does.

        No event is written, since every reconcile run records this.
        """
        with self._database.writing() as session:
            row = session.get(PoolMachineRow, key)
            if row is not None and (at is None or row.gone_since is None):
                row.gone_since = at
                session.add(row)

    def mark_lost(self, key: str, operation: Operation) -> None:
        """Record that a machine is no longer at its provider, though nobody destroyed it.

        A route that it serves keeps it and is `faulted`: it is out, and counts as such, until its
        machine is replaced. A machine of the pool is faulted there. A destroyed one stays so.

        Raises:
            UnknownMachineError: no machine was planned under this key.
        """
        with write(self._database, operation, MACHINE_LOST) as w:
            if w.earlier:
                return
            machine = require_machine(w.session, key)
            if machine.status in (RecordStatus.DESTROYED, RecordStatus.LOST):
                return
            previous, machine.status = machine.status, RecordStatus.LOST
            w.session.add(machine)
            lost = fault("machine-failed", f"{machine.provider} has no machine {key}")
            lost = lost.model_copy(update={"machine_key": key})
            serves = _fault_route(w, machine, lost)
            member = w.session.get(PoolMachineRow, key)
            if member is not None and member.status != PoolStatus.LEAVING:
                member.status, member.since = PoolStatus.FAULTED, w.at
                w.session.add(member)
            w.log(
                route_id=machine.route_id,
                machine_key=key,
                fault=lost if serves else None,
                detail={"previous": previous, "serves": serves},
            )

    def adopt(self, machine: Machine, operation: Operation) -> None:
        """Record a machine that was found at its provider, as the machine that its key names.

        A route without a machine gets it, and is `faulted` until it is proven there. A machine of
        the pool is faulted there, so it is recycled: how far its preparation came is unknown.

        Raises:
            UnknownRouteError: its key names neither a recorded route nor a pool.
            WrongMachineError: it is recorded as destroyed, or with another provider id.
        """
        with write(self._database, operation, MACHINE_ADOPTED) as w:
            if w.earlier:
                return
            known = w.session.get(MachineRow, machine.key) is not None
            row = require_alive(w.session, machine.key) if known else _new_row(w, machine)
            if row.provider_id not in (None, machine.provider_id):
                raise WrongMachineError(
                    f"machine {row.key} is on record by the id {row.provider_id}, "
                    f"not {machine.provider_id}"
                )
            previous = row.status if known else None
            record_observed(row, machine)
            w.session.add(row)
            route_fault = _give_to_route(w, row)
            w.log(
                route_id=row.route_id,
                machine_key=row.key,
                fault=route_fault,
                detail={
                    "machine": machine.model_dump(mode="json"),
                    "previous": previous,
                    "given_to_route": route_fault is not None,
                },
            )


def records_of(session: Session, listing: ProviderListing) -> SweepView:
    """Return a listing with the records of it, whatever operations run."""
    return SweepView(
        listings=[listing],
        open_workflows=frozenset(),
        records=_machines(session, {each.key for each in listing.machines}),
        route_ids=_route_ids(session),
        newest=_newest(session),
    )


def on_record(session: Session, key: str) -> MachineOnRecord | None:
    """Return the record of one machine; None without one."""
    found = session.exec(_WITH_ROUTES.where(MachineRow.key == key)).one_or_none()
    return _machine(*found) if found else None


def _machines(session: Session, listed: Collection[str]) -> list[MachineOnRecord]:
    destroyed = MachineRow.status == RecordStatus.DESTROYED
    keys = sorted(listed)
    # In batches: databases limit the number of values in a query.
    batches = [keys[at : at + _BATCH_SIZE] for at in range(0, len(keys), _BATCH_SIZE)]
    found = [
        *session.exec(_WITH_ROUTES.where(MachineRow.status != RecordStatus.DESTROYED)),
        *(
            each
            for batch in batches
            for each in session.exec(_WITH_ROUTES.where(destroyed, col(MachineRow.key).in_(batch)))
        ),
    ]
    read = (
        read_or_note(row, partial(_machine, serves=serves, gone_since=gone_since, member=member))
        for row, serves, gone_since, member in found
    )
    machines = [machine for machine in read if machine is not None]
    return sorted(machines, key=lambda machine: machine.key)


def _route_ids(session: Session) -> frozenset[RouteId]:
    query = select(RouteRow.route_id).where(RouteRow.status != RouteStatus.RETIRED)
    return frozenset(session.exec(query))


def _newest(session: Session) -> Mapping[str, int]:
    newest: dict[str, int] = {}
    for key in session.exec(select(MachineRow.key)):
        stem, number = numbered(key)
        newest[stem] = max(number, newest.get(stem, 0))
    return newest


def _fault_route(w: Write, machine: MachineRow, lost: Fault) -> bool:
    """Record the loss of a machine at the route that it serves; return whether it serves one."""
    route = w.session.get(RouteRow, machine.route_id) if machine.route_id else None
    if route is None or route.machine_key != machine.key:
        return False
    mark_faulted(w.session, route, lost)
    row = remediation_row(w.session, route.route_id)
    set_gone_since(route, row, w.at)
    w.session.add(row)
    return True


def _new_row(w: Write, machine: Machine) -> MachineRow:
    """Return the row of an unrecorded machine, as one of the route or pool that its key names."""
    row = plan_machine(w, machine.key, machine.provider, machine.region)
    if pool_machine_key(machine.provider, machine.region, key_number(machine.key)) == machine.key:
        w.session.add(row)
        # First, since its row in the pool refers to it.
        w.session.flush()
        add_to_pool(w, machine.key, machine.provider, machine.region, PoolStatus.FAULTED)
        return row
    number = key_number(machine.key)
    route_id = machine.key.removesuffix(f"-g{number}")
    if route_id == machine.key or w.session.get(RouteRow, route_id) is None:
        raise UnknownRouteError(f"machine {machine.key} is of no route on record, and of no pool")
    following = next_generation(last_machine(w.session, route_id))
    # The route may have a machine of the pool as its machine of this generation.
    free = number >= following or not has_generation(w.session, route_id, number)
    row.route_id, row.generation = route_id, number if free else following
    return row


def has_generation(session: Session, route_id: str, generation: int) -> bool:
    """Return whether a route has a machine of this generation on record."""
    query = select(MachineRow.key).where(
        MachineRow.route_id == route_id, MachineRow.generation == generation
    )
    return session.exec(query).one_or_none() is not None


def _give_to_route(w: Write, machine: MachineRow) -> Fault | None:
    """Give a machine to its route if that has none; return the route's fault then."""
    route = w.session.get(RouteRow, machine.route_id) if machine.route_id else None
    if route is None:
        return None
    if route.status == RouteStatus.RETIRED:
        machine.status = RecordStatus.DRAINING
        return None
    if route.machine_key is not None:
        if route.machine_key == machine.key:
            row = remediation_row(w.session, route.route_id)
            set_gone_since(route, row, None)
            w.session.add(row)
        return None
    route.machine_key = machine.key
    terminated = fault(
        "terminated",
        f"an operation on route {route.route_id} ended without a result and left machine "
        f"{machine.key} behind",
    )
    terminated = terminated.model_copy(update={"machine_key": machine.key})
    w.session.flush()
    mark_faulted(w.session, route, terminated)
    return terminated


def _rollout(row: RolloutRow) -> OpenOperation:
    return read_row(OpenOperation, row, f"operation {row.workflow_id}")


def _claim(row: DisruptionRow) -> OpenOperation:
    return read_row(OpenOperation, row, f"operation {row.workflow_id}", opened_at=row.taken_at)


def _machine(
    row: MachineRow,
    serves: str | None,
    gone_since: datetime | None,
    member: PoolMachineRow | None,
) -> MachineOnRecord:
    draining, kept = (row.status == each for each in (RecordStatus.DRAINING, RecordStatus.KEPT))
    return read_row(
        MachineOnRecord,
        row,
        f"machine {row.key}",
        generation=key_number(row.key),
        recorded_as=RecordedAs.RUNNING if draining or kept else row.status,
        recorded_at=row.created_at,
        serves=serves is not None,
        draining=draining,
        kept=kept,
        in_pool=member is not None,
        gone_since=time_or_none(gone_since if member is None else member.gone_since),
    )
