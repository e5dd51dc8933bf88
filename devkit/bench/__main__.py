"""`python -m devkit.bench`: the same hot swap by Relight and by three general tools, in turn."""

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer

from devkit.bench import report, rounds
from devkit.bench.environment import lab_environment

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def bench(
    hosts: Annotated[int, typer.Option(min=1, help="Number of machines.")] = 12,
    rounds_: Annotated[int, typer.Option("--rounds", min=1, help="Number of rounds.")] = 5,
    json: Annotated[Path | None, typer.Option(help="Also write all figures to this file.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Measure this tool only; can be repeated.")
    ] = None,
) -> None:
    """Measure a hot swap of the whole fleet by each tool, and print medians."""
    logging.basicConfig(level=logging.WARNING)
    result = asyncio.run(_run(hosts, rounds_, only or []))
    report.show(result)
    if json is not None:
        report.write(result, json)


async def _run(hosts: int, number: int, only: list[str]) -> report.Report:
    async with lab_environment(hosts) as environment:
        return await rounds.run(environment, number, only)


if __name__ == "__main__":
    app()
