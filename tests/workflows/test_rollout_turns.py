"""Work that waits for a worker is taken in turn: an operator's own comes before a rollout's."""

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
from temporalio.worker import Worker

from relight.domain.names import track_scope
from relight.domain.rollout.rollout import RolloutPhase
from starter.local.children import wait_until
from tests.workflows.harness import Harness, idle_installation

ROUTES = 20
AN_OPERATORS, A_ROLLOUTS = 3, 4
"""The server's keys of priority; 3 is that of whoever names none."""


@pytest.fixture
async def harness(temporal_client: Client, tmp_path: Path) -> AsyncIterator[Harness]:
    async with idle_installation(temporal_client, tmp_path) as made:
        yield made


@pytest.fixture
async def in_rollout(harness: Harness) -> list[str]:
    """The routes of the track that is rolled out to."""
    harness.store.tracks.set("beta", None, harness.operation())
    return [harness.new_route_id() for _ in range(ROUTES)]


@pytest.fixture
async def operators(harness: Harness, in_rollout: list[str]) -> str:
    """A route of another track. All of them serve."""
    route_id = harness.new_route_id()
    async with harness.worker():
        await asyncio.gather(
            harness.provision(route_id, track="beta"), *map(harness.provision, in_rollout)
        )
    return route_id


async def until_waiting(harness: Harness, expected: Mapping[int, int]) -> None:
    """Wait until so many activities of each priority wait for a worker."""

    async def waits() -> bool:
        described = await harness.client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=harness.client.namespace,
                task_queue=TaskQueue(name=harness.task_queue),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
                report_stats=True,
            )
        )
        by_priority = described.stats_by_priority_key
        waiting = {key: stats.approximate_backlog_count for key, stats in by_priority.items()}
        return {key: count for key, count in waiting.items() if count} == expected

    await wait_until(waits, timedelta(seconds=30))


async def test_an_operators_own_swap_overtakes_the_queue_of_a_rollout(
    harness: Harness, in_rollout: list[str], operators: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.Worker", functools.partial(Worker, max_concurrent_activities=1))
    gate = harness.hosts.hold_installs()
    async with harness.worker():
        rollout = await harness.start_rollout(
            "v0.0.74", track_scope("stable"), waves=("100%",), max_concurrent=ROUTES
        )
        await gate.reached()
        await until_waiting(harness, {A_ROLLOUTS: ROUTES - 1})
        swap = await harness.start_swap(operators, "v0.0.74")
        await until_waiting(harness, {A_ROLLOUTS: ROUTES - 1, AN_OPERATORS: 1})
        gate.open()
        await swap.result()
        assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    proven = [
        event.route_id
        for event in harness.events(kind="route-proven")
        if event.release_tag == "v0.0.74"
    ]
    assert (len(proven), set(proven)) == (ROUTES + 1, {*in_rollout, operators})
    # Before it come the one that was under way, and those that the worker takes up between its
    # two steps: it finds out what the release is, and then swaps.
    assert proven.index(operators) < ROUTES / 4
