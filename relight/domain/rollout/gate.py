"""Gates: what the results so far prove about a release, and whether its rollout continues."""

from collections.abc import Iterable
from enum import StrEnum

from relight.domain.base import Message, ShortText
from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.fault.rule import RolloutEffect
from relight.domain.fault.table import effect_in_rollout, locks_out
from relight.domain.names import (
    CheckName,
    ReleaseTag,
    ScopeName,
)
from relight.domain.rollout.binomial import (
    lower_bound,
    probability_at_least,
    probability_at_most,
    trials_needed,
    upper_bound,
)
from relight.domain.rollout.strategy import Inconclusive, Strategy


class Outcome(StrEnum):
    """What the results so far prove about a release, at the stated confidence.

    `pass`: its failure rate is tolerated. `fail`: its failure rate is higher. `inconclusive`: there
    are too few results.
    """

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class GateVerdict(Message):
    """What the results say about a release's failure rate.

    Attributes:
        lower_bound: the failure rate is above this at the confidence; 0 to 1.
        upper_bound: the failure rate is below this at the confidence; 0 to 1.
        needed: how many more routes without a failure make it `pass`. 0 for `pass`, None for
            `fail`.
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
    """One cause outside of hosts that holds a rollout, however many routes it affects.

    Attributes:
        fault_classes: the classes of its faults: repository, provider, controller.
        kinds: the kinds of its faults, by their names in the table of faults.
        routes: how many routes it affects.
        summary: one sentence for a person.
    """

    fault_classes: tuple[FaultClass, ...]
    kinds: tuple[str, ...]
    routes: int
    summary: str


class Decision(StrEnum):
    """How a rollout continues after a wave.

    `promote`: take the next wave. `widen`: take a part of the next wave, and judge again. `hold`:
    start nothing until a person decides or an incident ends. `abort`: end the rollout.
    """

    PROMOTE = "promote"
    WIDEN = "widen"
    HOLD = "hold"
    ABORT = "abort"


class GateDecision(Message):
    """A gate's decision after a wave.

    Attributes:
        reason: one sentence for a person.
        widen_by: for `widen` the maximum number of routes in the next wave.
        verdict: None if the strategy has no tolerated failure rate.
    """

    decision: Decision
    reason: str
    widen_by: int = 0
    verdict: GateVerdict | None = None


class CheckGateInput(Message):
    """Run an operator's own check after a wave.

    Attributes:
        name: its name in the control plane's settings.
        wave: the wave to judge, from 1.
    """

    name: CheckName
    release_tag: ReleaseTag
    scope: ScopeName
    wave: int


class GateChecked(Message):
    """The result of a check.

    Attributes:
        detail: what the check found, in one line.
    """

    name: CheckName
    passed: bool
    detail: ShortText


def outcome(
    successes: int, failures: int, confidence: float, tolerated_failure_rate: float
) -> Outcome:
    """Return what the results prove.

    `pass`: at exactly the tolerated rate, so few failures have a probability of at most
    1 - confidence. `fail`: so many failures have.

    Args:
        successes: routes that were proven at the release.
        failures: routes that failed.
        confidence: required confidence, from 0.5 to below 1.
        tolerated_failure_rate: of a good release, between 0 and 1, both excluded.
    """
    trials = successes + failures
    if probability_at_most(failures, trials, tolerated_failure_rate) <= 1 - confidence:
        return Outcome.PASS
    if probability_at_least(failures, trials, tolerated_failure_rate) <= 1 - confidence:
        return Outcome.FAIL
    return Outcome.INCONCLUSIVE


def verdict(
    successes: int, failures: int, confidence: float, tolerated_failure_rate: float
) -> GateVerdict:
    """Return what the results prove, with the bounds of the failure rate.

    The arguments are those of `outcome`.
    """
    trials = successes + failures
    found = outcome(successes, failures, confidence, tolerated_failure_rate)
    lower = lower_bound(failures, trials, confidence)
    upper = upper_bound(failures, trials, confidence)
    sure, tolerated = f"at {_percent(confidence)} confidence", _percent(tolerated_failure_rate)
    below, above = (_bound_text(bound, tolerated_failure_rate) for bound in (upper, lower))
    reason = f"{failures} of {trials} failed: the failure rate is "
    needed: int | None = None
    if found is Outcome.FAIL:
        reason += f"above {above} {sure}; {tolerated} are tolerated"
    elif found is Outcome.PASS:
        needed = 0
        reason += f"below {below} {sure}; {tolerated} are tolerated"
    else:
        enough = trials_needed(failures, confidence, tolerated_failure_rate)
        needed = enough - trials
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
    """Return a share as a percentage: `10 %`, `99.9 %`."""
    return f"{100 * share:.4g} %"


def _bound_text(bound: float, tolerated: float) -> str:
    """Return a bound with two digits, or with more if it would look like the tolerated rate."""
    if bound >= 0.995:
        return _percent(bound)
    short = f"{100 * bound:.2g} %"
    return _percent(bound) if short == f"{100 * tolerated:.2g} %" else short


def incident_of(faults: Iterable[Fault]) -> Incident | None:
    """Return the faults that only waiting cures as one incident, else None.

    Its routes do not count against the release, because their result is not known yet. A fault by
    which a host locks the control plane out is one of them only where many hosts do so: the caller
    has found that out.
    """
    outside = [
        each
        for each in faults
        if effect_in_rollout(each) is RolloutEffect.HELD or locks_out(each.kind)
    ]
    if not outside:
        return None
    advice = ""
    if any(locks_out(each.kind) for each in outside):
        advice = "; many machines lock the control plane out: `relight breaker status`"
    classes = tuple(sorted({fault.fault_class for fault in outside}))
    routes = "1 route" if len(outside) == 1 else f"{len(outside)} routes"
    return Incident(
        fault_classes=classes,
        kinds=tuple(sorted({fault.kind for fault in outside})),
        routes=len(outside),
        summary=(
            f"{' and '.join(classes)} fault on {routes}, which no host is to blame for: "
            f"{outside[0].summary}{advice}"
        ),
    )


def stop_reason(strategy: Strategy, successes: int, failures: int) -> str | None:
    """Return why a rollout must stop now, also in the middle of a wave; None if it may continue.

    A success never changes None into a reason, so it is enough to call this after each failure.
    """
    if failures > strategy.failure_budget:
        return f"{failures} failed, the failure budget is {strategy.failure_budget}"
    rate = strategy.tolerated_failure_rate
    if rate and outcome(successes, failures, strategy.confidence, rate) is Outcome.FAIL:
        return verdict(successes, failures, strategy.confidence, rate).reason
    return None


def evaluate_gate(strategy: Strategy, successes: int, failures: int) -> GateDecision:
    """Return how a rollout continues after a wave, given the results of all waves so far.

    Args:
        strategy: the rollout's.
        successes: routes that were proven at the release.
        failures: routes that failed.
    """
    rate = strategy.tolerated_failure_rate
    known = verdict(successes, failures, strategy.confidence, rate) if rate else None
    if stop := stop_reason(strategy, successes, failures):
        return GateDecision(decision=Decision.ABORT, reason=stop, verdict=known)
    if known is None:
        reason = f"{failures} failed of a budget of {strategy.failure_budget}"
        return GateDecision(decision=Decision.PROMOTE, reason=reason)
    if known.outcome is Outcome.PASS or strategy.inconclusive is Inconclusive.PROCEED:
        return GateDecision(decision=Decision.PROMOTE, reason=known.reason, verdict=known)
    if strategy.inconclusive is Inconclusive.HOLD:
        return GateDecision(decision=Decision.HOLD, reason=known.reason, verdict=known)
    # No more than were reached so far: an unproven release spreads no faster.
    widen_by = max(1, min(known.needed or 1, successes + failures))
    return GateDecision(
        decision=Decision.WIDEN, reason=known.reason, widen_by=widen_by, verdict=known
    )
