"""Planning of a region's pool: the steps that bring it to its target, and keep what works."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from relight.domain.duration import span
from relight.domain.liveness import is_silent
from relight.domain.names import ReleaseTag
from relight.domain.pool.pool import PoolAction, PoolMachine, PoolStatus, PoolStep, PoolTarget
from relight.domain.pool.remediation import (
    PoolRemediation,
    decide_pool_remediation,
    is_faulty,
)
from relight.domain.pool.tries import why_not_try


@dataclass(frozen=True)
class _Decided:
    """The step for one machine; see `PoolAction`."""

    step: PoolStep
    reason: str
    release_tag: ReleaseTag | None = None
    is_try: bool = False
    unreachable: bool = False


def plan_pool(
    target: PoolTarget,
    machines: Sequence[PoolMachine],
    now: datetime,
    locked_out: Collection[str] = (),
    observe: Collection[str] = (),
) -> tuple[PoolAction, ...]:
    """Return one step for each machine of the pool, and one for each machine to create.

    An aged machine, or one of another image, stays claimable until enough new machines are ready,
    and so does one with an older release while no machine becomes ready at the new one. A machine
    with another release is swapped in place, which is cheaper than a new machine; if that fails, it
    is swapped back. One that was ever ready is recycled for a fault only once another is ready in
    its place. Without a release that has passed, nothing is created.

    Args:
        target: what the pool should be.
        machines: the records of the region's machines, in any order.
        now: the current time, with its time zone.
        locked_out: keys of the fleet's machines that lock the control plane out, if several do.
        observe: keys of machines to verify, since others of their group cannot be reached.
    """
    ordered = sorted(machines, key=lambda machine: (machine.created_at, machine.key))
    alive = [each for each in ordered if each.status is not PoolStatus.LEAVING]
    remedies = {
        each.key: decide_pool_remediation(
            each, target, now, several_locked_out=each.key in locked_out
        )
        for each in alive
        if is_faulty(each, target, now)
    }
    repaired = [each for each in alive if each.key in remedies and _is_kept(remedies[each.key])]
    sound = [each for each in alive if each.key not in remedies]
    aged = [each for each in sound if _why_aged(target, each, now)]
    repaired.sort(key=lambda each: each.release_tag is not None)
    young = [*repaired, *(each for each in sound if each not in aged)]
    steps = {
        each.key: _Decided(PoolStep.RECYCLE, "its removal is not complete")
        for each in ordered
        if each.status is PoolStatus.LEAVING
    }
    steps |= _given_up(target, alive, remedies, now)
    steps |= _surplus(target, aged, young, locked_out, now)
    kept = [each for each in (*aged, *young) if each.key not in steps]
    why_not = why_pool_waits(target, now)
    preparing = sum(each.status is PoolStatus.PREPARING for each in kept if each in sound)
    room = max(0, target.max_preparing - preparing)
    # Leaving machines count: while none can be destroyed, none are created either.
    missing = min(target.size - len(young), target.size + target.surge - len(machines))
    creates = max(0, min(missing, room)) if why_not is None else 0
    room -= creates
    for each in kept:
        remedy = remedies.get(each.key)
        decided = _repair(target, each, remedy) if remedy else _upkeep(target, each, now, observe)
        if each in aged and decided.step is PoolStep.SWAP:
            reason = f"{decided.reason}, and is recycled once a new one is ready"
            decided = _Decided(PoolStep.KEEP, reason)
        if decided.step is PoolStep.SWAP:
            waits = why_not if decided.is_try else target.blocked
            # A machine cannot be claimed during its swap, so the number of swaps is limited.
            if waits is None and room <= 0:
                waits = "others are prepared first"
            if waits is not None:
                decided = _Decided(PoolStep.KEEP, f"{decided.reason}; {waits}")
        room -= decided.step is PoolStep.SWAP
        steps[each.key] = decided
    actions = [_action(target, decided, key) for key, decided in sorted(steps.items())]
    ready = sum(each.status is PoolStatus.READY for each in young)
    create = _Decided(
        PoolStep.CREATE,
        f"{ready} of {target.size} are ready and not aged",
        release_tag=target.release_tag,
        is_try=True,
    )
    return (*actions, *(_action(target, create) for _ in range(creates)))


def why_pool_waits(target: PoolTarget, now: datetime) -> str | None:
    """Return why no machine is created or brought to the pool's release now; None if one may be."""
    if target.blocked is not None:
        return target.blocked
    if target.release_tag is None:
        return target.release_reason or "no release has passed"
    tries = target.tries.of(target.release_tag)
    return why_not_try(target.provider, target.region, tries, target.policy, now)


def _is_kept(remedy: PoolRemediation) -> bool:
    """Return whether a faulty machine may become ready again, so that it counts."""
    return remedy.step is not PoolStep.RECYCLE and not remedy.for_person


def _given_up(
    target: PoolTarget,
    alive: Sequence[PoolMachine],
    remedies: dict[str, PoolRemediation],
    now: datetime,
) -> dict[str, _Decided]:
    """Return the steps of faulty machines that do not become ready again.

    One that was ever ready is recycled once another is ready in its place. Until then it is
    verified: what made it faulty may have been outside of it.
    """
    lost = [each for each in alive if each.key in remedies and not _is_kept(remedies[each.key])]
    ever_ready = sum(each.release_tag is not None for each in lost)
    ready = sum(each.status is PoolStatus.READY for each in alive)
    spare = ready - (target.size - ever_ready)
    steps: dict[str, _Decided] = {}
    for each in lost:
        remedy = remedies[each.key]
        decided = _Decided(remedy.step, remedy.reason, unreachable=remedy.unreachable)
        if target.size == 0:
            steps[each.key] = _Decided(PoolStep.RECYCLE, "the pool should have 0")
        elif remedy.step is PoolStep.KEEP or each.release_tag is None or spare > 0:
            steps[each.key] = decided
            spare -= remedy.step is PoolStep.RECYCLE and each.release_tag is not None
        else:
            steps[each.key] = _wait_for_another(target, each, remedy, now)
    return steps


def _wait_for_another(
    target: PoolTarget, machine: PoolMachine, remedy: PoolRemediation, now: datetime
) -> _Decided:
    reason = f"{remedy.reason}; it is recycled once another is ready in its place"
    last = max((fault.at for fault in machine.faults), default=machine.since)
    if machine.release_tag is not None and now - last >= target.replacement.verify_after:
        return _Decided(PoolStep.VERIFY, reason, release_tag=machine.release_tag)
    return _Decided(PoolStep.KEEP, reason)


def _why_aged(target: PoolTarget, machine: PoolMachine, now: datetime) -> str:
    """Return why a machine is replaced by a new one; empty if it is not."""
    if now - machine.created_at > target.max_age:
        return f"it is older than {span(target.max_age)}"
    wanted = target.image_names.get(machine.architecture or "", machine.image_name)
    if machine.image_name != wanted:
        return f"it is not made of {wanted or 'what the settings of its location say'}"
    return ""


def _surplus(
    target: PoolTarget,
    aged: Sequence[PoolMachine],
    young: Sequence[PoolMachine],
    locked_out: Collection[str],
    now: datetime,
) -> dict[str, _Decided]:
    """Return the machines to recycle because enough others are ready: aged, then oldest.

    One that locks the control plane out, as others do, is none of them: it may be healthy.
    """
    ready = sum(machine.status is PoolStatus.READY for machine in (*aged, *young))
    surplus: dict[str, _Decided] = {}
    for machine in (*aged, *young):
        is_ready = machine.status is PoolStatus.READY
        is_aged = machine in aged
        if is_aged:
            enough = not is_ready or ready > target.size
            reason = _why_aged(target, machine, now)
        else:
            others = len(young) - sum(each.key in surplus for each in young)
            never_ready = not is_ready and machine.release_tag is None
            enough = others > target.size and (never_ready or ready - is_ready >= target.size)
            reason = f"the pool should have {target.size}"
        if enough and machine.key not in locked_out:
            surplus[machine.key] = _Decided(PoolStep.RECYCLE, reason)
            ready -= is_ready
    return surplus


def _repair(target: PoolTarget, machine: PoolMachine, remedy: PoolRemediation) -> _Decided:
    """Return the step that brings a faulty machine back to the release that worked on it."""
    tag = machine.release_tag or target.release_tag
    if tag is None:
        return _Decided(PoolStep.KEEP, f"{remedy.reason}; {target.release_reason}")
    is_try = remedy.step is PoolStep.SWAP and machine.release_tag is None
    return _Decided(remedy.step, remedy.reason, release_tag=tag, is_try=is_try)


def _upkeep(
    target: PoolTarget, machine: PoolMachine, now: datetime, observe: Collection[str]
) -> _Decided:
    if machine.status is PoolStatus.PREPARING:
        return _Decided(PoolStep.KEEP, "it is in preparation")
    if machine.key in observe and machine.release_tag is not None:
        reason = "machines in its group cannot be reached"
        return _Decided(PoolStep.VERIFY, reason, release_tag=machine.release_tag)
    if machine.release_tag is not None and is_silent(machine.silent_since, machine.proven_at, now):
        reason = f"it has been silent since {machine.silent_since}"
        return _Decided(PoolStep.VERIFY, reason, release_tag=machine.release_tag)
    if machine.proven_at is None or now - machine.proven_at > target.proof_lasts:
        reason = f"it was last proven at {machine.proven_at}"
        if machine.release_tag is not None:
            return _Decided(PoolStep.VERIFY, reason, release_tag=machine.release_tag)
    if target.release_tag is None:
        return _Decided(PoolStep.KEEP, target.release_reason or "no release has passed")
    if machine.release_tag != target.release_tag:
        reason = f"it runs {machine.release_tag}"
        return _Decided(PoolStep.SWAP, reason, release_tag=target.release_tag, is_try=True)
    return _Decided(PoolStep.KEEP, "it is ready")


def _action(target: PoolTarget, decided: _Decided, key: str | None = None) -> PoolAction:
    return PoolAction(
        step=decided.step,
        provider=target.provider,
        region=target.region,
        reason=decided.reason,
        key=key,
        release_tag=decided.release_tag,
        is_try=decided.is_try,
        unreachable=decided.unreachable,
    )
