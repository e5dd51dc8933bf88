"""Workers that are killed, or told to stop, in the midst of swaps on hosts: others go on."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from unittest import mock

import pytest
from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from devkit.bench.publishing import AFTER_TAG
from devkit.bench.scale.environment import Shape, SimulatedEnvironment, simulated_environment
from devkit.bench.scale.fleet import ORIGIN, SimulatedRoute
from devkit.bench.scale.rollout import forward
from devkit.installation import running_worker
from relight.domain.names import rollout_workflow_id, route_workflow_id
from relight.domain.proof import ReleaseSwapped
from relight.domain.rollout.rollout import RolloutPhase, RolloutStatus
from relight.domain.rollout.strategy import Strategy
from relight.domain.route import HotSwapRouteInput
from relight.store.routes import ROUTE_PROVEN
from relight.store.store import Store, open_store
from relight.store_address import store_address
from starter.local.children import Child, wait_until
from workflows.endings import result_of
from workflows.rollout.rollout import RolloutRelease
from workflows.route.hot_swap import HotSwapRoute

pytestmark = pytest.mark.timeout(300)

TAIL = timedelta(seconds=30)
"""From the death of one of two workers until all routes are proven: some 17 s where nothing else
runs. It took a minute when a worker's death was noticed late."""

GONE_WITHIN = timedelta(seconds=5)
"""From the first signal to the end of the process."""

SOON = timedelta(seconds=60)
STOPS = 3
LONG = 600.0


@asynccontextmanager
async def fleet(routes: int, change_seconds: float) -> AsyncIterator[SimulatedEnvironment]:
    with mock.patch.dict(os.environ):
        async with simulated_environment(Shape(routes, change_seconds)) as environment:
            yield environment


@asynccontextmanager
async def store_of(environment: SimulatedEnvironment) -> AsyncIterator[Store]:
    with open_store(store_address(environment.settings)) as store:
        yield store


def routes_of(environment: SimulatedEnvironment) -> list[str]:
    return [SimulatedRoute(number).route_id for number in range(environment.routes)]


async def swapping(environment: SimulatedEnvironment) -> Counter[int]:
    """How many swaps run on hosts now, by the worker's process id."""
    found: Counter[int] = Counter()
    for route_id in routes_of(environment):
        handle = environment.client.get_workflow_handle(route_workflow_id(route_id))
        try:
            described = await handle.describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            continue  # The rollout has not come to it.
        for each in described.raw_description.pending_activities:
            if each.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED:
                details = each.heartbeat_details.payloads
                if details and b"running" in details[0].data:
                    found[int(each.last_worker_identity.partition("@")[0])] += 1
    return found


async def until_swapping(environment: SimulatedEnvironment, worker: Child, swaps: int) -> None:
    """Wait until so many swaps of a worker run on their hosts."""

    async def enough() -> bool:
        return (await swapping(environment))[worker.pid] >= swaps

    await wait_until(enough, SOON)


async def start_swaps(environment: SimulatedEnvironment) -> None:
    for route_id in routes_of(environment):
        await environment.client.start_workflow(
            HotSwapRoute.run,
            HotSwapRouteInput(route_id=route_id, release_tag=AFTER_TAG, origin=ORIGIN),
            id=route_workflow_id(route_id),
            task_queue=environment.settings.task_queue,
        )


async def ended_by(worker: Child, *signals: signal.Signals) -> float:
    """Send signals to a worker, and return after how many seconds it has ended with 0."""
    started_at = time.monotonic()
    for each in signals:
        worker.process.send_signal(each)
    code = await worker.process.wait()
    took = time.monotonic() - started_at
    assert code == 0, worker.output()
    return took


async def test_a_rollout_goes_on_seconds_after_the_death_of_one_of_two_workers() -> None:
    async with fleet(routes=20, change_seconds=15) as environment, AsyncExitStack() as stack:
        client, settings = environment.client, environment.settings
        second = await stack.enter_async_context(running_worker(client, settings))
        rollout = await client.start_workflow(
            RolloutRelease.run,
            forward(Strategy(waves=("100%",), max_concurrent=environment.routes)),
            id=rollout_workflow_id(AFTER_TAG, "fleet"),
            task_queue=settings.task_queue,
        )
        await until_swapping(environment, second, 5)
        second.process.kill()
        killed_at = time.monotonic()
        async with asyncio.timeout(SOON.total_seconds()):
            status = await result_of(rollout.result(), RolloutStatus)
        tail = time.monotonic() - killed_at
        assert status.phase is RolloutPhase.CONVERGED
        async with store_of(environment) as store:
            for route_id in routes_of(environment):
                events = store.events.list(route_id=route_id)
                proven = [
                    e for e in events if e.kind == ROUTE_PROVEN and e.release_tag == AFTER_TAG
                ]
                assert len(proven) == 1
                assert len([e for e in events if e.kind == "swap-attempted"]) == 1
        assert tail < TAIL.total_seconds(), f"{tail:.1f} s"


async def test_a_worker_that_is_told_to_stop_is_gone_in_seconds_with_many_swaps() -> None:
    async with fleet(routes=40, change_seconds=LONG) as environment, AsyncExitStack() as stack:
        worker: Child = environment.children[0]
        await start_swaps(environment)
        took = []
        for number in range(STOPS):
            if number:
                again = running_worker(environment.client, environment.settings)
                worker = await stack.enter_async_context(again)
            await until_swapping(environment, worker, environment.routes)
            took.append(await ended_by(worker, signal.SIGTERM))
        assert max(took) < GONE_WITHIN.total_seconds(), took
        assert "others take it over" not in worker.output()
        handle = environment.client.get_workflow_handle(
            route_workflow_id(routes_of(environment)[0])
        )
        [pending] = (await handle.describe()).raw_description.pending_activities
        assert pending.attempt == STOPS + 1
        assert pending.last_failure.application_failure_info.type == "worker-stopped"


async def test_the_next_worker_attaches_to_the_changes_of_one_that_was_told_to_stop() -> None:
    async with fleet(routes=10, change_seconds=20) as environment:
        client = environment.client
        await start_swaps(environment)
        await until_swapping(environment, environment.children[0], environment.routes)
        await ended_by(environment.children[0], signal.SIGTERM)
        async with running_worker(client, environment.settings), store_of(environment) as store:
            for route_id in routes_of(environment):
                handle = client.get_workflow_handle(route_workflow_id(route_id))
                await handle.result()
                assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
                scheduled = [
                    event.activity_task_scheduled_event_attributes.activity_type.name
                    async for event in handle.fetch_history_events()
                    if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
                ]
                assert "stop_swap" not in scheduled
                attempts = store.events.list(route_id=route_id, kind="swap-attempted")
                seen = [ReleaseSwapped.model_validate(each.detail["seen"]) for each in attempts]
                assert [each.attached for each in seen] == [True]


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_a_worker_at_once(second: signal.Signals) -> None:
    async with fleet(routes=10, change_seconds=LONG) as environment:
        worker = environment.children[0]
        await start_swaps(environment)
        await until_swapping(environment, worker, environment.routes)
        worker.process.send_signal(signal.SIGTERM)

        async def has_heard() -> bool:
            return "stops" in worker.output()

        await wait_until(has_heard, SOON)
        sent_at = time.monotonic()
        worker.process.send_signal(second)
        assert await worker.process.wait() == -second
        assert time.monotonic() - sent_at < 1
