"""Remediation of a pool machine: it is observed as a route's machine is, but nobody waits for it.

Only faults of the host and of the release recycle a machine, and one that was ever ready only once
another one is ready in its place. A machine that cannot be reached is given up by the same evidence
as that of a route.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from relight.domain.breaker.breaker import MachineObservation
from relight.domain.fault.fault import BUDGETED_CLASSES
from relight.domain.fault.table import RULES, locks_out
from relight.domain.pool.pool import PoolMachine, PoolStatus, PoolStep, PoolTarget
from relight.domain.remediation import failed_connections, is_unreachable
from relight.domain.route_history import ObservedFault, last_observation, means_unreachable

_REACHED = frozenset({"first-boot-failed"})
"""Kinds of faults whose remedy is another machine, although this one was reached."""


class PoolRemediation(NamedTuple):
    """What is done about a faulty pool machine.

    Attributes:
        step: `verify` at the release that it was last proven at, `swap` back to that release (or
            to the pool's, if it was never proven), `recycle`, or `keep`.
        unreachable: it cannot be reached; the breaker counts that.
        for_person: only a person can decide; the pool replaces it in its count.
    """

    step: PoolStep
    reason: str
    unreachable: bool = False
    for_person: bool = False


def observation_of_pool(machine: PoolMachine) -> MachineObservation:
    """Return the last observation of a pool machine, as the breaker counts it."""
    faults = [each for each in machine.faults if each.kind not in _REACHED]
    last = last_observation(machine.proven_at, faults, silent_since=machine.silent_since)
    return MachineObservation(
        key=machine.key,
        provider=machine.provider,
        region=machine.region,
        observed_at=last.at,
        reached=last.reached,
        locked_out_by=last.locked_out_by,
        locked_out_since=last.locked_out_since,
    )


def is_faulty(machine: PoolMachine, target: PoolTarget, now: datetime) -> bool:
    """Return whether a pool machine needs a remediation."""
    return machine.status is PoolStatus.FAULTED or (
        machine.status is PoolStatus.PREPARING and now - machine.since > target.prepare_for
    )


def decide_pool_remediation(
    machine: PoolMachine, target: PoolTarget, now: datetime, *, several_locked_out: bool
) -> PoolRemediation:
    """Return what is done about a faulty pool machine. The caller applies the breaker.

    Args:
        machine: one that is faulty.
        target: its pool, with the thresholds.
        now: the current time, with its time zone.
        several_locked_out: it locks the control plane out, and other machines do so too: the cause
            may be here, so it is verified at once and never recycled for that.
    """
    faults = [each for each in machine.current_faults if now - each.at < target.replacement.window]
    reason = _what_broke(machine, faults)
    if machine.architecture is None:
        return PoolRemediation(PoolStep.RECYCLE, reason)
    last = faults[-1] if faults else None
    if last is not None and any(fault.kind == "host-key-mismatch" for fault in faults):
        return _another_key(machine, several_locked_out=several_locked_out)
    # A machine that was never ready is what its own preparation has left, unless it is our key.
    cannot = last is not None and means_unreachable(last.kind) and last.kind not in _REACHED
    if cannot and (machine.release_tag is not None or locks_out(faults[-1].kind)):
        return _cannot_be_reached(
            machine, target, faults, now, several_locked_out=several_locked_out
        )
    blaming = sum(_blames_host(fault.kind) for fault in faults)
    if machine.release_tag is None:
        if last is None or blaming or len(faults) > target.replacement.repairs:
            return PoolRemediation(PoolStep.RECYCLE, reason)
    elif blaming > target.replacement.repairs:
        return PoolRemediation(PoolStep.RECYCLE, f"{reason}; {blaming - 1} repairs did not help")
    return PoolRemediation(PoolStep.SWAP, reason)


def _another_key(machine: PoolMachine, *, several_locked_out: bool) -> PoolRemediation:
    if several_locked_out:
        reason = "host-key-mismatch, on other machines too: the control plane's secret may be wrong"
        return PoolRemediation(_observing(machine), reason)
    reason = (
        "another host key answered: a person has to check the machine; "
        f"`relight pool recycle {machine.key}` destroys it"
    )
    return PoolRemediation(PoolStep.KEEP, reason, for_person=True)


def _cannot_be_reached(
    machine: PoolMachine,
    target: PoolTarget,
    faults: Sequence[ObservedFault],
    now: datetime,
    *,
    several_locked_out: bool,
) -> PoolRemediation:
    last, policy = faults[-1], target.replacement
    if several_locked_out and locks_out(last.kind):
        reason = f"{last.kind}, on other machines too: the control plane's own key may be wrong"
        return PoolRemediation(_observing(machine), reason)
    failed = failed_connections(faults)
    reason = f"{last.kind}: {len(failed)} of {policy.unreachable_observations} connections failed"
    if is_unreachable(failed, policy):
        return PoolRemediation(PoolStep.RECYCLE, reason, unreachable=True)
    if now - last.at >= policy.verify_after:
        return PoolRemediation(_observing(machine), reason)
    return PoolRemediation(PoolStep.KEEP, f"{reason}; it will be verified soon")


def _observing(machine: PoolMachine) -> PoolStep:
    """Return the step that observes it. One that was never proven has no release to verify."""
    return PoolStep.VERIFY if machine.release_tag is not None else PoolStep.SWAP


def _blames_host(kind: str) -> bool:
    rule = RULES.get(kind)
    return rule is not None and rule.fault_class in BUDGETED_CLASSES


def _what_broke(machine: PoolMachine, faults: Sequence[ObservedFault]) -> str:
    if machine.status is PoolStatus.PREPARING:
        return f"it has been in preparation since {machine.since:%Y-%m-%d %H:%M} UTC"
    what = "it could not be prepared" if machine.release_tag is None else "it is faulted"
    return f"{what}: {faults[-1].kind}" if faults else what
