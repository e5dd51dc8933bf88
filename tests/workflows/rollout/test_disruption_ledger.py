"""One ledger of what is out, for rollouts, reconcile runs, replacements and operators."""

import pytest
from temporalio.client import WorkflowFailureError

from relight.domain.names import route_workflow_id
from tests.workflows.harness import Harness
from workflows.failures import fault_of


def out(harness: Harness) -> dict[str, str]:
    """Return who has each route out."""
    return {each.route_id: each.workflow_id for each in harness.store.disruptions.list()}


async def test_the_swaps_of_a_cancelled_rollout_stay_in_the_ledger_until_they_end(
    harness, route_ids
):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), max_concurrent=2)
    await harness.until(lambda: harness.hosts.max_concurrent("install") == 2)
    await rollout.cancel()
    with pytest.raises(WorkflowFailureError):
        await rollout.result()
    swapping = out(harness)
    assert len(swapping) == 2
    assert all(holder == route_workflow_id(route_id) for route_id, holder in swapping.items())
    # Both regions have one of three routes out, which is all that their budget allows.
    other = next(each for each in route_ids if each not in swapping)
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.swap(other, "v0.0.74", within_budget=True)
    assert fault_of(failed.value.cause).kind == "disruption-refused"
    gate.open()
    await harness.until(lambda: not out(harness))
    assert harness.current_tags(sorted(swapping)) == ["v0.0.74"] * 2


async def test_a_swap_by_an_operator_is_in_the_ledger(harness, route_ids):
    gate = harness.hosts.hold_installs()
    swap = await harness.start_swap(route_ids[0], "v0.0.74")
    await gate.reached()
    assert out(harness) == {route_ids[0]: swap.id}
    gate.open()
    await swap.result()
    assert out(harness) == {}


async def test_a_rollout_leaves_nothing_in_the_ledger(harness, route_ids):
    rollout = await harness.start_rollout("v0.0.76", waves=("2", "100%"))
    await harness.ended(rollout)
    assert out(harness) == {}
