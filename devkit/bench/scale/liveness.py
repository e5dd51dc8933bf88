"""`python -m devkit.bench.scale.liveness`: the cost of a liveness check of a whole fleet.

Some hosts hang: they accept connections and send nothing. The first check finds each machine for
the first time, and those that hang fall silent. Then the fleet does not change any more.
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
from devkit.bench.scale.rollout import SETTLE_SECONDS
from relight.domain.liveness import LIVENESS_WORKFLOW_ID, CheckLivenessInput
from starter.local.children import wait_until
from workflows.fleet.liveness import CheckLiveness

CHECKS = ("first check", "second", "third")

MAX_SECONDS = 60.0
"""The default interval: a check that takes longer makes the next one late."""

MAX_EVENTS, MAX_BYTES = 400, 2**20
"""Limits of a check's history. A tenth of a continued one's: it must not grow with the fleet."""

VERIFIED_WITHIN = timedelta(minutes=5)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class CheckFigures:
    """The cost of one check.

    Attributes:
        hosts_cpu_seconds: for simulating the hosts; real hosts use their own CPU.
    """

    machines: int
    silent: int
    not_probed: int
    wall_seconds: float
    worker_cpu_seconds: float
    server_cpu_seconds: float
    hosts_cpu_seconds: float
    worker_peak_mib: float
    events: int
    history_bytes: int


_METRICS = (
    Metric("machines", "machines"),
    Metric("silent", "silent"),
    Metric("not probed", "not_probed"),
    Metric("wall s", "wall_seconds", digits=1),
    Metric("worker CPU s", "worker_cpu_seconds", digits=2),
    Metric("server CPU s", "server_cpu_seconds", digits=2),
    Metric("worker peak MiB", "worker_peak_mib"),
    Metric("history events", "events"),
    Metric("history KiB", "history_bytes", divisor=2**10, digits=1),
    Metric("simulated hosts: CPU s", "hosts_cpu_seconds", digits=2),
)


@app.command()
def bench_liveness(
    routes: Annotated[int, typer.Option(min=1, max=MAX_ROUTES, help="Number of routes.")] = 10_000,
    silent: Annotated[int, typer.Option(min=0, help="About so many hosts hang.")] = 20,
) -> None:
    """Measure liveness checks of a fleet of simulated hosts.

    Exits with 1 if a check takes a minute or longer, or more than a minute of CPU; if a machine was
    missed; or if a history is too large.
    """
    logging.basicConfig(level=logging.WARNING)
    columns = asyncio.run(_run(routes, routes // silent if silent else 0))
    _show(columns)
    if violations := _violations(columns, routes):
        sys.exit("\n".join(f"error: {each}" for each in violations))


async def _run(routes: int, silent_every: int) -> list[CheckFigures]:
    async with simulated_environment(Shape(routes, silent_every=silent_every)) as environment:
        return [await _measure(environment, number) for number, _ in enumerate(CHECKS)]


async def _measure(environment: SimulatedEnvironment, number: int) -> CheckFigures:
    async with measured(environment.group, (WORKER,), SETTLE_SECONDS) as usage:
        handle = await environment.client.start_workflow(
            CheckLiveness.run,
            CheckLivenessInput(origin=ORIGIN),
            id=f"{LIVENESS_WORKFLOW_ID}-{number}",
            task_queue=environment.settings.task_queue,
        )
        check = await handle.result()
    execution = await handle.describe()
    await _until_idle(environment)
    return CheckFigures(
        machines=check.machines,
        silent=check.silent,
        not_probed=check.not_probed,
        wall_seconds=usage.wall_seconds,
        worker_cpu_seconds=usage.cpu_seconds[WORKER],
        server_cpu_seconds=usage.cpu_seconds[SERVER],
        hosts_cpu_seconds=usage.cpu_seconds[HOSTS],
        worker_peak_mib=usage.peak_mib[WORKER],
        events=execution.history_length,
        history_bytes=execution.raw_info.history_size_bytes,
    )


async def _until_idle(environment: SimulatedEnvironment) -> None:
    """Wait for the verifications that the check has started."""

    async def idle() -> bool:
        running = environment.client.list_workflows("ExecutionStatus = 'Running'")
        return not [each async for each in running if each.id.startswith("verify")]

    await wait_until(idle, VERIFIED_WITHIN)


def _violations(columns: Sequence[CheckFigures], routes: int) -> list[str]:
    found = []
    for title, each in zip(CHECKS, columns, strict=True):
        if each.machines != routes or each.not_probed:
            found.append(f"{title}: {each.machines} machines, {each.not_probed} not probed")
        if each.wall_seconds >= MAX_SECONDS or each.worker_cpu_seconds >= MAX_SECONDS:
            found.append(
                f"{title}: {each.wall_seconds:.1f} s, {each.worker_cpu_seconds:.1f} s of CPU"
            )
        if each.events >= MAX_EVENTS or each.history_bytes >= MAX_BYTES:
            found.append(f"{title}: {each.events} events, {each.history_bytes} bytes")
    return found


def _show(columns: Sequence[CheckFigures]) -> None:
    table = Table(title="Liveness checks of simulated hosts")
    for title in ("", *CHECKS):
        table.add_column(title, justify="right" if title else "left")
    for metric in _METRICS:
        table.add_row(metric.label, *map(metric.text, columns))
    Console().print(table)


if __name__ == "__main__":
    app()
