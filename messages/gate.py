"""What a gate knows after a wave, and what follows from it."""

from enum import StrEnum

from messages.base import Message
from messages.faults import FaultClass
from messages.names import CheckName, ReleaseTag, ScopeName


class Outcome(StrEnum):
    """What the routes so far prove about a release, at the stated confidence.

    `pass`: it fails no more often than is tolerated. `fail`: it fails more often. `inconclusive`:
    too few were seen to say either.
    """

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class GateVerdict(Message):
    """What a number of routes says about a release's failure rate.

    Attributes:
        lower_bound: the failure rate is above this, at the confidence; a share of 1.
        upper_bound: it is below this, at the confidence.
        needed: how many more routes, none of which fails, make it a pass. 0 where it is one, None
            where it is a fail.
        reason: one sentence for a person.
    """

    outcome: Outcome
    successes: int
    failures: int
    lower_bound: float
    upper_bound: float
    needed: int | None
    reason: str


class Incident(Message):
    """Trouble that no host is to blame for, however many routes met it: one thing to mend.

    Attributes:
        fault_classes: at whose door it lies: repository, provider, controller.
        kinds: which faults were seen, by their names in the table of faults.
        routes: how many routes met it.
        summary: one sentence for a person.
    """

    fault_classes: tuple[FaultClass, ...]
    kinds: tuple[str, ...]
    routes: int
    summary: str


class Decision(StrEnum):
    """How a rollout goes on after a wave.

    `promote`: to the next wave. `widen`: to a part of the next wave, and judge again. `hold`:
    nothing more starts until somebody says so, or an incident is over. `abort`: it ends here.
    """

    PROMOTE = "promote"
    WIDEN = "widen"
    HOLD = "hold"
    ABORT = "abort"


class GateDecision(Message):
    """A gate's answer after a wave.

    Attributes:
        reason: one sentence for a person.
        widen_by: how many routes the next wave may have at most, where the decision is `widen`.
        verdict: what the routes so far say, None where the strategy tolerates no stated rate.
    """

    decision: Decision
    reason: str
    widen_by: int = 0
    verdict: GateVerdict | None = None


class CheckGateInput(Message):
    """Ask a check of the operator's own whether a rollout may go on after a wave.

    Attributes:
        name: as the control plane's settings name it.
        wave: the wave that is to be judged, from 1.
    """

    name: CheckName
    release_tag: ReleaseTag
    scope: ScopeName
    wave: int


class GateChecked(Message):
    """A check's answer.

    Attributes:
        seen: what it saw, in one line.
    """

    name: CheckName
    passed: bool
    seen: str
