"""What takes minutes of waiting, on the Temporal server that skips time."""

from datetime import timedelta

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError

from activities import policies
from relight.domain.rollout.rollout import RolloutPhase
from relight.domain.route import RouteStatus
from starter.local.children import wait_until
from workflows.failures import fault_of

SOON = timedelta(seconds=30)


@pytest.fixture
async def route_ids(skipping_harness):
    """Three routes that serve v0.0.73."""
    harness = skipping_harness
    route_ids = sorted(harness.new_route_id() for _ in range(3))
    started = [await harness.start_provision(route_id) for route_id in route_ids]

    async def all_done() -> bool:
        ends = [(await handle.describe()).status for handle in started]
        return all(end is WorkflowExecutionStatus.COMPLETED for end in ends)

    # Time is skipped while a result is waited for: what is only set up needs none of it.
    await wait_until(all_done, SOON)
    harness.interference.leave_alone()
    return route_ids


async def test_a_rollout_waits_for_a_route_that_is_busy(skipping_harness, route_ids):
    harness = skipping_harness
    gate = harness.hosts.hold_installs()
    swap = await harness.start_swap(route_ids[0], "v0.0.74")
    await gate.reached()
    rollout = await harness.start_rollout("v0.0.78", waves=("100%",))
    await harness.until(lambda: harness.hosts.most_at_once("install") >= len(route_ids))
    gate.open()
    await swap.result()
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    tags = [harness.route(route_id).current_release_tag for route_id in route_ids]
    assert tags == ["v0.0.78"] * 3
    assert harness.hosts.of(route_ids[0]).installs == ["0.0.73", "0.0.74", "0.0.78"]


async def test_a_host_that_cannot_be_reached_is_tried_for_minutes_and_then_named(
    skipping_harness, route_ids
):
    harness = skipping_harness
    route_id = route_ids[0]
    harness.hosts.unreachable.add(f"{route_id}-g1")
    with pytest.raises(WorkflowFailureError) as failed:
        await (await harness.start_swap(route_id, "v0.0.74")).result()
    assert harness.interference.ran.count("swap_release") == (
        policies.CHANGE.retry.maximum_attempts
    )
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.fault_class) == ("host-unreachable", "host")
    assert fault.machine_key == f"{route_id}-g1"
    route = harness.route(route_id)
    assert (route.status, route.current_release_tag) == (RouteStatus.FAULTED, "v0.0.73")


async def test_a_host_that_comes_back_in_time_is_swapped(skipping_harness, route_ids):
    harness = skipping_harness
    route_id = route_ids[0]
    harness.hosts.unreachable.add(f"{route_id}-g1")
    swap = await harness.start_swap(route_id, "v0.0.74")
    await harness.until(lambda: harness.interference.ran.count("swap_release") >= 1)
    harness.hosts.unreachable.clear()
    await swap.result()
    assert harness.route(route_id).current_release_tag == "v0.0.74"
