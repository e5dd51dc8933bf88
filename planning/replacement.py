"""What a route that does not fare well needs, and which machine may be destroyed for it."""

from collections.abc import Callable, Sequence
from datetime import datetime

from messages.breaker import MachineLook
from messages.fault_table import RULES, Remedy
from messages.faults import FaultClass
from messages.machine import DestroyMachineInput
from messages.replacement import (
    FaultSighting,
    ReplacementPolicy,
    RouteHistory,
    Treatment,
    TreatmentDecision,
)
from messages.route import Route
from messages.sweep import MachineAtProvider, MachineOnRecord, RecordedAs
from planning.gates import BUDGETED

_Decide = Callable[..., TreatmentDecision]


def means_unreachable(kind: str) -> bool:
    """Say whether a kind of fault means that nobody can work on the machine: the breaker counts it.

    These are the faults whose remedy is another machine. A changed client key, say, makes all hosts
    refuse us at once: each of them would be replaced, had the breaker not been told.
    """
    rule = RULES.get(kind)
    return rule is not None and rule.remedy is Remedy.REPLACE


def look_of(route: Route, history: RouteHistory) -> MachineLook | None:
    """Return what the last look at a route's machine showed; None where it has no machine.

    Whatever speaks of the host is a look: a proof, and a fault that its operation met there. What
    lies with repository, provider or controller may never have come to the host.

    Args:
        route: the route.
        history: what happened to it lately.
    """
    machine = route.machine
    if machine is None:
        return None
    looks = [(route.proven_at, True)] if route.proven_at is not None else []
    looks += [
        (fault.at, not means_unreachable(fault.kind))
        for fault in history.faults
        if fault.machine_key == machine.key
        and (means_unreachable(fault.kind) or _class_of(fault.kind) in BUDGETED)
    ]
    if history.gone_since is not None:
        looks.append((history.gone_since, False))
    looked_at, reached = max(looks, default=(None, False))
    return MachineLook(
        key=machine.key,
        provider=route.provider,
        region=route.region,
        track=route.track,
        looked_at=looked_at,
        reached=reached,
    )


def treat(history: RouteHistory, policy: ReplacementPolicy, now: datetime) -> TreatmentDecision:
    """Return what is done about a route.

    Only what was met on its present machine since the last proof counts, and the last fault
    decides. An operator's word counts more than anything but the breaker and the budgets, which
    are not asked here. Faults that a person has to decide about, or that no host is to blame for,
    are left alone.

    Args:
        history: what happened to it lately.
        policy: how much each treatment takes.
        now: the instant that is asked about, with its time zone.
    """
    decided = _decider(history)
    if history.asked_by is not None:
        return decided(Treatment.REPLACE, f"{history.asked_by} asked for another machine")
    if history.quarantined:
        return decided(Treatment.QUARANTINE, "it is in quarantine until a person ends that")
    if history.gone_since is not None and now - history.gone_since >= policy.gone_for:
        proven = history.proven_at is not None and history.proven_at >= history.gone_since
        if not proven:
            reason = "its provider says that its machine is gone"
            return _replace(history, policy, now, reason, unreachable=True)
    faults = _that_count(history, policy, now)
    if not faults:
        if history.faulted and history.machine_key is not None:
            return decided(Treatment.LOOK_AGAIN, "it is faulted, and nobody looked for long")
        return decided(Treatment.LEAVE_ALONE, "nothing is known against it")
    return _by_faults(history, policy, now, faults)


def why_not_destroy(
    record: MachineOnRecord | None, seen: MachineAtProvider, owner: str
) -> str | None:
    """Return why a machine may not be destroyed as the one that is on record; None if it may.

    Everything that names a machine has to be the same on record and at its provider, and the
    machine has to bear our tag. One that serves its route is not destroyed.

    Args:
        record: what is on record of it, None where nothing is.
        seen: what its provider says of it now.
        owner: our ownership tag.
    """
    if record is None:
        return _why_not_ours(seen, owner) or f"machine {seen.key} is not on record"
    if why := why_another(record, seen, owner):
        return why
    if record.serves and record.recorded_as is RecordedAs.RUNNING:
        return f"machine {seen.key} serves route {record.route_id}"
    return None


def why_another(
    named: MachineOnRecord | DestroyMachineInput, seen: MachineAtProvider, owner: str
) -> str | None:
    """Return why a machine is not the one that is named, or not ours; None if it is.

    Args:
        named: what it is known by.
        seen: what its provider says of it now.
        owner: our ownership tag.
    """
    if why := _why_not_ours(seen, owner):
        return why
    pairs = (
        ("key", named.key, seen.key),
        ("provider", named.provider, seen.provider),
        ("id", named.provider_id, seen.provider_id),
        ("generation", named.generation, seen.generation),
    )
    for name, recorded, found in pairs:
        if recorded != found:
            return f"machine {seen.key}: its {name} is {found}, on record is {recorded}"
    return None


def _why_not_ours(seen: MachineAtProvider, owner: str) -> str | None:
    if seen.owner == owner:
        return None
    tag = "no ownership tag" if seen.owner is None else f"the ownership tag {seen.owner}"
    return f"machine {seen.key} bears {tag}, ours is {owner}"


def _by_faults(
    history: RouteHistory,
    policy: ReplacementPolicy,
    now: datetime,
    faults: Sequence[FaultSighting],
) -> TreatmentDecision:
    decided, last = _decider(history), faults[-1]
    # Another's machine may have answered: whatever came after is not known to be of our host.
    if any(fault.kind == "host-key-mismatch" for fault in faults):
        return decided(Treatment.LEAVE_ALONE, "another host key answered: a person has to look")
    rule = RULES.get(last.kind)
    remedy = rule.remedy if rule else Remedy.ASK
    # Where it ran once it can be made to run again; what a swap itself met is the release's.
    if remedy is Remedy.REPAIR or (remedy is Remedy.ROLL_BACK and last.drifted):
        return _repair(history, policy, now, faults)
    if remedy is Remedy.REPLACE:
        return _out_of_reach(history, policy, now, faults)
    if remedy is Remedy.WAIT and history.faulted and now - last.at >= policy.look_again_after:
        return decided(Treatment.LOOK_AGAIN, f"{last.kind}: no host is to blame")
    reason = {
        Remedy.ROLL_BACK: f"{last.kind}: the release is to blame, and another host would not help",
        Remedy.WAIT: f"{last.kind}: no host is to blame",
        Remedy.NONE: f"{last.kind}: nothing was changed",
    }.get(remedy, f"{last.kind}: a person has to decide")
    return decided(Treatment.LEAVE_ALONE, reason)


def _class_of(kind: str) -> FaultClass | None:
    rule = RULES.get(kind)
    return rule.fault_class if rule else None


def _that_count(
    history: RouteHistory, policy: ReplacementPolicy, now: datetime
) -> list[FaultSighting]:
    """Return the faults that say something about the route as it is now, the last one last."""
    return sorted(
        (
            fault
            for fault in history.faults
            if (history.machine_key is None or fault.machine_key in (None, history.machine_key))
            and (history.proven_at is None or fault.at > history.proven_at)
            and now - fault.at < policy.window
        ),
        key=lambda fault: (fault.at, fault.kind, fault.fresh),
    )


def _repair(
    history: RouteHistory,
    policy: ReplacementPolicy,
    now: datetime,
    faults: Sequence[FaultSighting],
) -> TreatmentDecision:
    decided, last = _decider(history), faults[-1]
    if history.machine_key is None:
        return decided(Treatment.LEAVE_ALONE, f"{last.kind}: it has no machine to repair")
    tried = sorted(
        at
        for at in history.repairs
        if (history.proven_at is None or at > history.proven_at) and at >= faults[0].at
    )
    if len(tried) >= policy.repairs:
        if last.at < tried[-1] and now - tried[-1] < policy.repair_after:
            return decided(Treatment.LEAVE_ALONE, f"{last.kind}: its last repair is under way")
        reason = f"{last.kind}: {len(tried)} repairs did not cure it"
        return _replace(history, policy, now, reason, unreachable=False)
    if tried and now - tried[-1] < policy.repair_after:
        return decided(
            Treatment.LEAVE_ALONE,
            f"{last.kind}: the last repair began less than {policy.repair_after} ago",
        )
    return decided(
        Treatment.REPAIR, f"{last.kind}: repair {len(tried) + 1} of {policy.repairs} at the most"
    )


def _out_of_reach(
    history: RouteHistory,
    policy: ReplacementPolicy,
    now: datetime,
    faults: Sequence[FaultSighting],
) -> TreatmentDecision:
    decided, last = _decider(history), faults[-1]
    if history.machine_key is None:
        reason = f"{last.kind}: it has no machine"
        return _replace(history, policy, now, reason, unreachable=False)
    sighted = [fault for fault in faults if fault.fresh and means_unreachable(fault.kind)]
    # Somebody got through in between: what came before that is over.
    for at in reversed(range(len(faults))):
        if not means_unreachable(faults[at].kind):
            sighted = [fault for fault in sighted if fault.at > faults[at].at]
            break
    enough = len(sighted) >= policy.sightings
    if enough and sighted[-1].at - sighted[0].at >= policy.sighted_for:
        reason = (
            f"{last.kind}: {len(sighted)} operations by fresh connections did not get through "
            f"within {sighted[-1].at - sighted[0].at}"
        )
        return _replace(history, policy, now, reason, unreachable=True)
    seen = (
        f"{last.kind}: {len(sighted)} of {policy.sightings} fresh connections did not get through"
    )
    if now - last.at >= policy.look_again_after:
        return decided(Treatment.LOOK_AGAIN, seen, unreachable=True)
    return decided(Treatment.LEAVE_ALONE, f"{seen}; it is looked at again soon", unreachable=True)


def _replace(
    history: RouteHistory,
    policy: ReplacementPolicy,
    now: datetime,
    reason: str,
    *,
    unreachable: bool,
) -> TreatmentDecision:
    """Replace it, unless that was done so often that another machine will not help either."""
    decided = _decider(history)
    done = sum(now - at < policy.window for at in history.replacements)
    if done >= policy.replacements:
        return decided(
            Treatment.QUARANTINE,
            f"{reason}; it was replaced {done} times within {policy.window}",
            unreachable=unreachable,
        )
    return decided(Treatment.REPLACE, reason, unreachable=unreachable)


def _decider(history: RouteHistory) -> _Decide:
    def decided(
        treatment: Treatment, reason: str, *, unreachable: bool = False
    ) -> TreatmentDecision:
        return TreatmentDecision(
            route_id=history.route_id,
            treatment=treatment,
            reason=reason,
            unreachable=unreachable,
        )

    return decided
