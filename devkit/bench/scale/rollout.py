"""One rollout over a whole fleet of simulated hosts, and its cost."""

import asyncio
import random
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from temporalio.client import Client, WorkflowExecution, WorkflowHandle

from devkit.bench.meter import measured
from devkit.bench.publishing import AFTER_TAG
from devkit.bench.scale.environment import (
    DATABASE,
    HOSTS,
    SERVER,
    WORKER,
    SimulatedEnvironment,
)
from devkit.bench.scale.fleet import ORIGIN, Progress, SimulatedRoute
from relight.domain.names import (
    FLEET_SCOPE,
    ReleaseTag,
    RouteId,
    rollout_workflow_id,
    route_workflow_id,
)
from relight.domain.rollout.rollout import RolloutPhase, RolloutReleaseInput, RolloutStatus
from relight.domain.rollout.strategy import Strategy
from relight.store_address import store_address
from workflows.endings import result_of
from workflows.rollout.rollout import RolloutRelease

SAMPLES = 20
"""The number of routes whose histories are read: they hardly differ."""

SETTLE_SECONDS = 1.0
"""Pause after a rollout, before CPU time is read: its last workflow task is still being written."""

PROGRESS_INTERVAL_SECONDS = 10.0
_MAX_SHOWN_FAULTS = 3


class RolloutError(Exception):
    """A rollout did not bring every route to the release."""


class History(NamedTuple):
    """The size of a workflow's history."""

    events: int
    size_bytes: int


@dataclass(frozen=True)
class Figures:
    """The cost of a rollout. CPU times, events and bytes are per route.

    Attributes:
        events: of the route's own history, and its share of the rollout's.
        history_bytes: likewise.
        worker_peak_mib: the largest resident memory during the rollout.
        largest_events: of the longest history of the rollout itself and its waves.
        largest_bytes: of the largest one.
        histories: the number of those histories.
        database_cpu_ms: of the store's PostgreSQL; 0 if the store is a file.
        hosts_cpu_ms: for simulating the hosts; real hosts use their own CPU.
    """

    routes: int
    wall_seconds: float
    routes_per_second: float
    worker_cpu_ms: float
    server_cpu_ms: float
    events: float
    history_bytes: float
    worker_peak_mib: float
    server_peak_mib: float
    largest_events: int
    largest_bytes: int
    histories: int
    database_cpu_ms: float
    hosts_cpu_ms: float

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


async def measure(environment: SimulatedEnvironment, max_concurrent: int) -> Figures:
    """Roll the release out over the fleet, and return the cost.

    Args:
        environment: one without an earlier rollout.
        max_concurrent: the number of routes that are changed at the same time.

    Raises:
        RolloutError: the rollout did not converge.
        ChildFailedError: the worker, the server or the hosts' process ended meanwhile.
    """
    async with measured(environment.group, (WORKER, SERVER), SETTLE_SECONDS) as usage:
        await roll_out(environment, forward(Strategy(max_concurrent=max_concurrent)), AFTER_TAG)
    routes = environment.routes
    cpu_ms = {part: seconds / routes * 1000 for part, seconds in usage.cpu_seconds.items()}
    of_routes = await _route_histories(environment)
    of_rollout = await _rollout_histories(environment.client)
    events = sum(each.events for each in of_rollout)
    size_bytes = sum(each.size_bytes for each in of_rollout)
    return Figures(
        routes=routes,
        wall_seconds=usage.wall_seconds,
        routes_per_second=routes / usage.wall_seconds,
        worker_cpu_ms=cpu_ms[WORKER],
        server_cpu_ms=cpu_ms[SERVER],
        events=statistics.fmean(each.events for each in of_routes) + events / routes,
        history_bytes=statistics.fmean(each.size_bytes for each in of_routes) + size_bytes / routes,
        worker_peak_mib=usage.peak_mib[WORKER],
        server_peak_mib=usage.peak_mib[SERVER],
        largest_events=max(each.events for each in of_rollout),
        largest_bytes=max(each.size_bytes for each in of_rollout),
        histories=len(of_rollout),
        database_cpu_ms=cpu_ms.get(DATABASE, 0.0),
        hosts_cpu_ms=cpu_ms[HOSTS],
    )


def forward(strategy: Strategy) -> RolloutReleaseInput:
    """Return the rollout of the newer release over the whole fleet."""
    return RolloutReleaseInput(
        release_tag=AFTER_TAG, scope=FLEET_SCOPE, origin=ORIGIN, strategy=strategy
    )


async def roll_out(
    environment: SimulatedEnvironment, request: RolloutReleaseInput, to: ReleaseTag
) -> None:
    """Run a rollout over the whole fleet until it has ended.

    Args:
        environment: the fleet.
        request: the rollout, or the undo.
        to: the release that every route is to be proven at when it ends.

    Raises:
        RolloutError: it did not converge, or a route is left behind.
        ChildFailedError: the worker, the server or the hosts' process ended meanwhile.
    """
    handle = await environment.client.start_workflow(
        RolloutRelease.run,
        request,
        id=rollout_workflow_id(request.release_tag, request.scope, undo=request.undo),
        task_queue=environment.settings.task_queue,
    )
    progress = Progress(store_address(environment.settings))
    routes = environment.routes
    try:
        async with _progress_reports(progress, routes, to):
            status = await _result(handle, environment)
        proven = progress.proven_at(to)
        if status.phase is not RolloutPhase.CONVERGED or proven != routes:
            faults = "\n".join(str(fault) for fault in progress.faults(_MAX_SHOWN_FAULTS))
            msg = f"{status.phase}: {status.detail}; {proven}/{routes} proven at {to}\n{faults}"
            raise RolloutError(msg)
    finally:
        progress.close()


async def _result(
    handle: WorkflowHandle[Any, RolloutStatus], environment: SimulatedEnvironment
) -> RolloutStatus:
    """Return a rollout's status when it ends; raise an error if a child process ends before."""
    result = asyncio.create_task(handle.result())
    exits = [asyncio.create_task(child.unexpected_exit()) for child in environment.children]
    try:
        await asyncio.wait([result, *exits], return_when=asyncio.FIRST_COMPLETED)
        for each in exits:
            if each.done():
                raise each.result()
        return await result_of(result, RolloutStatus)
    finally:
        for task in (result, *exits):
            task.cancel()
        await asyncio.gather(result, *exits, return_exceptions=True)


@asynccontextmanager
async def _progress_reports(
    progress: Progress, routes: int, tag: ReleaseTag
) -> AsyncIterator[None]:
    """Print the rollout's progress periodically until the block ends."""

    async def report() -> None:
        while True:
            await asyncio.sleep(PROGRESS_INTERVAL_SECONDS)
            proven = await asyncio.to_thread(progress.proven_at, tag)
            print(f"bench: {proven} of {routes} routes at {tag}", file=sys.stderr)  # noqa: T201

    task = asyncio.create_task(report())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _route_histories(environment: SimulatedEnvironment) -> list[History]:
    """Return the histories of a sample of routes; the same sample for the same number of routes."""
    routes = environment.routes
    sample = random.Random(0).sample(range(routes), min(SAMPLES, routes))  # noqa: S311 - no secret
    return [
        await _route_history(environment.client, SimulatedRoute(number).route_id)
        for number in sample
    ]


async def _route_history(client: Client, route_id: RouteId) -> History:
    return _size(await client.get_workflow_handle(route_workflow_id(route_id)).describe())


async def _rollout_histories(client: Client) -> list[History]:
    """Return the histories of the rollout and its waves: of all workflows but those of routes."""
    prefix = route_workflow_id("")
    return [
        _size(await client.get_workflow_handle(each.id, run_id=each.run_id).describe())
        async for each in client.list_workflows(page_size=1000)
        if not each.id.startswith(prefix)
    ]


def _size(execution: WorkflowExecution) -> History:
    return History(execution.history_length, execution.raw_info.history_size_bytes)
