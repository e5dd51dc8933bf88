"""`python -m devkit.bench.scale`: what a route costs in a small fleet, and in a large one."""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from devkit.bench.scale import report
from devkit.bench.scale.fleet import MOST_ROUTES
from devkit.bench.scale.rollout import Figures, measure
from devkit.bench.scale.stage import stage

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def bench_scale(
    routes: Annotated[int, typer.Option(min=1, max=MOST_ROUTES, help="How many routes.")] = 1000,
    small: Annotated[int, typer.Option(min=1, help="The fleet to compare a larger one with.")] = (
        1000
    ),
    concurrent: Annotated[int, typer.Option(min=1, max=1000, help="Routes changed at once.")] = 100,
    change_seconds: Annotated[float, typer.Option(min=0, help="A host's time to change.")] = 0.5,
    json: Annotated[Path | None, typer.Option(help="Write the figures there, too.")] = None,
) -> None:
    """Measure a rollout over so many routes, beside one over a small fleet if that is smaller.

    Exits with 1 where the cost of a route grows with the fleet, or a history becomes too large.
    """
    logging.basicConfig(level=logging.WARNING)
    sizes = [small, routes] if routes > small else [routes]
    columns = [asyncio.run(_run(size, concurrent, change_seconds)) for size in sizes]
    report.show(columns)
    if json is not None:
        report.write(columns, json)
    if wrong := report.wrong(columns):
        sys.exit("\n".join(f"error: {what}" for what in wrong))


async def _run(routes: int, concurrent: int, change_seconds: float) -> Figures:
    async with stage(routes, change_seconds) as made:
        return await measure(made, concurrent)


if __name__ == "__main__":
    app()
