"""One rollout over a whole fleet that is played, and what it cost."""

import asyncio
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel
from temporalio.client import Client, WorkflowExecution, WorkflowHandle

from devkit.bench.meter import sampled_peak
from devkit.bench.publishing import AFTER_TAG
from devkit.bench.scale.fleet import (
    ORIGIN,
    PlayedRoute,
    Progress,
)
from devkit.bench.scale.stage import (
    HOSTS,
    SERVER,
    WORKER,
    Stage,
)
from relight.domain.names import (
    FLEET_SCOPE,
    RouteId,
    rollout_workflow_id,
    route_workflow_id,
)
from relight.domain.rollout.rollout import (
    RolloutPhase,
    RolloutReleaseInput,
    Strategy,
)
from workflows.rollout.rollout import RolloutRelease

SAMPLES = 20
"""How many routes' histories are looked at: they hardly differ."""

SETTLE_SECONDS = 1.0
"""After a rollout, before the meters are read: its last workflow task is still being written."""

PROGRESS_EVERY_SECONDS = 10.0
_SHOWN_FAULTS = 3


class RolloutError(Exception):
    """A rollout did not bring every route to the release."""


class History(NamedTuple):
    """How large a workflow's history is."""

    events: int
    size_bytes: int


@dataclass(frozen=True)
class Figures:
    """What a rollout cost. CPU times, events and bytes are per route.

    Attributes:
        events: of the route's own history, and its part of the rollout's.
        history_bytes: likewise.
        worker_peak_mib: the most resident memory while it ran.
        largest_events: of the longest history of the rollout itself and of its waves.
        largest_bytes: of the largest one.
        histories: how many of those there are.
        hosts_cpu_ms: what it took to play the hosts; in life they do that themselves.
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
    hosts_cpu_ms: float

    def as_dict(self) -> dict[str, float]:
        """Return them by name."""
        return asdict(self)


class _Status(BaseModel):
    """What is asked of a rollout's status."""

    phase: RolloutPhase
    detail: str = ""


async def measure(stage: Stage, max_concurrent: int) -> Figures:
    """Roll the release out over the fleet, and return what that cost.

    Args:
        stage: a fresh one.
        max_concurrent: how many routes are changed at once.

    Raises:
        RolloutError: it did not converge.
        ChildFailedError: the worker, the server or the hosts ended meanwhile.
    """
    before = stage.group.cpu_by_part()
    async with AsyncExitStack() as stack:
        peaks = {
            part: await stack.enter_async_context(sampled_peak(stage.group.folder / part))
            for part in (WORKER, SERVER)
        }
        began = time.monotonic()
        await _roll_out(stage, max_concurrent)
        wall = time.monotonic() - began
    await asyncio.sleep(SETTLE_SECONDS)
    used = {part: after - before[part] for part, after in stage.group.cpu_by_part().items()}
    per_route_ms = {part: seconds / stage.routes * 1000 for part, seconds in used.items()}
    own, of_rollout = await _routes_histories(stage), await _rollouts_histories(stage.client)
    return Figures(
        routes=stage.routes,
        wall_seconds=wall,
        routes_per_second=stage.routes / wall,
        worker_cpu_ms=per_route_ms[WORKER],
        server_cpu_ms=per_route_ms[SERVER],
        events=_mean(own, 0) + sum(each.events for each in of_rollout) / stage.routes,
        history_bytes=_mean(own, 1) + sum(each.size_bytes for each in of_rollout) / stage.routes,
        worker_peak_mib=peaks[WORKER].mib,
        server_peak_mib=peaks[SERVER].mib,
        largest_events=max(each.events for each in of_rollout),
        largest_bytes=max(each.size_bytes for each in of_rollout),
        histories=len(of_rollout),
        hosts_cpu_ms=per_route_ms[HOSTS],
    )


async def _roll_out(stage: Stage, max_concurrent: int) -> None:
    handle = await stage.client.start_workflow(
        RolloutRelease.run,
        RolloutReleaseInput(
            release_tag=AFTER_TAG,
            scope=FLEET_SCOPE,
            origin=ORIGIN,
            strategy=Strategy(max_concurrent=max_concurrent),
        ),
        id=rollout_workflow_id(AFTER_TAG, FLEET_SCOPE),
        task_queue=stage.settings.task_queue,
    )
    progress = Progress(stage.settings.database_url)
    try:
        async with _told_of(progress, stage.routes):
            await _end_of(handle, stage)
        status = await handle.query("status", result_type=_Status)
        proven = progress.proven_at(AFTER_TAG)
        if status.phase is not RolloutPhase.CONVERGED or proven != stage.routes:
            faults = "\n".join(str(fault) for fault in progress.faults(_SHOWN_FAULTS))
            msg = f"{status.phase}: {status.detail}; {proven}/{stage.routes} proven\n{faults}"
            raise RolloutError(msg)
    finally:
        progress.close()


async def _end_of(handle: WorkflowHandle[Any, Any], stage: Stage) -> None:
    """Wait for a rollout's end, or for that of a child without which it has none."""
    result = asyncio.create_task(handle.result())
    ends = [asyncio.create_task(child.ended()) for child in stage.children]
    try:
        await asyncio.wait([result, *ends], return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            if end.done():
                raise end.result()
        await result
    finally:
        for task in (result, *ends):
            task.cancel()
        await asyncio.gather(result, *ends, return_exceptions=True)


@asynccontextmanager
async def _told_of(progress: Progress, routes: int) -> AsyncIterator[None]:
    """Say every now and then how far the rollout has come, until the block ends."""

    async def tell() -> None:
        while True:
            await asyncio.sleep(PROGRESS_EVERY_SECONDS)
            proven = await asyncio.to_thread(progress.proven_at, AFTER_TAG)
            print(f"bench: {proven} of {routes} routes", file=sys.stderr)  # noqa: T201

    task = asyncio.create_task(tell())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _routes_histories(stage: Stage) -> list[History]:
    """Return those of some routes, the same ones for the same fleet."""
    picked = random.Random(0).sample(range(stage.routes), min(SAMPLES, stage.routes))  # noqa: S311
    return [await _of_route(stage.client, PlayedRoute(number).route_id) for number in picked]


async def _of_route(client: Client, route_id: RouteId) -> History:
    return _size(await client.get_workflow_handle(route_workflow_id(route_id)).describe())


async def _rollouts_histories(client: Client) -> list[History]:
    """Return those of the rollout and of its waves: of every workflow that is not a route's."""
    routes = route_workflow_id("")
    return [
        _size(await client.get_workflow_handle(each.id, run_id=each.run_id).describe())
        async for each in client.list_workflows(page_size=1000)
        if not each.id.startswith(routes)
    ]


def _size(execution: WorkflowExecution) -> History:
    return History(execution.history_length, execution.raw_info.history_size_bytes)


def _mean(histories: list[History], column: int) -> float:
    return statistics.fmean(history[column] for history in histories)
