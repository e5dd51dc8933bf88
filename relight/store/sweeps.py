"""What a sweep reads of the record, and how it puts the record right."""

from typing import Any

from sqlmodel import Session, col, select

from relight.domain.fault.fault import Fault
from relight.domain.fault.table import fault
from relight.domain.machine import Machine
from relight.domain.names import RouteId, key_number
from relight.domain.pool.pool import PoolStatus, pool_machine_key
from relight.domain.sweep.sweep import (
    MachineOnRecord,
    OpenOperation,
    RecordedAs,
)
from relight.store.database import Database
from relight.store.errors import (
    UnknownMachineError,
    UnknownRouteError,
    WrongMachineError,
)
from relight.store.machines import (
    RecordStatus,
    describe,
    last_machine,
    next_generation,
    plan_machine,
    require_alive,
)
from relight.store.pool import add_to_pool
from relight.store.remediations import remediation_row, set_gone
from relight.store.route_faults import settle
from relight.store.rows import naming
from relight.store.tables import (
    DisruptionRow,
    MachineRow,
    PoolMachineRow,
    RolloutRow,
    RouteRow,
)
from relight.store.write import Operation, Write, write

MACHINE_LOST = "machine-lost"
MACHINE_ADOPTED = "machine-adopted"


class Sweeping:
    """Every write is one transaction with its event, and an activity's retry writes once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def on_record(self) -> list[MachineOnRecord]:
        """Return every machine on record, those that were destroyed too, by key.

        Raises:
            BadValueError: one was changed by hand and is not of its shape.
        """
        query = (
            select(MachineRow, RouteRow.route_id)
            .outerjoin(RouteRow, col(RouteRow.machine_key) == col(MachineRow.key))
            .order_by(col(MachineRow.key))
        )
        with self._database.reading() as session:
            return [
                _on_record(row, serves=route_id is not None)
                for row, route_id in session.exec(query)
            ]

    def operations(self) -> list[OpenOperation]:
        """Return what is under way by our record: the open rollouts, and the routes that are held.

        Raises:
            BadValueError: one was changed by hand and is not of its shape.
        """
        with self._database.reading() as session:
            rollouts = session.exec(
                select(RolloutRow)
                .where(col(RolloutRow.closed_at).is_(None))
                .order_by(col(RolloutRow.rollout_id))
            ).all()
            held = session.exec(select(DisruptionRow).order_by(col(DisruptionRow.route_id))).all()
        return [
            *(_operation(row.model_dump()) for row in rollouts),
            *(_operation({**row.model_dump(), "opened_at": row.taken_at}) for row in held),
        ]

    def route_ids(self) -> frozenset[RouteId]:
        """Return every route on record."""
        with self._database.reading() as session:
            return frozenset(session.exec(select(RouteRow.route_id)))

    def mark_lost(self, key: str, operation: Operation) -> None:
        """Write down that a machine is not there, though our record said so.

        A route that it serves keeps it on record and is `faulted`: it is out, and counts as such,
        until it is replaced. One of the pool is faulted there. One that is destroyed stays so.

        Raises:
            UnknownMachineError: no machine was ever planned under this key.
        """
        with write(self._database, operation, MACHINE_LOST) as w:
            if w.earlier:
                return
            machine = w.session.get(MachineRow, key)
            if machine is None:
                raise UnknownMachineError(f"no machine was ever planned under the key {key}")
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
        """Write a machine down as what its key says; it was seen at its provider.

        A route that has no machine is given it, and is `faulted` until it is proven there. One of
        the pool is faulted there, since nobody knows how far it had come: it is recycled.

        Raises:
            UnknownRouteError: its key names no route that is there, and no pool.
            WrongMachineError: it is on record as destroyed.
        """
        with write(self._database, operation, MACHINE_ADOPTED) as w:
            if w.earlier:
                return
            known = w.session.get(MachineRow, machine.key) is not None
            row = require_alive(w.session, machine.key) if known else _new_record(w, machine)
            if row.provider_id not in (None, machine.provider_id):
                raise WrongMachineError(
                    f"machine {row.key} is on record by the id {row.provider_id}, "
                    f"not {machine.provider_id}"
                )
            previous = row.status if known else None
            describe(row, machine)
            w.session.add(row)
            given = _give(w, row)
            w.log(
                route_id=row.route_id,
                machine_key=row.key,
                fault=given,
                detail={
                    "machine": machine.model_dump(mode="json"),
                    "previous": previous,
                    "given_to_route": given is not None,
                },
            )


def _fault_route(w: Write, machine: MachineRow, lost: Fault) -> bool:
    """Write the loss of a machine down with the route that it serves; say whether it does."""
    route = w.session.get(RouteRow, machine.route_id) if machine.route_id else None
    if route is None or route.machine_key != machine.key:
        return False
    settle(w.session, route, lost)
    remediations = remediation_row(w.session, route.route_id)
    set_gone(route, remediations, w.at)
    w.session.add(remediations)
    return True


def _new_record(w: Write, machine: Machine) -> MachineRow:
    """Return the row of a machine that is not on record, of the route or pool of its key."""
    row = plan_machine(w, machine.key, machine.provider, machine.region)
    if pool_machine_key(machine.provider, machine.region, key_number(machine.key)) == machine.key:
        w.session.add(row)
        # Its row in the pool refers to it: it comes first.
        w.session.flush()
        add_to_pool(w, machine.key, machine.provider, machine.region, PoolStatus.FAULTED)
        return row
    number = key_number(machine.key)
    made_for = machine.key.removesuffix(f"-g{number}")
    if made_for == machine.key or w.session.get(RouteRow, made_for) is None:
        raise UnknownRouteError(f"machine {machine.key} is of no route on record, and of no pool")
    following = next_generation(last_machine(w.session, made_for))
    # A machine of the pool may be the route's machine of this number.
    free = number >= following or not _has_generation(w.session, made_for, number)
    row.route_id, row.generation = made_for, number if free else following
    return row


def _has_generation(session: Session, route_id: str, generation: int) -> bool:
    query = select(MachineRow.key).where(
        MachineRow.route_id == route_id, MachineRow.generation == generation
    )
    return session.exec(query).one_or_none() is not None


def _give(w: Write, machine: MachineRow) -> Fault | None:
    """Give a machine to its route if that has none; return what the route is faulted by then."""
    route = w.session.get(RouteRow, machine.route_id) if machine.route_id else None
    if route is None:
        return None
    if route.machine_key is not None:
        if route.machine_key == machine.key:
            remediations = remediation_row(w.session, route.route_id)
            set_gone(route, remediations, None)
            w.session.add(remediations)
        return None
    route.machine_key = machine.key
    terminated = fault(
        "terminated",
        f"an operation on route {route.route_id} ended without a word, and left machine "
        f"{machine.key} behind",
    )
    terminated = terminated.model_copy(update={"machine_key": machine.key})
    w.session.flush()
    settle(w.session, route, terminated)
    return terminated


def _on_record(row: MachineRow, *, serves: bool) -> MachineOnRecord:
    recorded_as = RecordedAs.RUNNING if row.status == RecordStatus.DRAINING else row.status
    with naming(f"machine {row.key}"):
        return MachineOnRecord.model_validate(
            {
                **row.model_dump(),
                "generation": key_number(row.key),
                "recorded_as": recorded_as,
                "recorded_at": row.created_at,
                "serves": serves,
            }
        )


def _operation(fields: dict[str, Any]) -> OpenOperation:
    with naming(f"operation {fields['workflow_id']}"):
        return OpenOperation.model_validate(fields)
