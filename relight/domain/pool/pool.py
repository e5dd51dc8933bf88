"""The pool: warm machines, installed and proven, that serve no route yet."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import AwareDatetime, Field

from relight.domain.base import Message
from relight.domain.names import ReleaseTag


class PoolTarget(Message):
    """What the pool of one region of a provider should be.

    Attributes:
        size: how many machines are ready to be claimed.
        release_tag: what they should run; None where nothing declares it: nothing is made then.
        max_age: a machine older than this is replaced by a new one.
        surge: how many machines there may be beyond `size` while new ones take the place of old.
        prepare_for: how long a machine may take until it is ready.
        proof_lasts: how old a machine's proof may be before it is proven again.
        at_once: how many machines are made ready at one time.
    """

    provider: str
    region: str
    size: int = Field(ge=0)
    release_tag: ReleaseTag | None
    max_age: timedelta = Field(default=timedelta(days=7), gt=timedelta(0))
    surge: int = Field(default=1, ge=1)
    prepare_for: timedelta = Field(default=timedelta(hours=1), gt=timedelta(0))
    proof_lasts: timedelta = Field(default=timedelta(hours=24), gt=timedelta(0))
    at_once: int = Field(default=2, ge=1)


class PoolStatus(StrEnum):
    """Where a machine of the pool is. One that was claimed is its route's, and not the pool's.

    `preparing`: it is being created, or brought to another release. `ready`: it was proven and may
    be claimed. `faulted`: it could not be made ready. `leaving`: it is on its way to its end.
    """

    PREPARING = "preparing"
    READY = "ready"
    FAULTED = "faulted"
    LEAVING = "leaving"


class PoolMachine(Message):
    """A machine of the pool, as it is on record.

    Attributes:
        key: `pool-{provider}-{region}-{number}`.
        since: since when it has its status.
        created_at: when its key was chosen.
        release_tag: what it was last proven to run, None before its first proof.
    """

    key: str
    provider: str
    region: str
    architecture: str | None = None
    status: PoolStatus
    since: AwareDatetime
    created_at: AwareDatetime
    release_tag: ReleaseTag | None = None
    proven_at: AwareDatetime | None = None


class PoolStep(StrEnum):
    """What is done about the pool.

    `create`: make a further machine ready. `swap`: bring a machine to the release, in place.
    `prove`: look at it again. `recycle`: destroy it; if it is missed, a new one was made or will
    be. `keep`: leave it.
    """

    CREATE = "create"
    SWAP = "swap"
    PROVE = "prove"
    RECYCLE = "recycle"
    KEEP = "keep"


class PoolAction(Message):
    """One step about the pool.

    Attributes:
        key: the machine's; None for one that is to be created: its key is chosen when it is.
        reason: one sentence for a person.
    """

    step: PoolStep
    provider: str
    region: str
    reason: str
    key: str | None = None
    release_tag: ReleaseTag | None = None


def pool_machine_key(provider: str, region: str, number: int) -> str:
    """Return the key of a pool's machine: its label at the provider and its host name."""
    return f"pool-{provider}-{region}-{number}"


def pool_workflow_id(provider: str, region: str) -> str:
    """Return the id under which a region's pool is changed: the id is the pool's lock."""
    return f"pool/{provider}/{region}"


def plan_pool(
    target: PoolTarget, machines: Sequence[PoolMachine], now: datetime
) -> tuple[PoolAction, ...]:
    """Return one step for each machine of the pool, and one for each that is to be created.

    New ones come before old ones go: an aged machine stays claimable until as many are ready as
    should be, so that recycling never empties the pool. Machines that are behind are swapped in
    place, which is cheaper than another machine. With no release declared nothing is made.

    Args:
        target: what the pool should be.
        machines: the region's, as they are on record, in any order.
        now: the instant that is asked about, with its time zone.
    """
    alive = sorted(
        (machine for machine in machines if machine.status is not PoolStatus.LEAVING),
        key=lambda machine: (machine.created_at, machine.key),
    )
    broken = [machine for machine in alive if _is_broken(machine, target, now)]
    aged = [
        machine
        for machine in alive
        if machine not in broken and now - machine.created_at > target.max_age
    ]
    young = [machine for machine in alive if machine not in broken and machine not in aged]
    steps = {machine.key: (PoolStep.RECYCLE, _what_broke(machine)) for machine in broken}
    steps |= _surplus(target, aged, young)
    kept = [machine for machine in (*aged, *young) if machine.key not in steps]
    preparing = sum(machine.status is PoolStatus.PREPARING for machine in kept)
    room = max(0, target.at_once - preparing)
    # Those that are on their way out count: where none can be destroyed, no more are made either.
    wanted = min(target.size - len(young), target.size + target.surge - len(machines))
    creates = 0 if target.release_tag is None else max(0, min(wanted, room))
    room -= creates
    for machine in kept:
        step, reason = _upkeep(machine, target, now)
        if machine in aged and step is PoolStep.SWAP:
            step, reason = PoolStep.KEEP, f"{reason}, and goes once a new one is ready"
        # A swap takes the machine out of the pool for its while: not all at once.
        if step is PoolStep.SWAP and room <= 0:
            step, reason = PoolStep.KEEP, f"{reason}; others are made ready first"
        room -= step is PoolStep.SWAP
        steps[machine.key] = step, reason
    actions = [_action(target, step, reason, key) for key, (step, reason) in sorted(steps.items())]
    ready = sum(machine.status is PoolStatus.READY for machine in young)
    reason = f"{ready} of {target.size} are ready and not aged"
    return (*actions, *(_action(target, PoolStep.CREATE, reason) for _ in range(creates)))


def claimable(
    machines: Iterable[PoolMachine], release_tag: ReleaseTag, architecture: str | None = None
) -> tuple[str, ...]:
    """Return the keys of machines that a route may be given, the best first.

    Which one is claimed is decided by the store, in one transaction: it takes the first that is
    still ready. One that runs the release already comes first, then the one that was proven last;
    a route brings it to its release in any case, and proves it.

    Args:
        machines: those of the route's region, in any order.
        release_tag: what the route should run.
        architecture: the one that the route needs, None for any.
    """
    ready = [
        machine
        for machine in machines
        if machine.status is PoolStatus.READY
        and machine.proven_at is not None
        and architecture in (None, machine.architecture)
    ]
    last_proven_first = sorted(
        ready,
        key=lambda machine: (machine.proven_at or machine.created_at, machine.key),
        reverse=True,
    )
    best_first = sorted(last_proven_first, key=lambda each: each.release_tag != release_tag)
    return tuple(machine.key for machine in best_first)


def _is_broken(machine: PoolMachine, target: PoolTarget, now: datetime) -> bool:
    return machine.status is PoolStatus.FAULTED or (
        machine.status is PoolStatus.PREPARING and now - machine.since > target.prepare_for
    )


def _what_broke(machine: PoolMachine) -> str:
    if machine.status is PoolStatus.FAULTED:
        return "it could not be made ready"
    return f"it is being made ready since {machine.since:%Y-%m-%d %H:%M} UTC"


def _surplus(
    target: PoolTarget, aged: Sequence[PoolMachine], young: Sequence[PoolMachine]
) -> dict[str, tuple[PoolStep, str]]:
    """Return the machines that are too many once enough are ready: the aged, then the oldest."""
    ready = sum(machine.status is PoolStatus.READY for machine in (*aged, *young))
    surplus: dict[str, tuple[PoolStep, str]] = {}
    for machine in (*aged, *young):
        is_ready = machine.status is PoolStatus.READY
        is_aged = machine in aged
        if is_aged:
            enough = not is_ready or ready > target.size
            reason = f"it is older than {target.max_age.days} days"
        else:
            others = len(young) - sum(each.key in surplus for each in young)
            enough = others > target.size and (not is_ready or ready > target.size)
            reason = f"the pool should have {target.size}"
        if enough:
            surplus[machine.key] = PoolStep.RECYCLE, reason
            ready -= is_ready
    return surplus


def _upkeep(machine: PoolMachine, target: PoolTarget, now: datetime) -> tuple[PoolStep, str]:
    if machine.status is PoolStatus.PREPARING:
        return PoolStep.KEEP, "it is being made ready"
    if target.release_tag is None:
        return PoolStep.KEEP, "nothing declares which release it should run"
    if machine.release_tag != target.release_tag:
        return PoolStep.SWAP, f"it runs {machine.release_tag}"
    if machine.proven_at is None or now - machine.proven_at > target.proof_lasts:
        return PoolStep.PROVE, f"it was last proven at {machine.proven_at}"
    return PoolStep.KEEP, "it is ready"


def _action(target: PoolTarget, step: PoolStep, reason: str, key: str | None = None) -> PoolAction:
    return PoolAction(
        step=step,
        provider=target.provider,
        region=target.region,
        reason=reason,
        key=key,
        release_tag=target.release_tag,
    )


# MERGEDOC """What a region's pool needs, and which of its machines is claimed first."""
