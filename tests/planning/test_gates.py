"""What stops a rollout, and who is blamed."""

import pytest

from messages.faults import Fault, FaultClass
from planning.gates import judge


def fault(fault_class: FaultClass, kind: str = "unit-failed") -> Fault:
    return Fault(kind=kind, fault_class=fault_class, summary="r1-g1: it failed")


def test_no_fault_goes_on():
    assert judge([], failure_budget=0).go_on


@pytest.mark.parametrize("fault_class", [FaultClass.HOST, FaultClass.RELEASE])
def test_one_more_than_the_budget_stops(fault_class):
    assert judge([fault(fault_class)], failure_budget=1).go_on
    verdict = judge([fault(fault_class), fault(fault_class)], failure_budget=1)
    assert not verdict.go_on
    assert verdict.reason == "2 failed (unit-failed), the failure budget is 1"


@pytest.mark.parametrize(
    "fault_class", [FaultClass.REPOSITORY, FaultClass.PROVIDER, FaultClass.CONTROLLER]
)
def test_a_fault_of_ours_stops_without_spending_the_budget(fault_class):
    verdict = judge([fault(fault_class)], failure_budget=100)
    assert not verdict.go_on
    assert "no host is to blame" in verdict.reason
