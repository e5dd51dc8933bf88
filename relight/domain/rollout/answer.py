"""What a rollout waits for, which hosts failed in it, and what to do: one answer for every reader.

The command line, the Temporal UI and JSON show these texts as they are.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from relight.domain.base import Message
from relight.domain.fault.advice import FaultSubject, advice_about
from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.fault.rule import Remedy
from relight.domain.fault.table import RULES
from relight.domain.image.image import ImageName
from relight.domain.names import ReleaseTag, RouteId, ScopeName, scope_track
from relight.domain.rollout.rollout import (
    Rollout,
    RolloutPhase,
    RolloutStanding,
    RolloutStatus,
    RouteOutcome,
    RouteProgress,
)

MAX_FAILED_HOSTS = 20
"""How many failed hosts an answer names; the others are counted."""

ENDED_PHASES = frozenset(
    {
        RolloutPhase.CONVERGED,
        RolloutPhase.STOPPED,
        RolloutPhase.ABORTED,
        RolloutPhase.SUPERSEDED,
    }
)

_RETRIED_BY_ITSELF = frozenset(
    {
        RouteProgress.WAITING,
        RouteProgress.SWAPPING,
        RouteProgress.REPLACING,
        RouteProgress.SOAKING,
        RouteProgress.PROVING,
        RouteProgress.TO_ROLL_BACK,
        RouteProgress.ROLLING_BACK,
    }
)
"""Progress of routes that keep the fault of their last try while the rollout works on them."""

LEFT_WITH_FAULT = (RouteProgress.FAILED, RouteProgress.NOT_ROLLED_BACK)
"""Progress of routes that failed and that the rollout leaves so."""

_AFTER_THE_FIRST = frozenset({Remedy.REPAIR, Remedy.WAIT})
"""Remedies that are another try."""


class FailedHost(Message):
    """A route that failed in a rollout, and what to do about it.

    Attributes:
        machine_key, host: its machine and address; empty if the fault names none.
        fault: the kind.
        remedy: the one of the fault's rule; `ask` for a kind of a newer version.
        advice: the rule's, for this route.
        command: what to type next; empty if the rollout continues by itself.
    """

    route_id: RouteId
    progress: RouteProgress
    machine_key: str = ""
    host: str = ""
    fault: str
    fault_class: FaultClass
    summary: str
    remedy: Remedy
    advice: str = ""
    command: str = ""


class RolloutAnswer(Message):
    """The answer to: why does it not go on?

    Attributes:
        since: start of the phase, UTC.
        waits_for: the reason for the phase, with its end if that is known.
        until: what ends the wait; empty if nothing is waited for.
        to_do: what a person can do; empty if nothing.
        failed: the failed hosts, those that are left with their fault first.
        more_failed: how many others there are.
    """

    phase: RolloutPhase
    since: datetime | None
    waits_for: str
    until: str = ""
    to_do: str = ""
    failed: tuple[FailedHost, ...] = ()
    more_failed: int = 0

    @property
    def sentence(self) -> str:
        """The phase, since when, its reason, and what an operator can do."""
        to_do = f"; to do: {self.to_do}" if self.to_do else ""
        since = f" since {self.since:%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        return f"{self.phase}{since}: {self.waits_for}{to_do}"


def answer_of(status: RolloutStatus) -> RolloutAnswer:
    """Return the answer of a rollout."""
    arguments = arguments_of(status)
    with_fault = [each for each in status.routes if each.fault is not None]
    left = sum(status.count(each) for each in LEFT_WITH_FAULT)
    count = max(len(with_fault), left)
    failed = _failed_hosts(with_fault, status)
    return RolloutAnswer(
        phase=status.phase,
        since=status.since,
        waits_for=status.detail,
        until=_until(status),
        to_do=status.to_do or to_do_about(count, arguments),
        failed=failed,
        more_failed=count - len(failed),
    )


def to_do_about(failed: int, arguments: str) -> str:
    """Return what a person can do about failed hosts; empty without any.

    Args:
        failed: how many there are.
        arguments: those of the rollout on the command line.
    """
    if not failed:
        return ""
    return f"the next command of each failed host: relight rollout why {arguments} shows it"


def host_lines(host: FailedHost) -> tuple[str, ...]:
    """Return what happened on a host and what to do, in short lines."""
    lines = [
        f"route {host.route_id} ({host.progress}): {host.summary}",
        f"fault: {host.fault} ({host.fault_class}); remedy: {host.remedy}",
    ]
    if host.advice:
        lines.append(f"what to do: {host.advice}")
    lines.append(f"next: {next_text(host)}")
    return tuple(lines)


def named_hosts(failed: Sequence[FailedHost], more: int) -> list[str]:
    """Return the lines about failed hosts, each host's further lines indented."""
    lines = []
    for host in failed:
        first, *rest = host_lines(host)
        lines += [first, *(f"  {line}" for line in rest)]
    return [*lines, more_text(more)] if more > 0 else lines


def next_text(host: FailedHost) -> str:
    """Return what to type for a failed host, or that the rollout continues by itself."""
    return host.command or "the rollout tries it again by itself"


def more_text(more: int) -> str:
    """Return how many failed hosts are not named; empty if all are."""
    return f"and {more} more" if more > 0 else ""


def rollout_arguments(what: ReleaseTag | ImageName, scope: ScopeName) -> str:
    """Return the arguments of a rollout on the command line: of a release, or of an image."""
    track = scope_track(scope)
    return what if track is None else f"{what} --track {track}"


def arguments_of(rollout: Rollout | RolloutStatus) -> str:
    """Return the arguments of a rollout on the command line."""
    return rollout_arguments(rollout.image_name or rollout.release_tag, rollout.scope)


def _failed_hosts(
    outcomes: Iterable[RouteOutcome], rollout: RolloutStatus
) -> tuple[FailedHost, ...]:
    with_fault = [(each, each.fault) for each in outcomes if each.fault is not None]
    with_fault.sort(key=lambda each: each[0].progress not in LEFT_WITH_FAULT)
    return tuple(
        _failed_host(outcome, fault, rollout) for outcome, fault in with_fault[:MAX_FAILED_HOSTS]
    )


def _failed_host(outcome: RouteOutcome, fault: Fault, rollout: RolloutStatus) -> FailedHost:
    rule = RULES.get(fault.kind)
    remedy = rule.remedy if rule else Remedy.ASK
    subject = FaultSubject(
        outcome.route_id,
        rollout.release_tag,
        machine_key=fault.machine_key,
        image=rollout.image_name,
    )
    return FailedHost(
        route_id=outcome.route_id,
        progress=outcome.progress,
        machine_key=fault.machine_key or "",
        host=fault.host or "",
        fault=fault.kind,
        fault_class=fault.fault_class,
        summary=fault.summary,
        remedy=remedy,
        advice=advice_about(fault.kind, subject),
        command=_command(outcome, fault, remedy, rollout),
    )


def _command(outcome: RouteOutcome, fault: Fault, remedy: Remedy, rollout: RolloutStatus) -> str:
    route_id = outcome.route_id
    if outcome.progress in _RETRIED_BY_ITSELF and rollout.phase not in ENDED_PHASES:
        return ""
    if outcome.progress is RouteProgress.NOT_ROLLED_BACK:
        return f"relight route rollback {route_id}"
    if outcome.progress is not RouteProgress.FAILED:
        return f"relight route show {route_id}"
    return _command_for_failed(route_id, fault, remedy, rollout)


def _command_for_failed(
    route_id: RouteId, fault: Fault, remedy: Remedy, rollout: RolloutStatus
) -> str:
    arguments = arguments_of(rollout)
    if rollout.image_name is not None:  # The route is on its old machine, with its own release.
        if rollout.phase is RolloutPhase.RUNNING:
            return f"relight rollout retry {arguments}"
        return f"relight route show {route_id}"
    if remedy is Remedy.REPLACE:
        return f"relight route replace {route_id} --reason {fault.kind}"
    if rollout.phase is RolloutPhase.RUNNING and (rollout.undo or remedy in _AFTER_THE_FIRST):
        return f"relight rollout retry {arguments}"
    if rollout.undo:
        return f"relight rollout undo {arguments}"
    if remedy in _AFTER_THE_FIRST:
        return f"relight route swap {route_id} {rollout.release_tag}"
    if remedy is Remedy.ROLL_BACK:
        return f"relight route rollback {route_id}"
    return f"relight route show {route_id}"


def _until(standing: RolloutStatus | RolloutStanding) -> str:
    if standing.phase is RolloutPhase.PAUSED:
        return "a person resumes or aborts it"
    if standing.phase is RolloutPhase.SOAKING:
        return "the soak is over"
    if standing.phase is RolloutPhase.HOLDING:
        by_person = "relight rollout approve" in standing.to_do
        return "a person approves or aborts it" if by_person else "the cause is gone"
    return ""
