"""`python -m devkit.bench.swap_cost`: what one swap costs its host, step by step, in CPU milliseconds.

Each step is run over SSH and through sudo, as the worker runs it, and the CPU time of all of the
machine's processes is read around it. Then comes the whole swap.
"""

import asyncio
import logging
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from devkit.bench import rounds
from devkit.bench.hosts import on_all
from devkit.bench.publishing import AFTER, BEFORE
from devkit.bench.stage import Stage, stage
from relight.hosts import host_program, proof, shell, transaction
from relight.hosts.errors import Destination
from relight.hosts.host_program import Change
from relight.hosts.keys import (
    derive_host_key,
    load_client_key,
    load_secret,
)
from relight.hosts.proof import Expected
from relight.hosts.shell import Shell
from relight.settings import required

SETTLE_SECONDS = 0.4
"""What a step leaves to others on the host (journald, sshd) is counted as its own."""

_TIMEOUT = timedelta(seconds=60)

Step = Callable[[], Awaitable[object]]

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
        await rounds.prepare(made)
        costs = Costs()
        for _ in range(number):
            await rounds.reset(made)
            await _cost(made, costs, "connect and disconnect", partial(_connect, made))
            async with _connected(made) as opened:
                for name, step in _steps(made, opened):
                    await _cost(made, costs, name, step)
            await rounds.reset(made)
            await _cost(made, costs, "the whole swap", partial(_as_the_worker, made))
        costs.show(f"A swap from {BEFORE} to {AFTER}: its parts, each alone, and all of it")


def _steps(made: Stage, on: Shell) -> list[tuple[str, Step]]:
    """Return the parts of a swap, in the order in which they come."""
    unit = made.settings.service.unit

    def run(*argv: str, sudo: bool = True) -> Step:
        return partial(on.run, argv, timeout=_TIMEOUT, sudo=sudo)

    return [
        ("an exec of nothing", run("true", sudo=False)),
        ("look at the host", run(*host_program.see())),
        ("install (update, list, apt-get install)", run(*host_program.install(Change(AFTER)))),
        ("serve (compare, reload if due, restart)", run(*host_program.serve())),
        ("serve again (nothing to do)", run(*host_program.serve())),
        ("forget a change", run(*host_program.forget("relight-bench.service"))),
        ("  for comparison: daemon-reload", partial(_inside, made, "systemctl daemon-reload")),
        ("  for comparison: restart", partial(_inside, made, f"systemctl restart {unit}")),
    ]


async def _inside(made: Stage, command: str) -> None:
    await on_all(made.hosts, command)


async def _connect(made: Stage) -> None:
    async with _connected(made):
        pass


async def _as_the_worker(made: Stage) -> None:
    service = made.settings.service
    expected = Expected(service.package, AFTER, service.unit, service.executable)
    unit = transaction.unit_name("bench")
    async with _connected(made) as on:
        ended = await transaction.run_to_end(on, unit, Change(AFTER), expected, lambda _: None)
        await proof.watch(on, expected, timedelta(0), lambda _: None, ended.look)
        await transaction.forget(on, unit)


@asynccontextmanager
async def _connected(made: Stage) -> AsyncIterator[Shell]:
    """Open a shell on the stage's first host, as the worker opens it."""
    host, ssh = made.hosts[0], made.settings.ssh
    secret = load_secret(required(ssh.host_key_secret, "ssh", "host_key_secret"))
    async with shell.connect(
        Destination(host.address, ssh.port, ssh.user, host.key),
        load_client_key(required(ssh.client_key, "ssh", "client_key")),
        derive_host_key(secret, host.key).public,
        ssh.connect_timeout,
    ) as opened:
        yield opened


async def _cost(made: Stage, costs: Costs, name: str, step: Step) -> None:
    host = made.hosts[0]
    await asyncio.sleep(SETTLE_SECONDS)
    before = host.cpu_seconds()
    await step()
    await asyncio.sleep(SETTLE_SECONDS)
    costs.seen.setdefault(name, []).append((host.cpu_seconds() - before) * 1000)


if __name__ == "__main__":
    app()
