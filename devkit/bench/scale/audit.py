"""`python -m devkit.bench.scale.audit`: what one pass of reconciliation over a whole fleet costs.

Twice: once where every proof is old, so that every host is looked at, and once where none is.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from devkit.bench.meter import sampled_peak
from devkit.bench.scale.fleet import MOST_ROUTES, ORIGIN
from devkit.bench.scale.report import MOST_BYTES, MOST_EVENTS
from devkit.bench.scale.rollout import SETTLE_SECONDS
from devkit.bench.scale.stage import (
    HOSTS,
    SERVER,
    WORKER,
    Stage,
    stage,
)
from relight.domain.reconcile.plan import ReconcilePolicy
from relight.domain.reconcile.run import (
    RECONCILE_WORKFLOW_ID,
    ReconcileFleetInput,
    ReconcileRun,
)
from workflows.fleet.reconcile import ReconcileFleet

OLD, YOUNG = timedelta(microseconds=1), timedelta(days=1)
"""How long a proof lasts, where all of them are too old, and where none is."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class RunFigures:
    """What a pass cost. CPU times are per route.

    Attributes:
        observed_at: how many hosts it looked at.
        proven: how many of those were proven.
        worker_peak_mib: the most resident memory while it ran.
        hosts_cpu_ms: what it took to play the hosts; in life they do that themselves.
    """

    routes: int
    observed_at: int
    proven: int
    wall_seconds: float
    worker_cpu_ms: float
    server_cpu_ms: float
    hosts_cpu_ms: float
    events: int
    history_bytes: int
    worker_peak_mib: float


# The name, the figure, what to divide it by, and how many digits of it mean something.
_ROWS = (
    ("hosts looked at", "observed_at", 1, 0),
    ("of those proven", "proven", 1, 0),
    ("wall s", "wall_seconds", 1, 2),
    ("worker CPU ms/route", "worker_cpu_ms", 1, 2),
    ("server CPU ms/route", "server_cpu_ms", 1, 2),
    ("history events", "events", 1, 0),
    ("history KiB", "history_bytes", 1024, 1),
    ("worker peak MiB", "worker_peak_mib", 1, 0),
    ("hosts, played: CPU ms/route", "hosts_cpu_ms", 1, 2),
)


@app.command()
def bench_verify(
    routes: Annotated[int, typer.Option(min=1, max=MOST_ROUTES, help="How many routes.")] = 1000,
) -> None:
    """Measure a pass of reconciliation over a fleet that is played.

    Exits with 1 where a host was not proven, or the pass's history becomes too large.
    """
    logging.basicConfig(level=logging.WARNING)
    columns = asyncio.run(_run(routes))
    _show(columns)
    if wrong := _wrong(columns):
        sys.exit("\n".join(f"error: {what}" for what in wrong))


async def _run(routes: int) -> list[RunFigures]:
    async with stage(routes, change_seconds=0) as made:
        return [await _measure(made, proof_lasts) for proof_lasts in (OLD, YOUNG)]


async def _measure(made: Stage, proof_lasts: timedelta) -> RunFigures:
    before = made.group.cpu_by_part()
    async with AsyncExitStack() as stack:
        worker = made.group.folder / WORKER
        peak = await stack.enter_async_context(sampled_peak(worker))
        began = time.monotonic()
        done, events, history_bytes = await _one_pass(made, proof_lasts)
        wall = time.monotonic() - began
    await asyncio.sleep(SETTLE_SECONDS)
    used = {part: after - before[part] for part, after in made.group.cpu_by_part().items()}
    per_route_ms = {part: seconds / made.routes * 1000 for part, seconds in used.items()}
    return RunFigures(
        routes=made.routes,
        observed_at=done.proven + done.faulted + done.skipped,
        proven=done.proven,
        wall_seconds=wall,
        worker_cpu_ms=per_route_ms[WORKER],
        server_cpu_ms=per_route_ms[SERVER],
        hosts_cpu_ms=per_route_ms[HOSTS],
        events=events,
        history_bytes=history_bytes,
        worker_peak_mib=peak.mib,
    )


async def _one_pass(made: Stage, proof_lasts: timedelta) -> tuple[ReconcileRun, int, int]:
    policy = ReconcilePolicy(proof_lasts=proof_lasts, max_verifications=made.routes)
    handle = await made.client.start_workflow(
        ReconcileFleet.run,
        ReconcileFleetInput(origin=ORIGIN, policy=policy),
        id=RECONCILE_WORKFLOW_ID,
        task_queue=made.settings.task_queue,
    )
    done = await handle.result()
    described = await handle.describe()
    return done, described.history_length, described.raw_info.history_size_bytes


def _wrong(columns: Sequence[RunFigures]) -> list[str]:
    found = []
    looked, idle = columns
    if looked.proven != looked.routes:
        found.append(f"{looked.proven} of {looked.routes} hosts were proven")
    if idle.observed_at:
        found.append(f"{idle.observed_at} hosts were looked at once more")
    found += [
        f"the pass's history has {each.events} events, {each.history_bytes} bytes"
        for each in columns
        if each.events >= MOST_EVENTS or each.history_bytes >= MOST_BYTES
    ]
    return found


def _show(columns: Sequence[RunFigures]) -> None:
    table = Table(title=f"A pass of reconciliation over {columns[0].routes} routes, played")
    for title in ("", "every proof is old", "none is"):
        table.add_column(title, justify="right" if title else "left")
    for label, name, divisor, digits in _ROWS:
        table.add_row(label, *(f"{getattr(each, name) / divisor:,.{digits}f}" for each in columns))
    Console().print(table)


if __name__ == "__main__":
    app()
