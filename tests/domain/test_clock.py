"""Times of the future are no evidence, and one incident."""

from datetime import timedelta

import pytest

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerIncident,
    BreakerLimits,
    ConnectivityResult,
    MachineObservation,
)
from relight.domain.breaker.decisions import is_fresh, update_breaker
from relight.domain.clock import TOLERANCE, WRONG, FutureTimes
from relight.domain.pool.pool import PoolStatus
from relight.domain.route_history import ObservedFault, RouteHistory
from relight.domain.sweep.planner import SweepView, plan_sweep
from relight.domain.sweep.sweep import OpenOperation, SweepPolicy, SweepStep
from starter.cli.times import age
from tests.domain.fleets import HOUR, NOW, route
from tests.domain.pool.test_pool import machine as pool_machine

pytestmark = pytest.mark.attack("a clock that jumps")

LATER = NOW + 24 * HOUR
LIMITS = BreakerLimits()


def test_a_route_that_was_proven_in_the_future_has_no_proof():
    times = FutureTimes(NOW)
    proven = route("a").model_copy(update={"proven_at": LATER})
    assert times.of_route(proven).proven_at is None
    incident = times.fault()
    assert incident is not None
    assert incident.kind == WRONG
    assert "the proof of route a" in incident.summary


def test_times_of_the_past_and_clocks_that_differ_a_little_are_no_incident():
    times = FutureTimes(NOW)
    for at in (NOW - HOUR, NOW, NOW + TOLERANCE, None):
        proven = route("a").model_copy(update={"proven_at": at})
        assert times.of_route(proven) == proven
    assert times.fault() is None


def test_what_happened_in_the_future_is_taken_out_of_a_history():
    times = FutureTimes(NOW)
    faults = [
        ObservedFault(at=at, kind="host-unreachable", machine_key="a-g1") for at in (NOW, LATER)
    ]
    history = RouteHistory(
        route_id="a",
        machine_key="a-g1",
        faults=tuple(faults),
        repairs=(LATER,),
        replacements=(LATER,),
        gone_since=LATER,
    )
    kept = times.of_history(history)
    assert (kept.faults, kept.repairs, kept.gone_since) == ((faults[0],), (), None)
    # A limit still counts it.
    assert kept.replacements == (NOW,)
    assert times.fault() is not None


def test_an_observation_of_the_future_is_not_fresh():
    machine = MachineObservation(
        key="a-g1", provider="linode", region="east", observed_at=LATER, reached=True
    )
    assert not is_fresh(machine, LIMITS, NOW)
    assert is_fresh(machine, LIMITS, LATER)


def test_a_connectivity_check_of_the_future_shows_nothing():
    check = ConnectivityResult(name="mirror", observed_at=LATER, reached=True)
    assert update_breaker(Breaker(), (), [check], LIMITS, NOW).is_open


def test_a_breaker_that_is_calm_since_the_future_closes_after_its_calm():
    incident = BreakerIncident(opened_at=NOW, last_observed_at=NOW, summary="east is down")
    before = Breaker(incident=incident, calm_since=LATER)
    check = ConnectivityResult(name="mirror", observed_at=NOW, reached=True)
    calm = update_breaker(before, (), [check], LIMITS, NOW)
    assert calm.calm_since == NOW
    later = NOW + LIMITS.calm_for
    answered = check.model_copy(update={"observed_at": later})
    assert not update_breaker(calm, (), [answered], LIMITS, later).is_open


def test_an_operation_that_began_in_the_future_can_be_closed():
    """Its workflow has ended: it would hold its route for as long as the clock was ahead."""
    operation = OpenOperation(workflow_id="route/a", run_id="r", opened_at=LATER)
    view = SweepView(listings=[], open_workflows=frozenset(), records=[], operations=[operation])
    plan = plan_sweep(view, SweepPolicy(owner="us"), NOW)
    assert [each.step for each in plan.actions] == [SweepStep.CLOSE]


def test_an_age_in_the_future_is_called_so():
    assert age(timedelta(seconds=-1)) == "0 s"
    assert age(-HOUR) == "in the future"


def test_a_pool_machine_that_is_in_preparation_since_the_future_is_told():
    times = FutureTimes(NOW)
    times.of_pool_machine(pool_machine(1, PoolStatus.PREPARING, since=LATER))
    incident = times.fault()
    assert incident is not None
    assert "the status of machine pool-p-r-1" in incident.summary
