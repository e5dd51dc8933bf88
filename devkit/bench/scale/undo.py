"""`python -m devkit.bench.scale.undo`: the time of an undo against that of the rollout before it.

Both have the strategy that their commands have without options. A change takes the same time on
each simulated host; a real one takes longer, which is to the advantage of the undo: what limits it
here is mostly this computer.
"""

import asyncio
import logging
import sys
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from devkit.bench.meter import Usage, measured
from devkit.bench.publishing import AFTER_TAG, BEFORE
from devkit.bench.report import Metric
from devkit.bench.scale.environment import (
    SERVER,
    WORKER,
    Shape,
    SimulatedEnvironment,
    simulated_environment,
)
from devkit.bench.scale.fleet import MAX_ROUTES, ORIGIN
from devkit.bench.scale.rollout import SETTLE_SECONDS, forward, roll_out
from relight.domain.names import FLEET_SCOPE
from relight.domain.rollout.rollout import RolloutReleaseInput
from relight.domain.rollout.strategy import UNDO_STRATEGY, Strategy

MAX_RATIO = 1 / 3
"""The longest that an undo may take, as a share of the time of the rollout."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Figures:
    """The time and cost of one of both. CPU times are per route."""

    wall_seconds: float
    routes_per_second: float
    worker_cpu_ms: float
    server_cpu_ms: float


_METRICS = (
    Metric("wall s", "wall_seconds", digits=1),
    Metric("routes/s", "routes_per_second", digits=1),
    Metric("worker CPU ms/route", "worker_cpu_ms", digits=1),
    Metric("server CPU ms/route", "server_cpu_ms", digits=1),
)


@app.command()
def bench_undo(
    routes: Annotated[int, typer.Option(min=1, max=MAX_ROUTES, help="Number of routes.")] = 1000,
    change_seconds: Annotated[
        float, typer.Option(min=0, help="How long a change takes on a host.")
    ] = 2.0,
) -> None:
    """Roll a release out over a fleet of simulated hosts, undo that, and compare the times.

    Exits with 1 if a route is left behind, or if the undo takes more than a third of the time.
    """
    logging.basicConfig(level=logging.WARNING)
    rollout, undo = asyncio.run(_run(routes, change_seconds))
    ratio = undo.wall_seconds / rollout.wall_seconds
    table = Table(title=f"{routes} routes, {change_seconds:g} s for each change: 0 left behind")
    for title in ("", "rollout", "undo", "times"):
        table.add_column(title, justify="right" if title else "left")
    for metric in _METRICS:
        times = f"{metric.ratio(undo, rollout):.2f}"
        table.add_row(metric.label, metric.text(rollout), metric.text(undo), times)
    Console().print(table)
    if ratio > MAX_RATIO:
        sys.exit(f"error: the undo took {ratio:.2f} of the time of the rollout")


async def _run(routes: int, change_seconds: float) -> tuple[Figures, Figures]:
    async with simulated_environment(Shape(routes, change_seconds)) as environment:
        # As the commands do, both take the budget of all operations.
        budget = {"disruption_budget": environment.settings.reconcile.strategy.disruption_budget}
        undo = RolloutReleaseInput(
            release_tag=AFTER_TAG,
            scope=FLEET_SCOPE,
            origin=ORIGIN,
            strategy=UNDO_STRATEGY.model_copy(update=budget),
            undo=True,
        )
        return (
            await _measure(environment, forward(Strategy(**budget)), AFTER_TAG),
            await _measure(environment, undo, f"v{BEFORE}"),
        )


async def _measure(
    environment: SimulatedEnvironment, request: RolloutReleaseInput, to: str
) -> Figures:
    async with measured(environment.group, (), SETTLE_SECONDS) as usage:
        await roll_out(environment, request, to)
    return _figures(usage, environment.routes)


def _figures(usage: Usage, routes: int) -> Figures:
    cpu_ms = {part: seconds / routes * 1000 for part, seconds in usage.cpu_seconds.items()}
    return Figures(
        wall_seconds=usage.wall_seconds,
        routes_per_second=routes / usage.wall_seconds,
        worker_cpu_ms=cpu_ms[WORKER],
        server_cpu_ms=cpu_ms[SERVER],
    )


if __name__ == "__main__":
    app()
