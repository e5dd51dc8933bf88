"""`python -m devkit.bench.scale.verify`: the cost of a reconcile run over a whole fleet.

Measured twice: with every proof outdated, so that every host is verified, and with none outdated.
"""

import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from devkit.bench.meter import measured
from devkit.bench.report import Metric
from devkit.bench.scale.environment import (
    HOSTS,
    SERVER,
    WORKER,
    Shape,
    SimulatedEnvironment,
    simulated_environment,
)
from devkit.bench.scale.fleet import MAX_ROUTES, ORIGIN
from devkit.bench.scale.report import MAX_BYTES, MAX_EVENTS
from devkit.bench.scale.rollout import SETTLE_SECONDS
from relight.domain.reconcile.plan import MAX_VERIFICATIONS, ReconcilePolicy
from relight.domain.reconcile.run import (
    RECONCILE_WORKFLOW_ID,
    ReconcileFleetInput,
    ReconcileRun,
)
from workflows.fleet.reconcile import ReconcileFleet

ALL_OUTDATED, NONE_OUTDATED = timedelta(microseconds=1), timedelta(days=1)
"""How long a proof lasts, in each of the two runs."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class RunFigures:
    """The cost of the reconcile runs that verify a fleet once. CPU times are per route.

    Attributes:
        verified: the number of verified hosts.
        proven: how many of those were proven.
        events, history_bytes: of the longest history.
        worker_peak_mib: the largest resident memory during the run.
        hosts_cpu_ms: for simulating the hosts; real hosts use their own CPU.
    """

    routes: int
    verified: int
    proven: int
    wall_seconds: float
    worker_cpu_ms: float
    server_cpu_ms: float
    hosts_cpu_ms: float
    events: int
    history_bytes: int
    worker_peak_mib: float


_METRICS = (
    Metric("verified hosts", "verified"),
    Metric("of those proven", "proven"),
    Metric("wall s", "wall_seconds", digits=2),
    Metric("worker CPU ms/route", "worker_cpu_ms", digits=2),
    Metric("server CPU ms/route", "server_cpu_ms", digits=2),
    Metric("history events", "events"),
    Metric("history KiB", "history_bytes", divisor=2**10, digits=1),
    Metric("worker peak MiB", "worker_peak_mib"),
    Metric("simulated hosts: CPU ms/route", "hosts_cpu_ms", digits=2),
)


@app.command()
def bench_verify(
    routes: Annotated[int, typer.Option(min=1, max=MAX_ROUTES, help="Number of routes.")] = 1000,
) -> None:
    """Measure a reconcile run over a fleet of simulated hosts.

    Exits with 1 if a host was not proven, or if the run's history is too large.
    """
    logging.basicConfig(level=logging.WARNING)
    columns = asyncio.run(_run(routes))
    _show(columns)
    if violations := _violations(columns):
        sys.exit("\n".join(f"error: {each}" for each in violations))


async def _run(routes: int) -> list[RunFigures]:
    async with simulated_environment(Shape(routes)) as environment:
        return [await _measure(environment, each) for each in (ALL_OUTDATED, NONE_OUTDATED)]


async def _measure(environment: SimulatedEnvironment, proof_lasts: timedelta) -> RunFigures:
    routes = environment.routes
    async with measured(environment.group, (WORKER,), SETTLE_SECONDS) as usage:
        # Each verifies those whose proofs are the oldest.
        runs = [
            await _reconcile(environment, proof_lasts) for _ in range(0, routes, MAX_VERIFICATIONS)
        ]
    cpu_ms = {part: seconds / routes * 1000 for part, seconds in usage.cpu_seconds.items()}
    return RunFigures(
        routes=routes,
        verified=sum(run.proven + run.faulted + run.skipped for run, _, _ in runs),
        proven=sum(run.proven for run, _, _ in runs),
        wall_seconds=usage.wall_seconds,
        worker_cpu_ms=cpu_ms[WORKER],
        server_cpu_ms=cpu_ms[SERVER],
        hosts_cpu_ms=cpu_ms[HOSTS],
        events=max(events for _, events, _ in runs),
        history_bytes=max(history_bytes for _, _, history_bytes in runs),
        worker_peak_mib=usage.peak_mib[WORKER],
    )


async def _reconcile(
    environment: SimulatedEnvironment, proof_lasts: timedelta
) -> tuple[ReconcileRun, int, int]:
    """Run one reconcile run; return its result and its history's events and bytes."""
    policy = ReconcilePolicy(proof_lasts=proof_lasts, max_verifications=environment.routes)
    handle = await environment.client.start_workflow(
        ReconcileFleet.run,
        ReconcileFleetInput(origin=ORIGIN, policy=policy),
        id=RECONCILE_WORKFLOW_ID,
        task_queue=environment.settings.task_queue,
    )
    run = await handle.result()
    execution = await handle.describe()
    return run, execution.history_length, execution.raw_info.history_size_bytes


def _violations(columns: Sequence[RunFigures]) -> list[str]:
    all_outdated, none_outdated = columns
    found = []
    if all_outdated.proven != all_outdated.routes:
        found.append(f"{all_outdated.proven} of {all_outdated.routes} hosts were proven")
    if none_outdated.verified:
        found.append(f"{none_outdated.verified} hosts with a fresh proof were verified")
    found += [
        f"the run's history has {each.events} events, {each.history_bytes} bytes"
        for each in columns
        if each.events >= MAX_EVENTS or each.history_bytes >= MAX_BYTES
    ]
    return found


def _show(columns: Sequence[RunFigures]) -> None:
    table = Table(title=f"A reconcile run over {columns[0].routes} simulated routes")
    for title in ("", "all proofs outdated", "none outdated"):
        table.add_column(title, justify="right" if title else "left")
    for metric in _METRICS:
        table.add_row(metric.label, *map(metric.text, columns))
    Console().print(table)


if __name__ == "__main__":
    app()
