"""A workflow that does not end fails its test in time, with what it waits for."""

from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.support.results import result_within
from tests.workflows.harness import Harness, idle_installation

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
