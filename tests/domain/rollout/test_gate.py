"""Verdicts about a release, and what stops a rollout."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.fault.table import RULES
from relight.domain.rollout.gate import (
    Decision,
    Outcome,
    evaluate_gate,
    incident_of,
    outcome,
    stop_reason,
    verdict,
)
from relight.domain.rollout.strategy import Inconclusive, Strategy

counts = st.integers(0, 120)
confidences = st.floats(0.5, 0.999)
tolerated = st.floats(0.01, 0.9)


SURE = "at 95 % confidence; 10 % are tolerated"


@pytest.mark.parametrize(
    ("successes", "failures", "reason"),
    [
        (0, 0, f"0 of 0 failed: the failure rate is below 100 % {SURE}, for which 29 are needed"),
        (5, 0, f"0 of 5 failed: the failure rate is below 45 % {SURE}, for which 29 are needed"),
        # With two digits it would look like the tolerated rate.
        (
            28,
            0,
            f"0 of 28 failed: the failure rate is below 10.15 % {SURE}, for which 29 are needed",
        ),
        (29, 0, f"0 of 29 failed: the failure rate is below 9.8 % {SURE}"),
        (5, 5, f"5 of 10 failed: the failure rate is above 22 % {SURE}"),
    ],
)
def test_the_reason_states_bound_confidence_and_missing_routes(successes, failures, reason):
    assert verdict(successes, failures, 0.95, 0.1).reason == reason


def test_after_a_failure_the_reason_states_what_is_needed_without_another():
    assert verdict(19, 1, 0.95, 0.1).reason.endswith("46 are needed without a further failure")


@pytest.mark.parametrize(
    ("successes", "failures", "found", "needed"),
    [
        (5, 0, Outcome.INCONCLUSIVE, 24),
        (28, 0, Outcome.INCONCLUSIVE, 1),
        (29, 0, Outcome.PASS, 0),
        (0, 1, Outcome.INCONCLUSIVE, 45),
        (0, 2, Outcome.FAIL, None),
    ],
)
def test_ten_percent_tolerated_at_95_percent_confidence(successes, failures, found, needed):
    known = verdict(successes, failures, 0.95, 0.1)
    assert (known.outcome, known.needed) == (found, needed)


@given(counts, counts, confidences, tolerated)
def test_outcomes_agree_with_the_bounds(successes, failures, confidence, tolerated):
    known = verdict(successes, failures, confidence, tolerated)
    if known.outcome is Outcome.PASS:
        assert known.upper_bound <= tolerated + 1e-9
    elif known.outcome is Outcome.FAIL:
        assert known.lower_bound >= tolerated - 1e-9
    else:
        assert known.lower_bound - 1e-9 <= tolerated <= known.upper_bound + 1e-9


GOODNESS = [Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS]


@given(counts, counts, confidences, tolerated)
def test_a_success_never_worsens_the_outcome_and_a_failure_never_improves_it(
    successes, failures, confidence, tolerated
):
    def rank(more_successes: int, more_failures: int) -> int:
        results = (successes + more_successes, failures + more_failures)
        return GOODNESS.index(outcome(*results, confidence, tolerated))

    assert rank(0, 1) <= rank(0, 0) <= rank(1, 0)


@given(counts, counts, confidences, tolerated, st.floats(0.0, 0.09))
def test_a_higher_tolerated_rate_never_worsens_the_outcome(
    successes, failures, confidence, tolerated, more
):
    strict = outcome(successes, failures, confidence, tolerated)
    lax = outcome(successes, failures, confidence, tolerated + more)
    assert GOODNESS.index(strict) <= GOODNESS.index(lax)


@given(counts, counts, confidences, tolerated)
def test_the_needed_routes_are_enough_and_one_less_is_not(
    successes, failures, confidence, tolerated
):
    needed = verdict(successes, failures, confidence, tolerated).needed
    if needed:
        assert outcome(successes + needed, failures, confidence, tolerated) is Outcome.PASS
        less = outcome(successes + needed - 1, failures, confidence, tolerated)
        assert less is Outcome.INCONCLUSIVE


def fault(fault_class: FaultClass, kind: str = "unit-failed") -> Fault:
    return Fault(kind=kind, fault_class=fault_class, summary="r1-g1: it failed")


RELEASE = fault(FaultClass.RELEASE)
REPOSITORY = fault(FaultClass.REPOSITORY, "repository-unreachable")
PROVIDER = fault(FaultClass.PROVIDER, "provider-unavailable")


def test_faults_that_only_waiting_cures_are_one_incident():
    faults = [REPOSITORY, RELEASE, REPOSITORY, PROVIDER]
    incident = incident_of(faults)
    assert incident is not None
    assert incident.routes == 3
    assert incident.kinds == ("provider-unavailable", "repository-unreachable")
    assert incident.summary == (
        "provider and repository fault on 3 routes, which no host is to blame for: r1-g1: it failed"
    )


@pytest.mark.parametrize(
    "kind", ["unit-failed", "downgrade-refused", "probe-not-runnable", "cancelled", "terminated"]
)
def test_a_fault_that_no_waiting_cures_is_no_incident(kind):
    assert incident_of([fault(RULES[kind].fault_class, kind)]) is None


def test_without_a_tolerated_rate_only_the_failure_budget_decides():
    for failures in range(5):
        gate = evaluate_gate(Strategy(failure_budget=2), successes=1, failures=failures)
        assert (gate.decision is Decision.PROMOTE) == (failures <= 2)


@pytest.mark.parametrize(
    ("inconclusive", "decision"),
    [
        (Inconclusive.HOLD, Decision.HOLD),
        (Inconclusive.WIDEN, Decision.WIDEN),
        (Inconclusive.PROCEED, Decision.PROMOTE),
    ],
)
def test_the_strategy_decides_what_follows_an_inconclusive_wave(inconclusive, decision):
    strategy = Strategy(tolerated_failure_rate=0.1, inconclusive=inconclusive)
    assert evaluate_gate(strategy, successes=5, failures=0).decision is decision


@pytest.mark.parametrize(("reached", "widen_by"), [(0, 1), (5, 5), (10, 10), (20, 9), (28, 1)])
def test_widening_takes_the_needed_routes_but_no_more_than_were_reached(reached, widen_by):
    strategy = Strategy(tolerated_failure_rate=0.1, inconclusive=Inconclusive.WIDEN)
    assert evaluate_gate(strategy, successes=reached, failures=0).widen_by == widen_by


def test_a_rate_above_the_tolerated_one_stops_the_rollout_within_the_failure_budget():
    strategy = Strategy(tolerated_failure_rate=0.1, failure_budget=100)
    assert stop_reason(strategy, successes=0, failures=1) is None
    assert stop_reason(strategy, successes=0, failures=2) == (
        "2 of 2 failed: the failure rate is above 22 % at 95 % confidence; 10 % are tolerated"
    )
    assert evaluate_gate(strategy, successes=0, failures=2).decision is Decision.ABORT


@given(st.integers(0, 60), st.integers(0, 20), st.integers(0, 20))
def test_only_a_failure_can_be_a_reason_to_stop(successes, failures, budget):
    strategy = Strategy(tolerated_failure_rate=0.1, failure_budget=budget)
    if stop_reason(strategy, successes, failures) is None:
        assert stop_reason(strategy, successes + 1, failures) is None
