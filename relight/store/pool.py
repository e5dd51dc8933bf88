"""The pool: machines that are ready before a route needs them, and how a route is given one.

The store decides which route gets which machine: a claim, a machine's leaving and its being
brought to another release are each one transaction, so that of two who want it one is refused.
"""

from collections.abc import Callable, Sequence

from pydantic import Field
from sqlmodel import Session, col, select

from relight.domain.base import Message
from relight.domain.fault.fault import Fault
from relight.domain.machine import Machine
from relight.domain.names import ReleaseTag
from relight.domain.pool.pool import (
    PoolMachine,
    PoolStatus,
    pool_machine_key,
)
from relight.domain.proof import Proof
from relight.store.database import Database
from relight.store.errors import UnknownMachineError, WrongMachineError
from relight.store.machines import (
    RecordStatus,
    describe,
    last_machine,
    next_generation,
    plan_machine,
    require_alive,
)
from relight.store.replacements import (
    is_left_over,
    require_lock,
    was_made_for,
)
from relight.store.rows import machine_of, naming
from relight.store.tables import (
    MachineRow,
    PoolMachineRow,
    PoolSizeRow,
    RouteRow,
)
from relight.store.write import Operation, Write, write

POOL_MACHINE_PLANNED = "pool-machine-planned"
POOL_MACHINE_PREPARING = "pool-machine-preparing"
POOL_MACHINE_READY = "pool-machine-ready"
POOL_MACHINE_FAULTED = "pool-machine-faulted"
POOL_MACHINE_LEAVING = "pool-machine-leaving"
POOL_MACHINE_CLAIMED = "pool-machine-claimed"
POOL_MACHINE_GIVEN_BACK = "pool-machine-given-back"

ChooseMachines = Callable[[Sequence[PoolMachine], ReleaseTag, str | None], Sequence[str]]
"""Says which machines a route may be given, the best first: `relight.domain.pool.pool.claimable`."""


class PoolClaim(Message):
    """A machine of the pool that is a route's now; it keeps its key.

    Attributes:
        generation: the route's how-manieth machine it is.
        release_tag: what it was last proven to run.
    """

    machine: Machine
    generation: int
    release_tag: ReleaseTag | None = None


class Pool:
    """Every write is one transaction with its event, and an activity's retry writes once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def plan(
        self, provider: str, region: str, release_tag: ReleaseTag, operation: Operation
    ) -> str:
        """Write the key of a further machine down before it is created, and return it.

        What a provider creates for it is written down as for any other key, by
        `Routes.record_machine`.
        """
        with write(self._database, operation, POOL_MACHINE_PLANNED) as w:
            if w.earlier:
                return str(w.earlier.machine_key)
            key = pool_machine_key(provider, region, _next_number(w.session, provider, region))
            w.session.add(plan_machine(w, key, provider, region))
            # Its row in the pool refers to it: it comes first.
            w.session.flush()
            add_to_pool(w, key, provider, region, PoolStatus.PREPARING)
            w.log(
                machine_key=key,
                release_tag=release_tag,
                detail={"provider": provider, "region": region},
            )
            return key

    def preparing(self, key: str, operation: Operation) -> bool:
        """Take a machine out of the routes' reach, to bring it to another release.

        Return whether it may be: a route may have claimed it since, or it leaves.
        """
        return self._move(key, PoolStatus.PREPARING, POOL_MACHINE_PREPARING, operation)

    def leaving(self, key: str, operation: Operation) -> bool:
        """Take a machine out of the pool, to destroy it.

        Return whether it may be: a route may have claimed it since, and is served by it.
        """
        return self._move(key, PoolStatus.LEAVING, POOL_MACHINE_LEAVING, operation)

    def record_ready(self, key: str, machine: Machine, proof: Proof, operation: Operation) -> None:
        """Write down that a machine was proven, and may be claimed.

        Raises:
            UnknownMachineError: no machine was ever planned under this key.
            WrongMachineError: it is destroyed or leaves, or a route has claimed it.
        """
        with write(self._database, operation, POOL_MACHINE_READY) as w:
            if w.earlier:
                return
            record = require_alive(w.session, key)
            row = w.session.get(PoolMachineRow, key)
            if row is None or row.status == PoolStatus.LEAVING:
                why = f"route {record.route_id} has claimed it" if row is None else "it leaves"
                raise WrongMachineError(f"machine {key} is not made ready any more: {why}")
            describe(record, machine)
            if row.status != PoolStatus.READY:
                row.status, row.since = PoolStatus.READY, w.at
            row.release_tag, row.proven_at = proof.release_tag, proof.observed_at
            w.session.add_all([record, row])
            w.log(
                machine_key=key,
                release_tag=proof.release_tag,
                detail={"proof": proof.model_dump(mode="json")},
            )

    def record_fault(self, key: str, fault: Fault, operation: Operation) -> None:
        """Write down why a machine could not be made ready.

        One that a route has claimed since, or that leaves, stays as it is.

        Raises:
            UnknownMachineError: no machine was ever planned under this key.
        """
        with write(self._database, operation, POOL_MACHINE_FAULTED) as w:
            if w.earlier:
                return
            _require(w.session, key)
            row = w.session.get(PoolMachineRow, key)
            if row is not None and row.status not in (PoolStatus.LEAVING, PoolStatus.FAULTED):
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
        """Give a route a machine of its region's pool as its next generation; None without any.

        What an earlier run claimed and left behind is taken up. Where it left one behind that was
        made for the route, the route is given none: `Replacements.plan` takes that up.

        Args:
            route_id: the route.
            release_tag: what it should run.
            operation: who asks; it has to have the route's lock.
            choose: says which machines it may be given, the best first.
            architecture: the one that it needs, None for any.

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
            if last is not None and is_left_over(last, route):
                if was_made_for(last) or last.status != RecordStatus.RUNNING:
                    return None
                claimed, tag = last, None
            else:
                claimed, tag = _take(
                    w.session,
                    choose(
                        _members(w.session, route.provider, route.region),
                        release_tag,
                        architecture,
                    ),
                )
                if claimed is None:
                    return None
                claimed.route_id, claimed.generation = route_id, next_generation(last)
            taken_up = claimed is last
            claimed.held_run_id = operation.run_id
            w.session.add(claimed)
            with naming(f"machine {claimed.key}"):
                claim = PoolClaim.model_validate(
                    {
                        "machine": machine_of(claimed),
                        "generation": claimed.generation,
                        "release_tag": tag,
                    }
                )
            w.log(
                route_id=route_id,
                machine_key=claimed.key,
                release_tag=release_tag,
                detail={"claim": claim.model_dump(mode="json"), "taken_up": taken_up},
            )
            return claim

    def give_back(self, route_id: str, fault: Fault, operation: Operation) -> str | None:
        """Take back what the operation claimed for a route that it does not serve; return its key.

        It is faulted, and so is recycled: whatever went wrong, it may have been with it. What
        serves the route stays there, and so does what was made for the route.
        """
        with write(self._database, operation, POOL_MACHINE_GIVEN_BACK) as w:
            if w.earlier:
                return w.earlier.machine_key
            route, last = w.session.get(RouteRow, route_id), last_machine(w.session, route_id)
            if route is None or last is None or not is_left_over(last, route):
                return None
            if was_made_for(last) or last.held_run_id != operation.run_id:
                return None
            generation = last.generation
            last.route_id = last.generation = None
            w.session.add(last)
            add_to_pool(w, last.key, last.provider, last.region, PoolStatus.FAULTED)
            w.log(
                route_id=route_id,
                machine_key=last.key,
                detail={"generation": generation, "fault": fault.model_dump(mode="json")},
            )
            return last.key

    def list(self, provider: str | None = None, region: str | None = None) -> list[PoolMachine]:
        """Return the machines of a provider's or a region's pool, or all, oldest first.

        Raises:
            BadValueError: one was changed by hand and is not of its shape.
        """
        with self._database.reading() as session:
            return _members(session, provider, region)

    def _move(self, key: str, status: PoolStatus, kind: str, operation: Operation) -> bool:
        """Give a machine of the pool another status, unless it leaves; say whether it has it."""
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


def add_to_pool(w: Write, key: str, provider: str, region: str, status: PoolStatus) -> None:
    """Make a machine the pool's."""
    w.session.add(
        PoolMachineRow(
            key=key, provider=provider, region=region, status=status, since=w.at, created_at=w.at
        )
    )


def _next_number(session: Session, provider: str, region: str) -> int:
    """Return a number that no machine of the pool ever had: keys stay on record."""
    prefix = pool_machine_key(provider, region, 0)[:-1]
    keys = session.exec(
        select(MachineRow.key).where(col(MachineRow.key).startswith(prefix, autoescape=True))
    )
    ends = (key.removeprefix(prefix) for key in keys)
    return max((int(end) for end in ends if end.isascii() and end.isdigit()), default=0) + 1


def _members(session: Session, provider: str | None, region: str | None) -> list[PoolMachine]:
    query = (
        select(PoolMachineRow, MachineRow.architecture)
        .join(MachineRow, col(MachineRow.key) == col(PoolMachineRow.key))
        .order_by(col(PoolMachineRow.created_at), col(PoolMachineRow.key))
    )
    if provider is not None:
        query = query.where(PoolMachineRow.provider == provider)
    if region is not None:
        query = query.where(PoolMachineRow.region == region)
    return [_member(row, architecture) for row, architecture in session.exec(query)]


def _take(
    session: Session, keys: Sequence[str]
) -> tuple[MachineRow, ReleaseTag | None] | tuple[None, None]:
    """Take the first of these machines that is ready out of the pool."""
    for key in keys:
        row, machine = session.get(PoolMachineRow, key), session.get(MachineRow, key)
        # One that nobody saw at its provider, or that is gone from there, is given to no route.
        seen = machine is not None and machine.status == RecordStatus.RUNNING
        if row is not None and machine is not None and seen and row.status == PoolStatus.READY:
            session.delete(row)
            return machine, row.release_tag
    return None, None


def _require(session: Session, key: str) -> None:
    if session.get(MachineRow, key) is None:
        raise UnknownMachineError(f"no machine was ever planned under the key {key}")


def _member(row: PoolMachineRow, architecture: str | None) -> PoolMachine:
    with naming(f"machine {row.key}"):
        return PoolMachine.model_validate({**row.model_dump(), "architecture": architecture})


POOL_SIZE_SET = "pool-size-set"


class PoolSize(Message):
    """How many machines of a region's pool should be ready."""

    provider: str = Field(min_length=1)
    region: str = Field(min_length=1)
    size: int = Field(ge=0)


class PoolSizes:
    """A region has a pool from the first time that its size is set."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, provider: str, region: str, size: int, operation: Operation) -> None:
        """Say how many machines of a region's pool should be ready; 0 empties it.

        Raises:
            BadValueError: it is no size, or of no region.
        """
        with naming(f"pool {provider}/{region}"):
            wanted = PoolSize(provider=provider, region=region, size=size)
        with write(self._database, operation, POOL_SIZE_SET) as w:
            if w.earlier:
                return
            row = w.session.get(PoolSizeRow, (provider, region))
            previous = row.size if row else None
            row = row or PoolSizeRow(provider=provider, region=region, size=size)
            row.size = size
            w.session.add(row)
            w.log(detail={**wanted.model_dump(), "previous": previous})

    def list(self) -> list[PoolSize]:
        """Return what every pool should be, by provider and region.

        Raises:
            BadValueError: one was changed by hand and is not of its shape.
        """
        query = select(PoolSizeRow).order_by(PoolSizeRow.provider, PoolSizeRow.region)
        with self._database.reading() as session:
            return [_size(row) for row in session.exec(query)]


def _size(row: PoolSizeRow) -> PoolSize:
    with naming(f"pool {row.provider}/{row.region}"):
        return PoolSize.model_validate(row.model_dump())


# MERGEDOC """How many warm machines each region should have: operators say so."""
