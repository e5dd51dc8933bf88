"""The pool: warm machines, installed and proven, that serve no route yet.

`plan_pool` decides the steps that a region's pool needs; `claimable` decides which machine a route
claims first.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import AwareDatetime, Field

from relight.domain.base import Message
from relight.domain.names import ReleaseTag


class PoolTarget(Message):
    """What the pool of one region of a provider should be.

    Attributes:
        size: how many machines should be ready.
        release_tag: what they should run; None if no release is declared: nothing is created then.
        max_age: older machines are replaced by new ones.
        surge: how many machines may exist beyond `size` while old ones are replaced.
        prepare_for: how long the preparation of a machine may take.
        proof_lasts: how old a machine's proof may be before the machine is verified.
        max_preparing: how many machines are prepared at once.
    """

    provider: str
    region: str
    size: int = Field(ge=0)
    release_tag: ReleaseTag | None
    max_age: timedelta = Field(default=timedelta(days=7), gt=timedelta(0))
    surge: int = Field(default=1, ge=1)
    prepare_for: timedelta = Field(default=timedelta(hours=1), gt=timedelta(0))
    proof_lasts: timedelta = Field(default=timedelta(hours=24), gt=timedelta(0))
    max_preparing: int = Field(default=2, ge=1)


class PoolStatus(StrEnum):
    """The status of a pool machine. A claimed machine is no longer in the pool.

    `preparing`: it is being created or swapped. `ready`: it is proven and may be claimed.
    `faulted`: it could not be prepared. `leaving`: it is being destroyed.
    """

    PREPARING = "preparing"
    READY = "ready"
    FAULTED = "faulted"
    LEAVING = "leaving"


class PoolMachine(Message):
    """The record of a pool machine.

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
    """A step of the pool's plan.

    `create`: create and prepare a new machine. `swap`: swap a machine to the release, in place.
    `verify`: prove it again. `recycle`: destroy it; a missing machine is created by another step.
    `keep`: leave it as it is.
    """

    CREATE = "create"
    SWAP = "swap"
    VERIFY = "verify"
    RECYCLE = "recycle"
    KEEP = "keep"


class PoolAction(Message):
    """One step, with its machine and reason.

    Attributes:
        key: the machine's; None for a machine to create, whose key is chosen later.
        reason: one sentence for a person.
    """

    step: PoolStep
    provider: str
    region: str
    reason: str
    key: str | None = None
    release_tag: ReleaseTag | None = None


def pool_machine_key(provider: str, region: str, number: int) -> str:
    """Return the key of a pool machine: its label at the provider and its host name."""
    return f"pool-{provider}-{region}-{number}"


def pool_workflow_id(provider: str, region: str) -> str:
    """Return the workflow id of every change of a region's pool. The id is the pool's lock."""
    return f"pool/{provider}/{region}"


def plan_pool(
    target: PoolTarget, machines: Sequence[PoolMachine], now: datetime
) -> tuple[PoolAction, ...]:
    """Return one step for each machine of the pool, and one for each machine to create.

    An aged machine stays claimable until enough new machines are ready, so that recycling never
    empties the pool. Machines with another release are swapped in place, which is cheaper than a
    new machine. Without a declared release nothing is created.

    Args:
        target: what the pool should be.
        machines: the records of the region's machines, in any order.
        now: the current time, with its time zone.
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
    room = max(0, target.max_preparing - preparing)
    # Leaving machines count: while none can be destroyed, none are created either.
    missing = min(target.size - len(young), target.size + target.surge - len(machines))
    creates = 0 if target.release_tag is None else max(0, min(missing, room))
    room -= creates
    for machine in kept:
        step, reason = _upkeep(machine, target, now)
        if machine in aged and step is PoolStep.SWAP:
            step, reason = PoolStep.KEEP, f"{reason}, and is recycled once a new one is ready"
        # A machine cannot be claimed during its swap, so the number of swaps is limited.
        if step is PoolStep.SWAP and room <= 0:
            step, reason = PoolStep.KEEP, f"{reason}; others are prepared first"
        room -= step is PoolStep.SWAP
        steps[machine.key] = step, reason
    actions = [_action(target, step, reason, key) for key, (step, reason) in sorted(steps.items())]
    ready = sum(machine.status is PoolStatus.READY for machine in young)
    reason = f"{ready} of {target.size} are ready and not aged"
    return (*actions, *(_action(target, PoolStep.CREATE, reason) for _ in range(creates)))


def claimable(
    machines: Iterable[PoolMachine], release_tag: ReleaseTag, architecture: str | None = None
) -> tuple[str, ...]:
    """Return the keys of machines that a route may claim, the best first.

    Machines that already run the release come first, then the most recently proven ones. The store
    claims the first one that is still ready, in one transaction. The route swaps it to its release
    if needed, and proves it.

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
        return "it could not be prepared"
    return f"it has been in preparation since {machine.since:%Y-%m-%d %H:%M} UTC"


def _surplus(
    target: PoolTarget, aged: Sequence[PoolMachine], young: Sequence[PoolMachine]
) -> dict[str, tuple[PoolStep, str]]:
    """Return the machines to recycle because enough others are ready: aged, then oldest."""
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
        return PoolStep.KEEP, "it is in preparation"
    if target.release_tag is None:
        return PoolStep.KEEP, "no release is declared for it"
    if machine.release_tag != target.release_tag:
        return PoolStep.SWAP, f"it runs {machine.release_tag}"
    if machine.proven_at is None or now - machine.proven_at > target.proof_lasts:
        return PoolStep.VERIFY, f"it was last proven at {machine.proven_at}"
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
