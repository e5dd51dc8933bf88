"""`python -m bench`: the same hot swap by Relight and by three general tools, in turn."""

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer

from devkit.bench import report, rounds
from devkit.bench.stage import stage

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def bench(
    hosts: Annotated[int, typer.Option(min=1, help="How many machines.")] = 12,
    number: Annotated[int, typer.Option("--rounds", min=1, help="How many rounds.")] = 5,
    json: Annotated[Path | None, typer.Option(help="Write the figures there, too.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="A contestant; all without it.")] = None,
) -> None:
    """Measure a hot swap of the whole fleet by each tool, and print medians."""
    logging.basicConfig(level=logging.WARNING)
    found = asyncio.run(_run(hosts, number, only or []))
    report.show(found)
    if json is not None:
        report.write(found, json)


async def _run(hosts: int, number: int, only: list[str]) -> report.Report:
    async with stage(hosts) as made:
        return await rounds.play(made, number, only)


if __name__ == "__main__":
    app()
