"""Priorities of waiting activities: an operator's swap comes before those of a rollout."""

import asyncio
import functools
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from relight.domain.names import track_scope
from relight.domain.rollout.rollout import RolloutPhase
from starter.local.children import wait_until
from tests.workflows.harness import Harness
from tests.workflows.installation import idle_installation
from worker import build

ROUTES = 12
OPERATOR, ROLLOUT = 3, 4
"""Priority keys of the server; 3 is its default."""


@pytest.fixture
async def harness(temporal_client: Client, tmp_path: Path) -> AsyncIterator[Harness]:
    async with idle_installation(temporal_client, tmp_path) as harness:
        yield harness


@pytest.fixture
async def in_rollout(harness: Harness) -> list[str]:
    """The routes of the track that is rolled out."""
    return await asyncio.gather(*(harness.serving_route() for _ in range(ROUTES)))


@pytest.fixture
async def other_route(harness: Harness) -> str:
    """A route of another track."""
    harness.store.tracks.set("beta", None, harness.operation())
    return await harness.serving_route(track="beta")


async def until_waiting(harness: Harness, expected: Mapping[int, int]) -> None:
    """Wait until this many activities of each priority wait for a worker."""

    async def as_expected() -> bool:
        request = DescribeTaskQueueRequest(
            namespace=harness.client.namespace,
            task_queue=TaskQueue(name=harness.task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
            report_stats=True,
        )
        try:
            described = await harness.client.workflow_service.describe_task_queue(request)
        except RPCError as error:
            if error.status is not RPCStatusCode.CANCELLED:
                raise
            return False  # a busy server cancels requests for statistics
        by_priority = described.stats_by_priority_key
        waiting = {key: stats.approximate_backlog_count for key, stats in by_priority.items()}
        return {key: count for key, count in waiting.items() if count} == expected

    await wait_until(as_expected, timedelta(seconds=30))


async def test_an_operators_swap_overtakes_the_waiting_swaps_of_a_rollout(
    harness: Harness, in_rollout: list[str], other_route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_activity = functools.partial(build, max_activities=1)
    monkeypatch.setattr("tests.workflows.harness.build", one_activity)
    gate = harness.hosts.hold_installs()
    async with harness.worker():
        rollout = await harness.start_rollout(
            "v0.0.74", track_scope("stable"), waves=("100%",), max_concurrent=ROUTES
        )
        await gate.reached()
        await until_waiting(harness, {ROLLOUT: ROUTES - 1})
        swap = await harness.start_swap(other_route, "v0.0.74")
        await until_waiting(harness, {ROLLOUT: ROUTES - 1, OPERATOR: 1})
        gate.open()
        await swap.result()
        assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    proven = [
        event.route_id
        for event in harness.events(kind="route-proven")
        if event.release_tag == "v0.0.74"
    ]
    assert (len(proven), set(proven)) == (ROUTES + 1, {*in_rollout, other_route})
    # Before it come the running swap, and those that the worker starts between this swap's steps.
    assert proven.index(other_route) < 5
