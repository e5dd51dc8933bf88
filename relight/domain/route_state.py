"""What a route is known to run now, and since when: one decision for whatever shows or counts it.

A record of what was proven once is not what is true now: the proof may be too old, the machine may
have fallen silent since, or be gone.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import AwareDatetime

from relight.domain.base import Message
from relight.domain.clock import is_future
from relight.domain.liveness import is_silent
from relight.domain.names import ReleaseTag
from relight.domain.reconcile.plan import ReconcilePolicy
from relight.domain.remediation import is_gone
from relight.domain.route import Route, RouteStatus
from relight.domain.route_history import means_unreachable


class RouteState(StrEnum):
    """What is known of a route now.

    `proven`: it runs its current release, by a proof that still counts. `stale`: its proof is older
    than its limit. `unreachable`: its machine is silent, or the last operation could not work on
    it. `gone`: its provider does not have the machine. `faulted`: its last operation failed.
    `unknown`: it has no proof, or its host was observed to run what our record does not know.
    `provisioning`, `failed`, `retired`: as recorded.
    """

    PROVEN = "proven"
    STALE = "stale"
    UNREACHABLE = "unreachable"
    GONE = "gone"
    FAULTED = "faulted"
    UNKNOWN = "unknown"
    PROVISIONING = "provisioning"
    FAILED = "failed"
    RETIRED = "retired"


NOT_KNOWN: Final = frozenset(
    {RouteState.STALE, RouteState.UNREACHABLE, RouteState.GONE, RouteState.UNKNOWN}
)
"""States in which nobody knows what a route runs now."""

_AS_RECORDED: Final = {
    RouteStatus.PROVISIONING: RouteState.PROVISIONING,
    RouteStatus.FAILED: RouteState.FAILED,
    RouteStatus.RETIRED: RouteState.RETIRED,
}


class RouteEvidence(Message):
    """What is on record of a route beside its own row; all None if nothing is.

    Attributes:
        silent_since: since when its machine does not answer. A proof may be newer.
        answered_at: the last answer on record of a silent machine.
        gone_since: since when each listing of its provider lacks its machine. So may it here.
        faulted_since: the first fault since its last proof, while it is faulted or failed.
    """

    silent_since: AwareDatetime | None = None
    answered_at: AwareDatetime | None = None
    gone_since: AwareDatetime | None = None
    faulted_since: AwareDatetime | None = None


class KnownState(NamedTuple):
    """What is known of a route now.

    Attributes:
        state: the state.
        since: since when it is in that state, or for a proven one, the time of its last proof; None
            if that is not on record.
        release_tag: what it is known to run; None if that is not known.
    """

    state: RouteState
    since: datetime | None
    release_tag: ReleaseTag | None = None


def known_state(
    route: Route, evidence: RouteEvidence, policy: ReconcilePolicy, now: datetime
) -> KnownState:
    """Return what is known of a route now.

    Args:
        route: its record.
        evidence: what else is on record of it.
        policy: how long a proof counts, and how long listings must lack a machine.
        now: the current time, with its time zone.
    """
    if (recorded := _AS_RECORDED.get(route.status)) is not None:
        return KnownState(recorded, evidence.faulted_since)
    proven_at = None if is_future(route.proven_at, now) else route.proven_at
    if is_gone(evidence.gone_since, proven_at, policy.replacement, now):
        return KnownState(RouteState.GONE, evidence.gone_since)
    if is_silent(evidence.silent_since, proven_at, now):
        return KnownState(RouteState.UNREACHABLE, evidence.silent_since)
    if route.status is RouteStatus.FAULTED:
        unreachable = route.fault is not None and means_unreachable(route.fault.kind)
        state = RouteState.UNREACHABLE if unreachable else RouteState.FAULTED
        return KnownState(state, evidence.faulted_since)
    if proven_at is None or route.current_release_tag is None or route.newer_version is not None:
        return KnownState(RouteState.UNKNOWN, None)
    if now - proven_at > policy.proof_lasts:
        return KnownState(RouteState.STALE, proven_at + policy.proof_lasts)
    return KnownState(RouteState.PROVEN, proven_at, route.current_release_tag)
