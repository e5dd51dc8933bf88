"""HotSwapRoute as a reconcile run starts it: within the disruption budgets."""

import pytest
from temporalio.client import WorkflowFailureError

from activities.route.disruption import DisruptionLedger
from relight.domain.names import route_workflow_id
from relight.domain.route import RouteStatus
from relight.store.events import Operation
from tests.support.interference import REPEATED, Injection
from tests.workflows.harness import ORIGIN, Harness
from tests.workflows.matrix import run_cells
from workflows.failures import fault_of

STEPS = ("take_disruption", "load_route", "resolve_release", "swap_route")


async def one_of_three(harness: Harness) -> str:
    """Return one of three routes in a region whose budget lets one be out at once."""
    await harness.serving_route()
    await harness.serving_route()
    return await harness.serving_route()


async def swap(harness, route_id, tag="v0.0.74"):
    return await harness.swap(route_id, tag, within_budget=True)


def is_out(harness, route_id):
    return route_id in [each.route_id for each in harness.store.disruptions.list()]


async def test_a_route_is_out_during_its_swap_only(harness):
    route_id = await one_of_three(harness)
    await swap(harness, route_id)
    assert tuple(harness.interference.ran) == STEPS
    assert not is_out(harness, route_id)
    kinds = [event.kind for event in harness.events(route_id) if "disruption" in event.kind]
    assert kinds == ["disruption-taken"]


async def test_a_swap_is_refused_when_the_budget_is_spent(harness):
    route_id, other = await one_of_three(harness), await harness.serving_route()
    holder = Operation(ORIGIN, workflow_id=f"route/{other}", run_id="another", activity_id="1")
    ledger = DisruptionLedger(harness.store, harness.parts.policy.strategy)
    ledger.take(other, "it is repaired", holder)
    with pytest.raises(WorkflowFailureError) as failed:
        await swap(harness, route_id)
    assert fault_of(failed.value.cause).kind == "disruption-refused"
    assert harness.hosts.of(route_id).installs == ["0.0.73"]
    route = harness.route(route_id)
    assert (route.status, route.target_release_tag) == (RouteStatus.SERVING, "v0.0.73")
    assert harness.events(route_id, "fault-recorded") == []
    assert [each.route_id for each in harness.store.disruptions.list()] == [other]


@pytest.mark.parametrize("injection", REPEATED)
async def test_a_step_that_runs_again_takes_the_route_out_once_and_returns_it(
    roomy_harness, injection
):
    async def cell(harness: Harness, step: str) -> None:
        route_id = await one_of_three(harness)
        harness.interference.inject(injection, step, route_workflow_id(route_id))
        await swap(harness, route_id)
        assert harness.hosts.of(route_id).installs == ["0.0.73", "0.0.74"]
        assert len(harness.events(route_id, "disruption-taken")) == 1
        assert not is_out(harness, route_id)

    await run_cells(roomy_harness, cell, STEPS)


@pytest.mark.parametrize(
    "injection", [Injection.CANCELLED_AFTER, Injection.FAILS_BEFORE, Injection.FAILS_AFTER]
)
async def test_a_step_that_is_cut_short_returns_the_route(roomy_harness, injection):
    async def cell(harness: Harness, step: str) -> None:
        route_id = await one_of_three(harness)
        harness.interference.inject(injection, step, route_workflow_id(route_id))
        with pytest.raises(WorkflowFailureError):
            await swap(harness, route_id)
        assert harness.route(route_id).current_release_tag == "v0.0.73"
        assert not is_out(harness, route_id)

    # A swap that is proven is recorded, although it is cancelled or fails then: see test_hot_swap.
    steps = STEPS if injection is Injection.FAILS_BEFORE else STEPS[:-1]
    await run_cells(roomy_harness, cell, steps)


async def test_a_release_that_fails_returns_the_route(harness):
    route_id = await one_of_three(harness)
    with pytest.raises(WorkflowFailureError):
        await swap(harness, route_id, "v0.0.76")
    assert harness.route(route_id).status is RouteStatus.FAULTED
    assert not is_out(harness, route_id)
