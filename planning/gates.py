"""Whether a rollout may go on."""

from collections.abc import Iterable

from messages.faults import Fault, FaultClass
from messages.gate import Decision, GateDecision, Incident, Outcome
from messages.rollout import Inconclusive, Strategy
from planning.verdicts import outcome, verdict

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
