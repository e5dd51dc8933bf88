"""Waits of minutes, on the Temporal server that skips time."""

import pytest
from temporalio.client import WorkflowFailureError

from activities import policies
from relight.domain.rollout.rollout import RolloutPhase
from relight.domain.route import RouteStatus
from workflows.failures import fault_of


@pytest.fixture
async def route_ids(skipping_harness):
    """Three routes that serve v0.0.73."""
    return sorted([await skipping_harness.serving_route() for _ in range(3)])


async def test_a_rollout_waits_for_a_route_that_is_busy(skipping_harness, route_ids):
    harness = skipping_harness
    gate = harness.hosts.hold_installs()
    swap = await harness.start_swap(route_ids[0], "v0.0.74")
    await gate.reached()
    rollout = await harness.start_rollout("v0.0.78", waves=("100%",))
    await harness.until(lambda: harness.hosts.max_concurrent("install") >= len(route_ids))
    gate.open()
    await swap.result()
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert harness.current_tags(route_ids) == ["v0.0.78"] * 3
    assert harness.hosts.of(route_ids[0]).installs == ["0.0.73", "0.0.74", "0.0.78"]


async def test_an_unreachable_host_is_retried_for_minutes_and_then_named(
    skipping_harness, route_ids
):
    harness = skipping_harness
    route_id = route_ids[0]
    harness.hosts.unreachable.add(f"{route_id}-g1")
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.swap(route_id, "v0.0.74")
    assert harness.interference.ran.count("swap_route") == (policies.SWAP.retry.maximum_attempts)
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.fault_class) == ("host-unreachable", "host")
    assert fault.machine_key == f"{route_id}-g1"
    route = harness.route(route_id)
    assert (route.status, route.current_release_tag) == (RouteStatus.FAULTED, "v0.0.73")


async def test_a_host_that_is_reachable_again_in_time_is_swapped(skipping_harness, route_ids):
    harness = skipping_harness
    route_id = route_ids[0]
    harness.hosts.unreachable.add(f"{route_id}-g1")
    swap = await harness.start_swap(route_id, "v0.0.74")
    await harness.until(lambda: harness.interference.ran.count("swap_route") >= 1)
    harness.hosts.unreachable.clear()
    await swap.result()
    assert harness.route(route_id).current_release_tag == "v0.0.74"
