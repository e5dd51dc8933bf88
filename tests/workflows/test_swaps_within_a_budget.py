"""HotSwapRoute as a pass begins it: nothing goes out that the one ledger has no room for."""

import pytest
from temporalio.client import WorkflowFailureError

from activities.route.disruption import Ledger
from relight.domain.route import RouteStatus
from relight.store.write import Operation
from tests.support.interference import Injection
from tests.workflows.harness import ORIGIN
from workflows.failures import fault_of

STEPS = (
    *("take_disruption", "load_route", "resolve_release", "set_target"),
    *("swap_release", "record_proof", "release_disruption"),
)


@pytest.fixture
async def route_id(harness):
    """One of three routes in a region, of which one may be out at once."""
    for other in ("a-1", "a-2"):
        await harness.provision(other)
    route_id = harness.new_route_id()
    await harness.provision(route_id)
    harness.interference.leave_alone()
    return route_id


async def swap(harness, route_id, tag="v0.0.74"):
    return await (await harness.start_swap(route_id, tag, within_budget=True)).result()


def held(harness):
    return [each.route_id for each in harness.store.disruptions.list()]


async def test_it_is_held_while_it_is_out_and_let_go(harness, route_id):
    await swap(harness, route_id)
    assert tuple(harness.interference.ran) == STEPS
    assert held(harness) == []
    kinds = [event.kind for event in harness.events(route_id) if "disruption" in event.kind]
    assert kinds == ["disruption-taken", "disruption-released"]


async def test_it_is_refused_where_as_much_is_out_as_may_be(harness, route_id):
    other = Operation(ORIGIN, workflow_id="route/a-1", run_id="another", activity_id="1")
    Ledger(harness.store, harness.parts.policy.strategy).take("a-1", "it is mended", other)
    with pytest.raises(WorkflowFailureError) as failed:
        await swap(harness, route_id)
    assert fault_of(failed.value.cause).kind == "disruption-refused"
    assert harness.hosts.of(route_id).installs == ["0.0.73"]
    route = harness.route(route_id)
    assert (route.status, route.target_release_tag) == (RouteStatus.SERVING, "v0.0.73")
    assert harness.events(route_id, "fault-recorded") == []
    assert held(harness) == ["a-1"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("injection", [Injection.REPLY_LOST, Injection.RUN_TWICE])
async def test_a_step_that_runs_again_holds_once_and_lets_go(harness, route_id, injection, step):
    harness.interference.bring(injection, step, harness.client)
    await swap(harness, route_id)
    assert harness.hosts.of(route_id).installs == ["0.0.73", "0.0.74"]
    assert len(harness.events(route_id, "disruption-taken")) == 1
    assert held(harness) == []


@pytest.mark.parametrize("step", STEPS[:-2])
@pytest.mark.parametrize(
    "injection", [Injection.CANCELLED_AFTER, Injection.FAILS_BEFORE, Injection.FAILS_AFTER]
)
async def test_a_step_that_is_cut_short_lets_the_route_go(harness, route_id, injection, step):
    harness.interference.bring(injection, step, harness.client)
    with pytest.raises(WorkflowFailureError):
        await swap(harness, route_id)
    assert harness.route(route_id).current_release_tag == "v0.0.73"
    assert held(harness) == []


async def test_a_release_that_fails_lets_the_route_go(harness, route_id):
    with pytest.raises(WorkflowFailureError):
        await swap(harness, route_id, "v0.0.76")
    assert harness.route(route_id).status is RouteStatus.FAULTED
    assert held(harness) == []
