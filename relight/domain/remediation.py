"""Remediation: what is done about a faulty route: verify, repair, replace or quarantine."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import Field

from relight.domain.base import Message
from relight.domain.duration import Duration, span
from relight.domain.fault.rule import Remedy
from relight.domain.fault.table import RULES, locks_out
from relight.domain.liveness import is_silent
from relight.domain.names import RouteId
from relight.domain.route_history import ObservedFault, RouteHistory, means_unreachable

SETTINGS_DIFFER = "host-settings-differ"
"""The kind of a drift whose repair is no sign of a bad host, however often it is tried."""


class ReplacementPolicy(Message):
    """Thresholds for verifying, repairing, replacing and quarantining a route.

    Attributes:
        unreachable_observations: how many operations with fresh connections must fail to reach the
            machine before it is replaced.
        unreachable_for: the minimum time between the first and the last of them.
        verify_after: how long after a fault the route is verified.
        repairs: how many repairs are tried before the machine is replaced.
        repair_after: the minimum time between the starts of two repairs.
        gone_for: how long a provider must report that a machine is gone.
        replacements: a route with so many replacements within the window is quarantined.
        window: older replacements and faults do not count.
    """

    unreachable_observations: int = Field(default=3, ge=2)
    unreachable_for: Duration = Field(default=timedelta(minutes=10), gt=timedelta(0))
    verify_after: Duration = Field(default=timedelta(minutes=3), ge=timedelta(0))
    repairs: int = Field(default=2, ge=1)
    repair_after: Duration = Field(default=timedelta(minutes=10), ge=timedelta(0))
    gone_for: Duration = Field(default=timedelta(minutes=5), gt=timedelta(0))
    replacements: int = Field(default=3, ge=1)
    window: Duration = Field(default=timedelta(hours=24), gt=timedelta(0))


class Remediation(StrEnum):
    """What is done about a route.

    `verify`: observe it through a fresh connection; nothing is changed. `repair`: swap it again to
    what it should run. `replace`: give it another machine. `quarantine`: leave it to a person.
    """

    LEAVE_ALONE = "leave alone"
    VERIFY = "verify"
    REPAIR = "repair"
    REPLACE = "replace"
    QUARANTINE = "quarantine"


class RemediationDecision(Message):
    """What is done about a route, and why.

    Attributes:
        reason: one sentence for a person.
        unreachable: its machine could not be reached; the breaker counts that.
        requested: a person asked for it.
        gone: its provider does not have the machine.
    """

    route_id: RouteId
    remediation: Remediation
    reason: str
    unreachable: bool = False
    requested: bool = False
    gone: bool = False


_Decide = Callable[..., RemediationDecision]


def is_missing(history: RouteHistory, policy: ReplacementPolicy, now: datetime) -> bool:
    """Return whether the listings of a provider have lacked a route's machine for long enough."""
    return is_gone(history.gone_since, history.proven_at, policy, now)


def is_gone(
    gone_since: datetime | None,
    proven_at: datetime | None,
    policy: ReplacementPolicy,
    now: datetime,
) -> bool:
    """Return whether listings have lacked a machine for long enough, and since its last proof.

    Args:
        gone_since: since when each listing lacks it; None if the last one had it.
        proven_at: its last proof; None without one.
        policy: how long listings must lack it.
        now: the current time, with its time zone.
    """
    if gone_since is None or now - gone_since < policy.gone_for:
        return False
    return proven_at is None or proven_at < gone_since


def decide_remediation(
    history: RouteHistory,
    policy: ReplacementPolicy,
    now: datetime,
    *,
    several_locked_out: bool = False,
) -> RemediationDecision:
    """Return what is done about a route. The caller applies the breaker and the budgets.

    Only faults of its current machine since the last proof count, and the last fault decides. An
    operator's request comes before everything else. A route is left alone if a person has to
    decide, or if no host is to blame.

    Args:
        history: its recent history.
        policy: the thresholds of each remediation.
        now: the current time, with its time zone.
        several_locked_out: its machine locks the control plane out, and others do so too. Then the
            cause may be here, and it is verified in each run.
    """
    decided = _decider(history)
    if history.replacement_requested_by is not None:
        reason = f"{history.replacement_requested_by} asked for another machine"
        return decided(Remediation.REPLACE, reason).model_copy(update={"requested": True})
    if history.quarantined:
        reason = f"it is in quarantine until `relight route release {history.route_id}`"
        return decided(Remediation.QUARANTINE, reason)
    if history.doubt is not None:
        reason = f"our records may be old: {history.doubt}; `relight store check` compares them"
        return decided(Remediation.LEAVE_ALONE, reason)
    # A listing may lack a machine that exists. It is searched for itself, too.
    if history.absent and is_missing(history, policy, now):
        reason = "its provider reports that its machine is gone, and it does not answer"
        return _replace(history, policy, now, reason, unreachable=True, gone=True)
    faults = _current_faults(history, policy, now)
    if _is_newly_silent(history, faults, now):
        reason = f"its machine has been silent since {history.silent_since:%Y-%m-%d %H:%M:%S} UTC"
        return decided(Remediation.VERIFY, reason, unreachable=True)
    if not faults:
        if history.faulted and history.machine_key is not None:
            return decided(Remediation.VERIFY, "it is faulted, and was not verified for long")
        return decided(Remediation.LEAVE_ALONE, "it has no known fault")
    return _by_faults(history, policy, now, faults, several_locked_out=several_locked_out)


def _by_faults(
    history: RouteHistory,
    policy: ReplacementPolicy,
    now: datetime,
    faults: Sequence[ObservedFault],
    *,
    several_locked_out: bool,
) -> RemediationDecision:
    decided, last = _decider(history), faults[-1]
    foreign = any(fault.kind == "host-key-mismatch" for fault in faults)
    if several_locked_out:
        decision = _unreachable(history, policy, now, faults)
        if foreign or decision.remediation is not Remediation.REPLACE:
            kind = next((each.kind for each in reversed(faults) if locks_out(each.kind)), last.kind)
            reason = f"{kind}, on other machines too: the control plane's own key may be wrong"
            return decided(Remediation.VERIFY, reason, unreachable=True)
        return decision
    # A foreign machine may have answered, so later faults may not be about our host.
    if foreign:
        return decided(
            Remediation.LEAVE_ALONE,
            "another host key answered: a person has to check the host, see "
            f"`relight route show {history.route_id}`",
            unreachable=True,
        )
    rule = RULES.get(last.kind)
    remedy = rule.remedy if rule else Remedy.ASK
    # A release that ran here can be repaired here. A fault of the swap itself is the release's.
    if last.kind != SETTINGS_DIFFER:
        faults = [fault for fault in faults if fault.kind != SETTINGS_DIFFER]
    if remedy is Remedy.REPAIR or (remedy is Remedy.ROLL_BACK and last.drifted):
        return _repair(history, policy, now, faults)
    if remedy is Remedy.REPLACE:
        return _unreachable(history, policy, now, faults)
    if remedy is Remedy.WAIT and history.faulted and now - last.at >= policy.verify_after:
        return decided(Remediation.VERIFY, f"{last.kind}: no host is to blame")
    reason = {
        Remedy.ROLL_BACK: f"{last.kind}: the release is to blame, and another host would not "
        f"help; `relight route rollback {history.route_id}` goes back to the last proven release",
        Remedy.WAIT: f"{last.kind}: no host is to blame",
        Remedy.NONE: f"{last.kind}: nothing was changed",
    }.get(
        remedy, f"{last.kind}: a person has to decide, see `relight route show {history.route_id}`"
    )
    return decided(Remediation.LEAVE_ALONE, reason)


def _is_newly_silent(history: RouteHistory, faults: Sequence[ObservedFault], now: datetime) -> bool:
    """Return whether its machine fell silent after the last fault and proof: nobody looked yet.

    Silence by itself leads to no more than a verification, whose fault then counts.
    """
    since = history.silent_since
    if since is None or not is_silent(since, history.proven_at, now):
        return False
    # Whether the machine is ours is a question for a person, and no verification answers it.
    if any(fault.kind == "host-key-mismatch" for fault in faults):
        return False
    return history.machine_key is not None and (not faults or faults[-1].at < since)


def _current_faults(
    history: RouteHistory, policy: ReplacementPolicy, now: datetime
) -> list[ObservedFault]:
    """Return the faults that concern the route's current state, oldest first."""
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
    if last.kind != SETTINGS_DIFFER and len(tried) >= policy.repairs:
        if last.at < tried[-1] and now - tried[-1] < policy.repair_after:
            return decided(Remediation.LEAVE_ALONE, f"{last.kind}: its last repair is in progress")
        reason = f"{last.kind}: {len(tried)} repairs did not help"
        return _replace(history, policy, now, reason, unreachable=False)
    if tried and now - tried[-1] < policy.repair_after:
        return decided(
            Remediation.LEAVE_ALONE,
            f"{last.kind}: the last repair began less than {span(policy.repair_after)} ago",
        )
    if last.kind == SETTINGS_DIFFER:
        return decided(Remediation.REPAIR, f"{last.kind}: they are written again")
    return decided(
        Remediation.REPAIR, f"{last.kind}: repair {len(tried) + 1} of at most {policy.repairs}"
    )


def _unreachable(
    history: RouteHistory,
    policy: ReplacementPolicy,
    now: datetime,
    faults: Sequence[ObservedFault],
) -> RemediationDecision:
    decided, last = _decider(history), faults[-1]
    if history.machine_key is None:
        reason = f"{last.kind}: it has no machine"
        return _replace(history, policy, now, reason, unreachable=False)
    if history.answers_since is not None and history.answers_since > last.at:
        reason = f"its machine answered again at {history.answers_since:%Y-%m-%d %H:%M:%S} UTC"
        return decided(Remediation.VERIFY, reason)
    failed = failed_connections(faults)
    reason = f"{last.kind}: {_connections_text(failed)}"
    if is_unreachable(failed, policy):
        return _replace(history, policy, now, reason, unreachable=True)
    reason += (
        f"; the machine is given up after {policy.unreachable_observations} over "
        f"{span(policy.unreachable_for)}"
    )
    if now - last.at >= policy.verify_after:
        return decided(Remediation.VERIFY, reason, unreachable=True)
    return decided(Remediation.LEAVE_ALONE, f"{reason}; it will be verified soon", unreachable=True)


def failed_connections(faults: Sequence[ObservedFault]) -> Sequence[ObservedFault]:
    """Return the operations with fresh connections that failed to work on a machine.

    An operation that reached the machine clears the failures before it.

    Args:
        faults: of the machine since its last proof, oldest first.
    """
    failed = [fault for fault in faults if fault.fresh and means_unreachable(fault.kind)]
    for at in reversed(range(len(faults))):
        if not means_unreachable(faults[at].kind):
            return [fault for fault in failed if fault.at > faults[at].at]
    return failed


def _connections_text(failed: Sequence[ObservedFault]) -> str:
    """Return how many connections failed, and within which time."""
    if len(failed) < 2:
        return f"{len(failed) or 'no'} operation with a fresh connection failed"
    within = span(failed[-1].at - failed[0].at)
    return f"{len(failed)} operations with fresh connections failed within {within}"


def is_unreachable(failed: Sequence[ObservedFault], policy: ReplacementPolicy) -> bool:
    """Return whether so many connections failed, over so long, that the machine is given up."""
    enough = len(failed) >= policy.unreachable_observations
    return enough and failed[-1].at - failed[0].at >= policy.unreachable_for


def _replace(
    history: RouteHistory,
    policy: ReplacementPolicy,
    now: datetime,
    reason: str,
    *,
    unreachable: bool,
    gone: bool = False,
) -> RemediationDecision:
    """Replace the machine; quarantine the route if it was replaced too often."""
    decided = _decider(history)
    done = sum(now - at < policy.window for at in history.replacements)
    if done >= policy.replacements:
        return decided(
            Remediation.QUARANTINE,
            f"{reason}; it was replaced {done} times within {span(policy.window)}",
            unreachable=unreachable,
        )
    return decided(Remediation.REPLACE, reason, unreachable=unreachable, gone=gone)


def _decider(history: RouteHistory) -> _Decide:
    def decided(
        remediation: Remediation, reason: str, *, unreachable: bool = False, gone: bool = False
    ) -> RemediationDecision:
        return RemediationDecision(
            route_id=history.route_id,
            remediation=remediation,
            reason=reason,
            unreachable=unreachable,
            gone=gone,
        )

    return decided
