"""What a gate knows after a wave, and what follows from it."""

from collections.abc import Iterable
from enum import StrEnum

from relight.domain.base import Message
from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.names import (
    CheckName,
    ReleaseTag,
    ScopeName,
)
from relight.domain.rollout.binomial import (
    at_least,
    at_most,
    lower_bound,
    trials_needed,
    upper_bound,
)
from relight.domain.rollout.rollout import Inconclusive, Strategy


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


def outcome(
    successes: int, failures: int, confidence: float, tolerated_failure_rate: float
) -> Outcome:
    """Return what so many routes prove.

    A pass, where a release that fails just as often as is tolerated would show so few failures
    with no more than the probability 1 - confidence; a fail, where it would show so many.

    Args:
        successes: routes that were proven at the release.
        failures: routes that failed by a fault of their host or of the release.
        confidence: how sure the verdict has to be, 0.5 up to but not 1.
        tolerated_failure_rate: of a good release, 0 to 1, both excluded.
    """
    seen = successes + failures
    if at_most(failures, seen, tolerated_failure_rate) <= 1 - confidence:
        return Outcome.PASS
    if at_least(failures, seen, tolerated_failure_rate) <= 1 - confidence:
        return Outcome.FAIL
    return Outcome.INCONCLUSIVE


def verdict(
    successes: int, failures: int, confidence: float, tolerated_failure_rate: float
) -> GateVerdict:
    """Return what so many routes prove, and what is known of the failure rate.

    It takes what `outcome` takes.
    """
    seen = successes + failures
    found = outcome(successes, failures, confidence, tolerated_failure_rate)
    lower = lower_bound(failures, seen, confidence)
    upper = upper_bound(failures, seen, confidence)
    sure, tolerated = f"at {_percent(confidence)} confidence", _percent(tolerated_failure_rate)
    below, above = (_beside(bound, tolerated_failure_rate) for bound in (upper, lower))
    reason = f"{failures} of {seen} failed: the failure rate is "
    needed: int | None = None
    if found is Outcome.FAIL:
        reason += f"above {above} {sure}; {tolerated} are tolerated"
    elif found is Outcome.PASS:
        needed = 0
        reason += f"below {below} {sure}; {tolerated} are tolerated"
    else:
        enough = trials_needed(failures, confidence, tolerated_failure_rate)
        needed = enough - seen
        further = "" if failures == 0 else " without a further failure"
        reason += (
            f"below {below} {sure}; {tolerated} are tolerated, "
            f"for which {enough} are needed{further}"
        )
    return GateVerdict(
        outcome=found,
        successes=successes,
        failures=failures,
        lower_bound=lower,
        upper_bound=upper,
        needed=needed,
        reason=reason,
    )


def _percent(share: float) -> str:
    """Return a share of 1 that somebody stated, as they did: `10 %`, `99.9 %`."""
    return f"{100 * share:.4g} %"


def _beside(bound: float, tolerated: float) -> str:
    """Return a bound in two digits, or in as many as tell it from what is tolerated."""
    if bound >= 0.995:
        return _percent(bound)
    short = f"{100 * bound:.2g} %"
    return _percent(bound) if short == f"{100 * tolerated:.2g} %" else short


BUDGETED = frozenset({FaultClass.HOST, FaultClass.RELEASE})
"""Faults that say something about the release: the others are ours, and blame no host."""


def incident_of(faults: Iterable[Fault]) -> Incident | None:
    """Return what lies with repository, provider or controller as one incident; None if nothing.

    Its routes are not held against the release: nobody knows yet how they would have fared.
    """
    ours = [fault for fault in faults if fault.fault_class not in BUDGETED]
    if not ours:
        return None
    classes = tuple(sorted({fault.fault_class for fault in ours}))
    met = "1 route" if len(ours) == 1 else f"{len(ours)} routes"
    return Incident(
        fault_classes=classes,
        kinds=tuple(sorted({fault.kind for fault in ours})),
        routes=len(ours),
        summary=(
            f"{' and '.join(classes)} fault on {met}, which no host is to blame for: "
            f"{ours[0].summary}"
        ),
    )


def why_stop(strategy: Strategy, successes: int, failures: int) -> str | None:
    """Return why a rollout has to end now, in the middle of a wave; None lets it go on.

    No success can change None into a reason: only a failure has to ask.
    """
    if failures > strategy.failure_budget:
        return f"{failures} failed, the failure budget is {strategy.failure_budget}"
    rate = strategy.tolerated_failure_rate
    if rate and outcome(successes, failures, strategy.confidence, rate) is Outcome.FAIL:
        return verdict(successes, failures, strategy.confidence, rate).reason
    return None


def weigh(strategy: Strategy, successes: int, failures: int) -> GateDecision:
    """Return how a rollout goes on after a wave, by what all its routes so far have shown.

    Args:
        strategy: the rollout's.
        successes: routes of all waves so far that were proven at the release.
        failures: routes of them that failed by a fault of their host or of the release.
    """
    rate = strategy.tolerated_failure_rate
    known = verdict(successes, failures, strategy.confidence, rate) if rate else None
    if stop := why_stop(strategy, successes, failures):
        return GateDecision(decision=Decision.ABORT, reason=stop, verdict=known)
    if known is None:
        reason = f"{failures} failed of a budget of {strategy.failure_budget}"
        return GateDecision(decision=Decision.PROMOTE, reason=reason)
    if known.outcome is Outcome.PASS or strategy.inconclusive is Inconclusive.PROCEED:
        return GateDecision(decision=Decision.PROMOTE, reason=known.reason, verdict=known)
    if strategy.inconclusive is Inconclusive.HOLD:
        return GateDecision(decision=Decision.HOLD, reason=known.reason, verdict=known)
    # Never more than were reached so far: what is not known to be good spreads no faster.
    widen_by = max(1, min(known.needed or 1, successes + failures))
    return GateDecision(
        decision=Decision.WIDEN, reason=known.reason, widen_by=widen_by, verdict=known
    )


# MERGEDOC """What the routes so far prove about a release, and at what confidence."""
# MERGEDOC """Whether a rollout may go on."""
