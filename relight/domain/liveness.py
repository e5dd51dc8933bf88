"""Liveness: whether machines answer at all. A proof says what they run.

The probe of a machine reads the identification line of its sshd. That proves that the machine is on
the network and that its sshd works, and nothing else: neither whose machine it is, nor that we may
log in, nor that the service runs. So an answer never counts as a reached machine. Silence is
evidence of a failure: it is shown, the breaker counts it, and the route is verified by a fresh
login at once. Only faults that verifications find lead to a replacement.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import AwareDatetime, Field

from relight.domain.base import Message, Origin
from relight.domain.names import RouteId

LIVENESS_WORKFLOW_ID: Final = "check-liveness"

RENEW_AFTER: Final = timedelta(minutes=15)
"""How old the recorded answer of a machine that answers may become: a check of a fleet in which
nothing changes writes for few machines."""


class ProbeResult(StrEnum):
    """The result of a probe.

    `answered`: the machine's sshd identified itself. `silent`: it did not within the timeout.
    `not probed`: the fault is the control plane's own, as when it has no socket left.
    """

    ANSWERED = "answered"
    SILENT = "silent"
    NOT_PROBED = "not probed"


class Liveness(Message):
    """Whether a machine answers.

    Attributes:
        machine_key: the machine's.
        answers: whether it answered the last probe.
        since: since when it answers, or has been silent.
        answered_at: its last answer on record, up to `RENEW_AFTER` before its last one; None if it
            never answered.
    """

    machine_key: str
    answers: bool
    since: AwareDatetime
    answered_at: AwareDatetime | None = None


class MachineToProbe(NamedTuple):
    """A machine that serves a route or waits in the pool.

    Attributes:
        key: the machine's.
        address: as for SSH.
        route_id: the route that it serves; None in the pool.
        serving: the route's record says that it serves.
        proven_at: the last proof on this machine; None without one.
        known: what is on record; None before its first probe.
    """

    key: str
    address: str
    route_id: RouteId | None
    serving: bool
    proven_at: datetime | None
    known: Liveness | None


class LivenessCheck(Message):
    """One check of all machines.

    Attributes:
        began_at: when it began, UTC.
        machines: how many were probed.
        silent: how many of them did not answer.
        not_probed: how many could not be probed, which is the control plane's own fault.
        offline: why machines that fell silent were not recorded as silent; empty if they were.
    """

    began_at: AwareDatetime
    machines: int = Field(default=0, ge=0)
    silent: int = Field(default=0, ge=0)
    not_probed: int = Field(default=0, ge=0)
    offline: str = ""


class CheckLivenessInput(Message):
    """Probe every machine.

    Attributes:
        after: the key after which the check continues; empty for all machines.
        so_far: the result of the machines up to there; None at the beginning.
        to_verify: whether something was found there that calls for verifications.
    """

    origin: Origin
    after: str = ""
    so_far: LivenessCheck | None = None
    to_verify: bool = False


class ProbeMachinesInput(Message):
    """Probe the next machines, in the order of their keys.

    Attributes:
        after: the key of the last machine before them.
    """

    after: str
    origin: Origin


class MachinesProbed(Message):
    """The result of one page.

    Attributes:
        last: the key of its last machine; None if there are no more machines.
        offline: as in `LivenessCheck`.
        changed: how many fell silent, or answer again.
        unverified: how many serving routes have a silent machine that no verification has looked
            at since.
    """

    last: str | None
    machines: int = 0
    silent: int = 0
    not_probed: int = 0
    offline: str = ""
    changed: int = 0
    unverified: int = 0


class RecordLivenessCheckInput(Message):
    """Record that a check has ended."""

    check: LivenessCheck
    origin: Origin


def is_silent(since: datetime | None, proven_at: datetime | None, now: datetime) -> bool:
    """Return whether a machine counts as silent.

    A proof after it fell silent shows that it answers again. One from the future shows nothing.

    Args:
        since: since when it has been silent on record; None if it is not.
        proven_at: its last proof.
        now: the current time.
    """
    return since is not None and not (proven_at is not None and since <= proven_at <= now)


def silent_since(machine: MachineToProbe, now: datetime) -> datetime | None:
    """Return since when a machine counts as silent, by its record; None if it does not."""
    since = machine.known.since if machine.known and not machine.known.answers else None
    return since if is_silent(since, machine.proven_at, now) else None


def change_of(machine: MachineToProbe, result: ProbeResult, now: datetime) -> Liveness | None:
    """Return what a probe changes in the record of a machine; None if nothing.

    Args:
        machine: as it was read before the probe.
        result: of the probe.
        now: the time of the probe.
    """
    known, key = machine.known, machine.key
    if result is ProbeResult.NOT_PROBED:
        return None
    if result is ProbeResult.SILENT:
        if silent_since(machine, now) is not None:
            return None
        answered_at = known.answered_at if known else None
        return Liveness(machine_key=key, answers=False, since=now, answered_at=answered_at)
    if known is None or not known.answers:
        return Liveness(machine_key=key, answers=True, since=now, answered_at=now)
    if known.answered_at is None or now - known.answered_at >= RENEW_AFTER:
        return known.model_copy(update={"answered_at": now})
    return None
