"""`python -m devkit.bench.scale`: the cost per route of a rollout, in a small and a large fleet."""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from devkit.bench.scale import report
from devkit.bench.scale.environment import Shape, simulated_environment
from devkit.bench.scale.fleet import MAX_ROUTES
from devkit.bench.scale.rollout import Figures, measure

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def bench_scale(
    routes: Annotated[int, typer.Option(min=1, max=MAX_ROUTES, help="Number of routes.")] = 1000,
    small: Annotated[int, typer.Option(min=1, help="Size of the small fleet to compare with.")] = (
        1000
    ),
    concurrent: Annotated[int, typer.Option(min=1, max=1000, help="Concurrent routes.")] = 100,
    change_seconds: Annotated[
        float, typer.Option(min=0, help="How long a change takes on a host.")
    ] = 0.5,
    workers: Annotated[int, typer.Option(min=1, max=8, help="Worker processes.")] = 1,
    postgresql: Annotated[
        bool, typer.Option("--postgresql", help="Keep the store on PostgreSQL, not in a file.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Also write all figures to this file.")] = None,
) -> None:
    """Measure a rollout over a fleet, and over a small fleet first if that is smaller.

    Exits with 1 if the cost per route grows with the fleet, or if a history is too large.
    """
    logging.basicConfig(level=logging.WARNING)
    sizes = [small, routes] if routes > small else [routes]
    columns = [
        asyncio.run(
            _run(Shape(size, change_seconds, workers=workers, postgresql=postgresql), concurrent)
        )
        for size in sizes
    ]
    report.show(columns)
    if json is not None:
        report.write(columns, json)
    if violations := report.violations(columns):
        sys.exit("\n".join(f"error: {each}" for each in violations))


async def _run(shape: Shape, concurrent: int) -> Figures:
    async with simulated_environment(shape) as environment:
        return await measure(environment, concurrent)


if __name__ == "__main__":
    app()
