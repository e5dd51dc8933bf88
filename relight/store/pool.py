"""The pool: machines that are ready before a route needs them.

Claiming a machine, removing it and preparing it for another release are each one transaction, so
of two concurrent requests for a machine one is refused.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from pydantic import AwareDatetime
from sqlmodel import Session, col, select

from relight.domain.base import Message
from relight.domain.fault.fault import BUDGETED_CLASSES, Fault
from relight.domain.machine import Machine
from relight.domain.names import ReleaseTag
from relight.domain.pool.pool import (
    PoolMachine,
    PoolStatus,
    pool_machine_key,
)
from relight.domain.proof import Proof
from relight.store.bad_rows import read_or_note
from relight.store.database import Database
from relight.store.errors import WrongMachineError
from relight.store.events import Operation, Write, write
from relight.store.machines import last_machine, next_generation, plan_machine, record_observed
from relight.store.pool_faults import POOL_MACHINE_FAULTED, POOL_MACHINE_READY, faults_of
from relight.store.pool_sizes import forget_tries
from relight.store.replacements import (
    is_left_over,
    require_lock,
    was_created_for_route,
)
from relight.store.rows import (
    machine_of,
    read_row,
    require_alive,
    require_machine,
    time_or_none,
    validating,
)
from relight.store.tables import (
    EventRow,
    LivenessRow,
    MachineRow,
    PoolMachineRow,
    PoolSizeRow,
    RecordStatus,
    RouteRow,
)

POOL_MACHINE_PLANNED = "pool-machine-planned"
POOL_MACHINE_PREPARING = "pool-machine-preparing"
POOL_MACHINE_LEAVING = "pool-machine-leaving"
POOL_MACHINE_CLAIMED = "pool-machine-claimed"
POOL_MACHINE_RETURNED = "pool-machine-returned"

ChooseMachines = Callable[[Sequence[PoolMachine], ReleaseTag, str | None], Sequence[str]]
"""Returns the keys of the machines that a route may get, best first (as `claimable` does)."""


class PoolClaim(Message):
    """A machine that a route has claimed from the pool; it keeps its key.

    Attributes:
        generation: its 1-based sequence number within the route.
        release_tag: the release that it was last proven to run.
        proven_at: when that was.
    """

    machine: Machine
    generation: int
    release_tag: ReleaseTag | None = None
    proven_at: AwareDatetime | None = None


class Pool:
    """Every write is one transaction with its event. Retries of an activity write once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def plan(
        self, provider: str, region: str, release_tag: ReleaseTag, operation: Operation
    ) -> str:
        """Record the key of a further machine before it is created, and return it.

        The created machine is recorded by `Routes.record_machine`, as for any other key.
        """
        with write(self._database, operation, POOL_MACHINE_PLANNED) as w:
            if w.earlier:
                return str(w.earlier.machine_key)
            key = pool_machine_key(provider, region, _next_number(w.session, provider, region))
            w.session.add(plan_machine(w, key, provider, region))
            # First, since its row in the pool refers to it.
            w.session.flush()
            add_to_pool(w, key, provider, region, PoolStatus.PREPARING)
            w.log(
                machine_key=key,
                release_tag=release_tag,
                detail={"provider": provider, "region": region},
            )
            return key

    def following(self, provider: str, region: str) -> str:
        """Return the key that `plan` would return. Nothing is written."""
        with self._database.reading() as session:
            return pool_machine_key(provider, region, _next_number(session, provider, region))

    def mark_preparing(self, key: str, operation: Operation) -> bool:
        """Let no route claim a machine while it is swapped to another release.

        Return whether this was possible: a route may have claimed it, or it leaves the pool.
        """
        return self._move(key, PoolStatus.PREPARING, POOL_MACHINE_PREPARING, operation)

    def mark_leaving(self, key: str, operation: Operation) -> bool:
        """Remove a machine from the pool, so that it can be destroyed.

        Return whether this was possible: a route may have claimed it.
        """
        return self._move(key, PoolStatus.LEAVING, POOL_MACHINE_LEAVING, operation)

    def record_ready(self, key: str, machine: Machine, proof: Proof, operation: Operation) -> None:
        """Record that a machine was proven and may be claimed.

        Raises:
            UnknownMachineError: no machine was planned under this key.
            WrongMachineError: it is destroyed or leaves the pool, or a route has claimed it.
        """
        with write(self._database, operation, POOL_MACHINE_READY) as w:
            if w.earlier:
                return
            record = require_alive(w.session, key)
            row = w.session.get(PoolMachineRow, key)
            if row is None or row.status == PoolStatus.LEAVING:
                reason = (
                    f"route {record.route_id} has claimed it"
                    if row is None
                    else "it leaves the pool"
                )
                raise WrongMachineError(f"machine {key} cannot become ready: {reason}")
            record_observed(record, machine)
            if row.status != PoolStatus.READY:
                row.status, row.since = PoolStatus.READY, w.at
                pool = w.session.get(PoolSizeRow, (row.provider, row.region))
                forget_tries(pool, proof.release_tag)
            row.release_tag, row.proven_at = proof.release_tag, proof.observed_at
            w.session.add_all([record, row])
            w.log(
                machine_key=key,
                release_tag=proof.release_tag,
                detail={"proof": proof.model_dump(mode="json")},
            )

    def record_fault(self, key: str, fault: Fault, operation: Operation) -> None:
        """Record why a machine could not be made ready, or which fault was observed on it.

        A machine that a route has claimed, or that leaves the pool, stays unchanged. So does a
        ready one if neither it nor its release is to blame: it was not observed.

        Raises:
            UnknownMachineError: no machine was planned under this key.
        """
        with write(self._database, operation, POOL_MACHINE_FAULTED) as w:
            if w.earlier:
                return
            require_machine(w.session, key)
            row = w.session.get(PoolMachineRow, key)
            unchanged = {PoolStatus.LEAVING, PoolStatus.FAULTED}
            if fault.fault_class not in BUDGETED_CLASSES:
                unchanged.add(PoolStatus.READY)
            if row is not None and row.status not in unchanged:
                row.status, row.since = PoolStatus.FAULTED, w.at
                w.session.add(row)
            w.log(machine_key=key, fault=fault, detail={"fault": fault.model_dump(mode="json")})

    def claim(
        self,
        route_id: str,
        release_tag: ReleaseTag,
        operation: Operation,
        choose: ChooseMachines,
        architecture: str | None = None,
    ) -> PoolClaim | None:
        """Claim a machine of a region's pool as the route's next generation; None if there is none.

        A machine that an earlier run claimed and left behind is returned again. Where an earlier
        run left a machine that was created for the route, None is returned: `Replacements.plan`
        returns that machine.

        Args:
            route_id: the route.
            release_tag: its target release.
            operation: has to have the route's lock.
            choose: returns the machines that the route may get, best first.
            architecture: the required one, None for any.

        Raises:
            UnknownRouteError: there is no such route.
            RouteOccupiedError: the operation does not have the route's lock.
        """
        with write(self._database, operation, POOL_MACHINE_CLAIMED) as w:
            if w.earlier:
                return PoolClaim.model_validate(w.earlier.detail["claim"])
            route = require_lock(w, route_id)
            last = last_machine(w.session, route_id)
            claimed: MachineRow | None
            tag, proven_at = None, None
            if last is not None and is_left_over(last, route):
                if was_created_for_route(last) or last.status != RecordStatus.RUNNING:
                    return None
                claimed = last
            else:
                keys = choose(
                    _members(w.session, route.provider, route.region), release_tag, architecture
                )
                taken = _take(w.session, keys)
                if taken is None:
                    return None
                claimed, tag, proven_at = taken
                claimed.route_id, claimed.generation = route_id, next_generation(last)
            taken_up = claimed is last
            claimed.held_run_id = operation.run_id
            w.session.add(claimed)
            with validating(f"machine {claimed.key}"):
                claim = PoolClaim.model_validate(
                    {
                        "machine": machine_of(claimed),
                        "generation": claimed.generation,
                        "release_tag": tag,
                        "proven_at": proven_at,
                    }
                )
            w.log(
                route_id=route_id,
                machine_key=claimed.key,
                release_tag=release_tag,
                detail={"claim": claim.model_dump(mode="json"), "taken_up": taken_up},
            )
            return claim

    def return_machine(self, route_id: str, fault: Fault, operation: Operation) -> str | None:
        """Return a machine that the operation claimed to the pool; return its key, None if none.

        It is faulted there: the machine may be what went wrong. It keeps what it was proven to run
        before the claim. A machine that serves the route, or that was created for it, stays with
        the route.
        """
        with write(self._database, operation, POOL_MACHINE_RETURNED) as w:
            if w.earlier:
                return w.earlier.machine_key
            route, last = w.session.get(RouteRow, route_id), last_machine(w.session, route_id)
            if route is None or last is None or not is_left_over(last, route):
                return None
            if was_created_for_route(last) or last.held_run_id != operation.run_id:
                return None
            generation = last.generation
            last.route_id = last.generation = None
            w.session.add(last)
            row = add_to_pool(w, last.key, last.provider, last.region, PoolStatus.FAULTED)
            row.release_tag, row.proven_at = _before_claim(w.session, last.key)
            w.log(kind=POOL_MACHINE_FAULTED, machine_key=last.key, fault=fault)
            w.log(
                route_id=route_id,
                machine_key=last.key,
                detail={"generation": generation, "fault": fault.model_dump(mode="json")},
            )
            return last.key

    def list(self, provider: str | None = None, region: str | None = None) -> list[PoolMachine]:
        """Return the machines of a provider's or region's pools, or all, oldest first.

        Invalid ones are noted and left out.
        """
        with self._database.reading() as session:
            members = _members(session, provider, region)
            faults = faults_of(session, {member.key for member in members})
            return [
                member.model_copy(update={"faults": tuple(faults[member.key])})
                for member in members
            ]

    def _move(self, key: str, status: PoolStatus, kind: str, operation: Operation) -> bool:
        """Change a machine's status, unless it leaves the pool; return whether it has it now."""
        with write(self._database, operation, kind) as w:
            if w.earlier:
                return True
            row = w.session.get(PoolMachineRow, key)
            if row is None or PoolStatus.LEAVING == row.status != status:
                return False
            if row.status != status:
                row.status, row.since = status, w.at
                w.session.add(row)
            w.log(machine_key=key)
            return True


def add_to_pool(
    w: Write, key: str, provider: str, region: str, status: PoolStatus
) -> PoolMachineRow:
    """Add a machine to the pool, and return its row."""
    row = PoolMachineRow(
        key=key, provider=provider, region=region, status=status, since=w.at, created_at=w.at
    )
    w.session.add(row)
    return row


def _next_number(session: Session, provider: str, region: str) -> int:
    """Return a number that no machine of the pool has ever had: records of keys are kept."""
    prefix = pool_machine_key(provider, region, 0)[:-1]
    keys = session.exec(
        select(MachineRow.key).where(col(MachineRow.key).startswith(prefix, autoescape=True))
    )
    ends = (key.removeprefix(prefix) for key in keys)
    return max((int(end) for end in ends if end.isascii() and end.isdigit()), default=0) + 1


def _members(session: Session, provider: str | None, region: str | None) -> list[PoolMachine]:
    query = (
        select(PoolMachineRow, MachineRow, LivenessRow)
        .join(MachineRow, col(MachineRow.key) == col(PoolMachineRow.key))
        .outerjoin(LivenessRow, col(LivenessRow.machine_key) == col(PoolMachineRow.key))
        .order_by(col(PoolMachineRow.created_at), col(PoolMachineRow.key))
    )
    if provider is not None:
        query = query.where(PoolMachineRow.provider == provider)
    if region is not None:
        query = query.where(PoolMachineRow.region == region)
    found: list[PoolMachine] = []
    for row, machine, liveness in session.exec(query):
        member = read_or_note(row, partial(member_of, machine=machine, liveness=liveness))
        found += [member] if member is not None else []
    return found


def _before_claim(session: Session, key: str) -> tuple[ReleaseTag | None, datetime | None]:
    """Return what a claimed machine was proven to run in the pool, and when."""
    events = session.exec(
        select(EventRow.detail)
        .where(EventRow.kind == POOL_MACHINE_CLAIMED, EventRow.machine_key == key)
        .order_by(col(EventRow.event_id).desc())
    )
    for detail in events:
        with validating(f"the claim of machine {key}"):
            claim = PoolClaim.model_validate(detail["claim"])
        if claim.release_tag is not None:
            return claim.release_tag, claim.proven_at
    return None, None


def _take(
    session: Session, keys: Sequence[str]
) -> tuple[MachineRow, ReleaseTag | None, datetime | None] | None:
    """Remove the first of these machines that is ready from the pool, and return it."""
    for key in keys:
        row, machine = session.get(PoolMachineRow, key), session.get(MachineRow, key)
        if row is None or machine is None:
            continue
        # A machine that was never observed at its provider, or was lost there, is not claimed.
        if row.status == PoolStatus.READY and machine.status == RecordStatus.RUNNING:
            session.delete(row)
            return machine, row.release_tag, row.proven_at
    return None


def member_of(
    row: PoolMachineRow,
    machine: MachineRow | None = None,
    liveness: LivenessRow | None = None,
) -> PoolMachine:
    """Return a row's machine of the pool."""
    is_silent = liveness is not None and not liveness.answers
    silent_since = time_or_none(liveness.since) if liveness is not None and is_silent else None
    return read_row(
        PoolMachine,
        row,
        f"machine {row.key}",
        architecture=machine.architecture if machine else None,
        image_name=machine.image_name if machine else None,
        silent_since=silent_since,
    )
