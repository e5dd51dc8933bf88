"""A workflow that does not end fails its own test, in time, and no test after it."""

from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from relight.domain.reconcile.run import RECONCILE_WORKFLOW_ID, ReconcileFleetInput
from tests.support.results import result_within
from tests.workflows.harness import ORIGIN, Harness
from tests.workflows.installation import idle_installation
from workflows.fleet.reconcile import ReconcileFleet

BRIEFLY = timedelta(seconds=1)


async def test_without_a_worker_no_activity_runs(temporal_client: Client, tmp_path: Path) -> None:
    async with idle_installation(temporal_client, tmp_path) as harness:
        route_id = harness.new_route_id()
        handle = await harness.start_provision(route_id)
        with pytest.raises(AssertionError, match=f"route/{route_id} has not ended after 1 s.*work"):
            await result_within(handle, BRIEFLY)
        await handle.terminate()


async def test_the_running_activity_is_named(harness: Harness) -> None:
    route_id = await harness.serving_route()
    gate = harness.hosts.hold_installs()
    handle = await harness.start_swap(route_id, "v0.0.74")
    await gate.reached()
    with pytest.raises(AssertionError, match="it waits for swap route"):
        await result_within(handle, BRIEFLY)
    gate.open()
    assert (await result_within(handle)).proof.release_tag == "v0.0.74"


async def test_what_a_test_leaves_does_not_run_in_the_next_test(
    temporal_client: Client, tmp_path: Path
) -> None:
    async with idle_installation(temporal_client, tmp_path) as harness:
        left = await harness.client.start_workflow(
            ReconcileFleet.run,
            ReconcileFleetInput(origin=ORIGIN),
            id=RECONCILE_WORKFLOW_ID,
            task_queue=harness.task_queue,
        )
    assert (await left.describe()).status is WorkflowExecutionStatus.TERMINATED
