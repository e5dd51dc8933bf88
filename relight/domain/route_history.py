"""The recent history of a route, and the last observation of its machine that follows from it."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from pydantic import AwareDatetime

from relight.domain.base import Message
from relight.domain.breaker.breaker import MachineObservation
from relight.domain.fault.fault import BUDGETED_CLASSES, FaultClass
from relight.domain.fault.rule import Remedy
from relight.domain.fault.table import RULES, locks_out
from relight.domain.names import RouteId
from relight.domain.route import Route


class ObservedFault(Message):
    """A fault of an operation on a route.

    Attributes:
        kind: its name in the table of faults.
        machine_key: the machine that had it, None if there was none yet.
        fresh: the connection was opened for this operation. A reused connection that breaks does
            not show whether the host can be reached.
        drifted: verification found it on a machine that was proven at the same release. Whatever
            the kind, the release ran there, and something has changed since.
    """

    at: AwareDatetime
    kind: str
    machine_key: str | None = None
    fresh: bool = True
    drifted: bool = False


class Quarantine(Message):
    """A route that automation leaves to a person.

    Attributes:
        since: UTC.
        reason: one sentence for a person.
    """

    since: AwareDatetime
    reason: str


class RouteHistory(Message):
    """The recent history of a route.

    Attributes:
        machine_key: the machine that serves it now, None without one.
        proven_at: when it was last proven on that machine.
        faults: recent faults, in any order.
        repairs: start times of recent repair swaps.
        replacements: start times of recent replacements, successful or not.
        gone_since: since when its provider has reported, at every query, that it does not have
            the machine.
        silent_since: since when its machine has not answered the liveness probe, None if it does.
        answers_since: since when its machine answers the liveness probe.
        replacement_requested_by: the person who requested another machine, None if nobody did.
        faulted: its last operation failed.
        quarantined: automation leaves it to a person until a command ends the quarantine.
        doubt: why its record may be old, None if nothing speaks for that.
        absent: since `gone_since` the provider was also asked for the machine itself, and had none,
            and a connection to it failed.
    """

    route_id: RouteId
    machine_key: str | None
    proven_at: AwareDatetime | None = None
    faults: tuple[ObservedFault, ...] = ()
    repairs: tuple[AwareDatetime, ...] = ()
    replacements: tuple[AwareDatetime, ...] = ()
    gone_since: AwareDatetime | None = None
    silent_since: AwareDatetime | None = None
    answers_since: AwareDatetime | None = None
    replacement_requested_by: str | None = None
    faulted: bool = False
    quarantined: bool = False
    doubt: str | None = None
    absent: bool = False


def means_unreachable(kind: str) -> bool:
    """Return whether a kind of fault means that no work is possible on the machine.

    These are the faults whose remedy is `replace`, and those by which the host locks the control
    plane out. The breaker counts all of them. Example: a changed client key makes all hosts refuse
    us at once; without the breaker each of them would be replaced.
    """
    rule = RULES.get(kind)
    return rule is not None and (rule.remedy is Remedy.REPLACE or rule.locks_out)


def observation_of(route: Route, history: RouteHistory) -> MachineObservation | None:
    """Return the last observation of a route's machine; None without a machine.

    Args:
        route: the route.
        history: its recent history.
    """
    machine = route.machine
    if machine is None:
        return None
    faults = [fault for fault in history.faults if fault.machine_key == machine.key]
    last = last_observation(route.proven_at, faults, history.gone_since, history.silent_since)
    return MachineObservation(
        key=machine.key,
        provider=route.provider,
        region=route.region,
        track=route.track,
        observed_at=last.at,
        reached=last.reached,
        locked_out_by=last.locked_out_by,
        locked_out_since=last.locked_out_since,
    )


class LastObservation(NamedTuple):
    """When a machine was last observed, and how; the attributes are those of an observation."""

    at: datetime | None = None
    reached: bool = False
    locked_out_by: str | None = None
    locked_out_since: datetime | None = None


def last_observation(
    proven_at: datetime | None,
    faults: Iterable[ObservedFault],
    gone_since: datetime | None = None,
    silent_since: datetime | None = None,
) -> LastObservation:
    """Return the last observation of a machine, whether of a route or of the pool.

    A proof is an observation, and so are a fault of class host or release, and silence. An
    operation with a fault of another class may never have reached the host.

    Args:
        proven_at: when it was last proven; None if never.
        faults: its recent faults, in any order.
        gone_since: since when its provider reports that it is gone; None if it does not.
        silent_since: since when it has not answered the liveness probe; None if it does.
    """
    faults = list(faults)
    since = [
        each.at
        for each in faults
        if locks_out(each.kind) and (proven_at is None or each.at > proven_at)
    ]
    observed = [LastObservation(proven_at, reached=True)] if proven_at is not None else []
    observed += [
        LastObservation(
            fault.at,
            reached=not means_unreachable(fault.kind),
            locked_out_by=fault.kind if locks_out(fault.kind) else None,
            locked_out_since=min(since, default=None) if locks_out(fault.kind) else None,
        )
        for fault in faults
        if means_unreachable(fault.kind) or _class_of(fault.kind) in BUDGETED_CLASSES
    ]
    if gone_since is not None:
        observed.append(LastObservation(gone_since))
    # Silence counts as a failure to reach it. An answer does not count: it proves no login.
    if silent_since is not None:
        observed.append(LastObservation(silent_since))
    return max(observed, key=lambda each: (each.at, each.reached), default=LastObservation())


def _class_of(kind: str) -> FaultClass | None:
    rule = RULES.get(kind)
    return rule.fault_class if rule else None
