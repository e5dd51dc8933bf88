"""`python -m bench.swap_cost`: what one swap costs its host, step by step, in CPU milliseconds.

Each step is run as the worker runs it, over SSH and through sudo, and the CPU time of all of the
machine's processes is read around it. Then come ways to do the same job with less.
"""

import asyncio
import logging
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bench import rounds
from bench.publishing import AFTER, BEFORE
from bench.stage import Stage, stage
from bench.steps import Job, alternatives, connected, steps

SETTLE_SECONDS = 0.4
"""What a step leaves to others on the host (journald, sshd) is counted as its own."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass
class Costs:
    """The milliseconds of each step, in the order in which they came."""

    seen: dict[str, list[float]] = field(default_factory=dict)

    def show(self, title: str) -> None:
        """Print the medians."""
        table = Table("step", title=title)
        table.add_column("host CPU ms", justify="right")
        for name, values in self.seen.items():
            table.add_row(name, f"{statistics.median(values):.0f}")
        Console().print(table)


@app.command()
def swap_cost(
    number: Annotated[int, typer.Option("--rounds", min=1, help="How often each step.")] = 7,
) -> None:
    """Measure the steps of a swap on one machine that carries Debian's full index."""
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(_run(number))


async def _run(number: int) -> None:
    async with stage(1) as made:
        job = await Job.of(made)
        await rounds.prepare(made)
        parts, wholes = Costs(), Costs()
        for _ in range(number):
            await rounds.reset(made)
            await _cost(made, parts, "(nothing at all)", _nothing)
            await _cost(made, parts, "connect and disconnect (each)", partial(_connect, made))
            async with connected(made) as opened:
                for name, step in steps(job, opened):
                    await _cost(made, parts, name, step)
            for name, step in alternatives(job):
                await rounds.reset(made)
                await _cost(made, wholes, name, step)
        parts.show(f"The parts of a swap from {BEFORE} to {AFTER}, each alone")
        wholes.show("The whole swap, in several ways")


async def _nothing() -> None:
    pass


async def _connect(made: Stage) -> None:
    async with connected(made):
        pass


async def _cost(
    made: Stage, costs: Costs, name: str, step: Callable[[], Awaitable[object]]
) -> None:
    host = made.hosts[0]
    await asyncio.sleep(SETTLE_SECONDS)
    before = host.cpu_seconds()
    await step()
    await asyncio.sleep(SETTLE_SECONDS)
    costs.seen.setdefault(name, []).append((host.cpu_seconds() - before) * 1000)


if __name__ == "__main__":
    app()
