"""What stops a rollout, and who is blamed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.rollout.gate import (
    Decision,
    incident_of,
    weigh,
    why_stop,
)
from relight.domain.rollout.rollout import Inconclusive, Strategy


def fault(fault_class: FaultClass, kind: str = "unit-failed") -> Fault:
    return Fault(kind=kind, fault_class=fault_class, summary="r1-g1: it failed")


RELEASE, REPOSITORY = fault(FaultClass.RELEASE), fault(FaultClass.REPOSITORY, "repository-down")


def test_what_is_no_hosts_fault_is_one_incident_however_many_met_it():
    faults = [REPOSITORY, RELEASE, REPOSITORY, fault(FaultClass.PROVIDER, "api-down")]
    incident = incident_of(faults)
    assert incident is not None
    assert (incident.routes, incident.kinds) == (3, ("api-down", "repository-down"))
    assert incident.summary == (
        "provider and repository fault on 3 routes, which no host is to blame for: r1-g1: it failed"
    )


def test_faults_of_hosts_and_release_are_no_incident():
    assert incident_of([RELEASE, fault(FaultClass.HOST)]) is None


def test_without_a_tolerated_rate_the_failure_budget_alone_decides_as_ever():
    for failures in range(5):
        gate = weigh(Strategy(failure_budget=2), successes=1, failures=failures)
        assert (gate.decision is Decision.PROMOTE) == (failures <= 2)


@pytest.mark.parametrize(
    ("inconclusive", "decision"),
    [
        (Inconclusive.HOLD, Decision.HOLD),
        (Inconclusive.WIDEN, Decision.WIDEN),
        (Inconclusive.PROCEED, Decision.PROMOTE),
    ],
)
def test_the_strategy_says_what_follows_when_too_little_is_known(inconclusive, decision):
    strategy = Strategy(tolerated_failure_rate=0.1, inconclusive=inconclusive)
    assert weigh(strategy, successes=5, failures=0).decision is decision


@pytest.mark.parametrize(("reached", "widen_by"), [(0, 1), (5, 5), (10, 10), (20, 9), (28, 1)])
def test_it_widens_to_what_a_pass_needs_and_no_faster_than_it_came(reached, widen_by):
    strategy = Strategy(tolerated_failure_rate=0.1, inconclusive=Inconclusive.WIDEN)
    assert weigh(strategy, successes=reached, failures=0).widen_by == widen_by


def test_a_rate_above_the_tolerated_one_ends_it_within_the_failure_budget():
    strategy = Strategy(tolerated_failure_rate=0.1, failure_budget=100)
    assert why_stop(strategy, successes=0, failures=1) is None
    assert why_stop(strategy, successes=0, failures=2) == (
        "2 of 2 failed: the failure rate is above 22 % at 95 % confidence; 10 % are tolerated"
    )
    assert weigh(strategy, successes=0, failures=2).decision is Decision.ABORT


@given(st.integers(0, 60), st.integers(0, 20), st.integers(0, 20))
def test_only_a_failure_can_be_a_reason_to_stop(successes, failures, budget):
    strategy = Strategy(tolerated_failure_rate=0.1, failure_budget=budget)
    if why_stop(strategy, successes, failures) is None:
        assert why_stop(strategy, successes + 1, failures) is None
