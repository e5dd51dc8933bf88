"""What a route that does not fare well needs: another look, a repair, another machine, a person."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import AwareDatetime, Field

from relight.domain.base import Message
from relight.domain.breaker.breaker import MachineObservation
from relight.domain.fault.fault import FaultClass
from relight.domain.fault.table import RULES, Remedy
from relight.domain.machine import DestroyMachineInput
from relight.domain.names import RouteId
from relight.domain.rollout.gate import BUDGETED
from relight.domain.route import Route
from relight.domain.sweep.sweep import (
    MachineAtProvider,
    MachineOnRecord,
    RecordedAs,
)


class ObservedFault(Message):
    """A fault that an operation met on a route.

    Attributes:
        kind: by its name in the table of faults.
        machine_key: the machine that it was met on, None where there was none yet.
        fresh: the connection was opened for this very operation. One that broke under it says
            nothing about whether the host can be reached.
        drifted: a mere look met it, on a machine that was proven at the same release: whatever
            the kind, the release ran there, and something was changed since.
    """

    at: AwareDatetime
    kind: str
    machine_key: str | None = None
    fresh: bool = True
    drifted: bool = False


class RouteHistory(Message):
    """What happened to a route lately.

    Attributes:
        machine_key: the machine that serves it now, None where it has none.
        proven_at: when it was last proven on that machine.
        faults: those that were met lately, in any order.
        repairs: when a swap was begun lately to mend it.
        replacements: when another machine was looked for lately, whatever came of it.
        gone_since: since when its provider, asked again and again, does not have the machine.
        asked_by: who asked for another machine, None where nobody did.
        faulted: what was last done to it failed.
        quarantined: it was taken out of the machinery's hands, until a person gives it back.
    """

    route_id: RouteId
    machine_key: str | None
    proven_at: AwareDatetime | None = None
    faults: tuple[ObservedFault, ...] = ()
    repairs: tuple[AwareDatetime, ...] = ()
    replacements: tuple[AwareDatetime, ...] = ()
    gone_since: AwareDatetime | None = None
    asked_by: str | None = None
    faulted: bool = False
    quarantined: bool = False


class ReplacementPolicy(Message):
    """How much it takes to repair a route, to replace its machine, and to give it up.

    Attributes:
        unreachable_observations: how many operations have to fail to get through, each by a fresh connection.
        unreachable_for: how far the first and the last of these lie apart at the least.
        verify_after: how long after a fault the route is looked at again.
        repairs: how many repairs are tried before the machine is replaced.
        repair_after: how long after the last repair began the next one may.
        gone_for: how long a provider has to say that a machine is gone.
        replacements: a route that had so many within the window is quarantined.
        window: how far back replacements, and faults, count.
    """

    unreachable_observations: int = Field(default=3, ge=2)
    unreachable_for: timedelta = Field(default=timedelta(minutes=10), gt=timedelta(0))
    verify_after: timedelta = Field(default=timedelta(minutes=3), ge=timedelta(0))
    repairs: int = Field(default=2, ge=1)
    repair_after: timedelta = Field(default=timedelta(minutes=10), ge=timedelta(0))
    gone_for: timedelta = Field(default=timedelta(minutes=5), gt=timedelta(0))
    replacements: int = Field(default=3, ge=1)
    window: timedelta = Field(default=timedelta(hours=24), gt=timedelta(0))


class Remediation(StrEnum):
    """What is done about a route.

    `look again`: prove it by a fresh connection, which changes nothing. `repair`: swap it once more
    to what it should run. `replace`: give it another machine. `quarantine`: leave it to a person,
    and touch it no more.
    """

    LEAVE_ALONE = "leave alone"
    VERIFY = "look again"
    REPAIR = "repair"
    REPLACE = "replace"
    QUARANTINE = "quarantine"


class RemediationDecision(Message):
    """What is done about a route, and why.

    Attributes:
        reason: one sentence for a person.
        unreachable: nobody got through to its machine: what the breaker counts.
    """

    route_id: RouteId
    remediation: Remediation
    reason: str
    unreachable: bool = False


_Decide = Callable[..., RemediationDecision]


def means_unreachable(kind: str) -> bool:
    """Say whether a kind of fault means that nobody can work on the machine: the breaker counts it.

    These are the faults whose remedy is another machine. A changed client key, say, makes all hosts
    refuse us at once: each of them would be replaced, had the breaker not been told.
    """
    rule = RULES.get(kind)
    return rule is not None and rule.remedy is Remedy.REPLACE


def observation_of(route: Route, history: RouteHistory) -> MachineObservation | None:
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
    observed_at, reached = max(looks, default=(None, False))
    return MachineObservation(
        key=machine.key,
        provider=route.provider,
        region=route.region,
        track=route.track,
        observed_at=observed_at,
        reached=reached,
    )


def decide_remediation(
    history: RouteHistory, policy: ReplacementPolicy, now: datetime
) -> RemediationDecision:
    """Return what is done about a route.

    Only what was met on its present machine since the last proof counts, and the last fault
    decides. An operator's word counts more than anything but the breaker and the budgets, which
    are not asked here. Faults that a person has to decide about, or that no host is to blame for,
    are left alone.

    Args:
        history: what happened to it lately.
        policy: how much each remediation takes.
        now: the instant that is asked about, with its time zone.
    """
    decided = _decider(history)
    if history.asked_by is not None:
        return decided(Remediation.REPLACE, f"{history.asked_by} asked for another machine")
    if history.quarantined:
        return decided(Remediation.QUARANTINE, "it is in quarantine until a person ends that")
    if history.gone_since is not None and now - history.gone_since >= policy.gone_for:
        proven = history.proven_at is not None and history.proven_at >= history.gone_since
        if not proven:
            reason = "its provider says that its machine is gone"
            return _replace(history, policy, now, reason, unreachable=True)
    faults = _that_count(history, policy, now)
    if not faults:
        if history.faulted and history.machine_key is not None:
            return decided(Remediation.VERIFY, "it is faulted, and nobody looked for long")
        return decided(Remediation.LEAVE_ALONE, "nothing is known against it")
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
    faults: Sequence[ObservedFault],
) -> RemediationDecision:
    decided, last = _decider(history), faults[-1]
    # Another's machine may have answered: whatever came after is not known to be of our host.
    if any(fault.kind == "host-key-mismatch" for fault in faults):
        return decided(Remediation.LEAVE_ALONE, "another host key answered: a person has to look")
    rule = RULES.get(last.kind)
    remedy = rule.remedy if rule else Remedy.ASK
    # Where it ran once it can be made to run again; what a swap itself met is the release's.
    if remedy is Remedy.REPAIR or (remedy is Remedy.ROLL_BACK and last.drifted):
        return _repair(history, policy, now, faults)
    if remedy is Remedy.REPLACE:
        return _out_of_reach(history, policy, now, faults)
    if remedy is Remedy.WAIT and history.faulted and now - last.at >= policy.verify_after:
        return decided(Remediation.VERIFY, f"{last.kind}: no host is to blame")
    reason = {
        Remedy.ROLL_BACK: f"{last.kind}: the release is to blame, and another host would not help",
        Remedy.WAIT: f"{last.kind}: no host is to blame",
        Remedy.NONE: f"{last.kind}: nothing was changed",
    }.get(remedy, f"{last.kind}: a person has to decide")
    return decided(Remediation.LEAVE_ALONE, reason)


def _class_of(kind: str) -> FaultClass | None:
    rule = RULES.get(kind)
    return rule.fault_class if rule else None


def _that_count(
    history: RouteHistory, policy: ReplacementPolicy, now: datetime
) -> list[ObservedFault]:
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
    faults: Sequence[ObservedFault],
) -> RemediationDecision:
    decided, last = _decider(history), faults[-1]
    if history.machine_key is None:
        return decided(Remediation.LEAVE_ALONE, f"{last.kind}: it has no machine to repair")
    tried = sorted(
        at
        for at in history.repairs
        if (history.proven_at is None or at > history.proven_at) and at >= faults[0].at
    )
    if len(tried) >= policy.repairs:
        if last.at < tried[-1] and now - tried[-1] < policy.repair_after:
            return decided(Remediation.LEAVE_ALONE, f"{last.kind}: its last repair is under way")
        reason = f"{last.kind}: {len(tried)} repairs did not cure it"
        return _replace(history, policy, now, reason, unreachable=False)
    if tried and now - tried[-1] < policy.repair_after:
        return decided(
            Remediation.LEAVE_ALONE,
            f"{last.kind}: the last repair began less than {policy.repair_after} ago",
        )
    return decided(
        Remediation.REPAIR, f"{last.kind}: repair {len(tried) + 1} of {policy.repairs} at the most"
    )


def _out_of_reach(
    history: RouteHistory,
    policy: ReplacementPolicy,
    now: datetime,
    faults: Sequence[ObservedFault],
) -> RemediationDecision:
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
    enough = len(sighted) >= policy.unreachable_observations
    if enough and sighted[-1].at - sighted[0].at >= policy.unreachable_for:
        reason = (
            f"{last.kind}: {len(sighted)} operations by fresh connections did not get through "
            f"within {sighted[-1].at - sighted[0].at}"
        )
        return _replace(history, policy, now, reason, unreachable=True)
    seen = f"{last.kind}: {len(sighted)} of {policy.unreachable_observations} fresh connections did not get through"
    if now - last.at >= policy.verify_after:
        return decided(Remediation.VERIFY, seen, unreachable=True)
    return decided(Remediation.LEAVE_ALONE, f"{seen}; it is looked at again soon", unreachable=True)


def _replace(
    history: RouteHistory,
    policy: ReplacementPolicy,
    now: datetime,
    reason: str,
    *,
    unreachable: bool,
) -> RemediationDecision:
    """Replace it, unless that was done so often that another machine will not help either."""
    decided = _decider(history)
    done = sum(now - at < policy.window for at in history.replacements)
    if done >= policy.replacements:
        return decided(
            Remediation.QUARANTINE,
            f"{reason}; it was replaced {done} times within {policy.window}",
            unreachable=unreachable,
        )
    return decided(Remediation.REPLACE, reason, unreachable=unreachable)


def _decider(history: RouteHistory) -> _Decide:
    def decided(
        remediation: Remediation, reason: str, *, unreachable: bool = False
    ) -> RemediationDecision:
        return RemediationDecision(
            route_id=history.route_id,
            remediation=remediation,
            reason=reason,
            unreachable=unreachable,
        )

    return decided


# MERGEDOC """What a route that does not fare well needs, and which machine may be destroyed for it."""
