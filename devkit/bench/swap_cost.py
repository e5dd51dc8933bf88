"""`python -m devkit.bench.swap_cost`: CPU time of each step of one swap on its host.

Each step runs over SSH and sudo, as the worker runs it. The CPU time of all processes of the
machine is read before and after it. The whole swap is measured last.
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
from devkit.bench.environment import LabEnvironment, lab_environment
from devkit.bench.machines import on_all
from devkit.bench.publishing import AFTER, BEFORE
from relight.domain.service import Service
from relight.hosts import connections, host_program, proof, transaction
from relight.hosts.errors import Destination
from relight.hosts.host_program import Change
from relight.hosts.keys import derive_host_key, load_client_key, load_secret
from relight.hosts.shell import Shell
from relight.settings import required

SETTLE_SECONDS = 0.4
"""Pause around a step: work that it causes in other processes (journald, sshd) is included."""

_TIMEOUT = timedelta(seconds=60)

Step = Callable[[], Awaitable[object]]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass
class Costs:
    """The CPU milliseconds of each step, in the order of the first measurement."""

    milliseconds: dict[str, list[float]] = field(default_factory=dict)

    def show(self, title: str) -> None:
        """Print the medians."""
        table = Table("step", title=title)
        table.add_column("host CPU ms", justify="right")
        for name, values in self.milliseconds.items():
            table.add_row(name, f"{statistics.median(values):.0f}")
        Console().print(table)


@app.command()
def swap_cost(
    number: Annotated[int, typer.Option("--rounds", min=1, help="Measurements per step.")] = 7,
) -> None:
    """Measure the steps of a swap on one machine that has Debian's full index."""
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(_run(number))


async def _run(number: int) -> None:
    async with lab_environment(1) as environment:
        await rounds.prepare(environment)
        costs = Costs()
        for _ in range(number):
            await rounds.reset(environment)
            await _measure(
                environment, costs, "connect and disconnect", partial(_connect, environment)
            )
            async with _connected(environment) as connection:
                for name, step in _steps(environment, connection):
                    await _measure(environment, costs, name, step)
            await rounds.reset(environment)
            await _measure(environment, costs, "the whole swap", partial(_whole_swap, environment))
        costs.show(f"A swap from {BEFORE} to {AFTER}: each step alone, and the whole swap")


def _steps(environment: LabEnvironment, connection: Shell) -> list[tuple[str, Step]]:
    """Return the steps of a swap in their order."""
    unit = environment.settings.service.unit

    def run(*argv: str, sudo: bool = True) -> Step:
        return partial(connection.run, argv, timeout=_TIMEOUT, sudo=sudo)

    def inside(command: str) -> Step:
        return partial(on_all, environment.machines, command)

    return [
        ("run `true`", run("true", sudo=False)),
        ("observe the host", run(*host_program.observe())),
        ("install (update, list, apt-get install)", run(*host_program.install(Change(AFTER)))),
        ("serve (compare, reload if needed, restart)", run(*host_program.serve())),
        ("serve again (nothing to do)", run(*host_program.serve())),
        ("forget a transaction", run(*host_program.forget("relight-bench.service"))),
        ("  for comparison: daemon-reload", inside("systemctl daemon-reload")),
        ("  for comparison: restart", inside(f"systemctl restart {unit}")),
    ]


async def _connect(environment: LabEnvironment) -> None:
    async with _connected(environment):
        pass


async def _whole_swap(environment: LabEnvironment) -> None:
    """Swap the host as the worker does."""
    settings = environment.settings.service
    service = Service(settings.package, settings.unit, settings.executable, timedelta(0))
    unit = transaction.unit_name("bench")
    async with _connected(environment) as connection:
        ended = await transaction.run_transaction(
            connection, unit, Change(AFTER), service, lambda _: None
        )
        await proof.watch(connection, service, AFTER, lambda _: None, ended.observation)
        await transaction.forget(connection, unit)


@asynccontextmanager
async def _connected(environment: LabEnvironment) -> AsyncIterator[Shell]:
    """Open a shell on the first host, as the worker does."""
    machine, ssh = environment.machines[0], environment.settings.ssh
    secret = load_secret(required(ssh.host_key_secret, "ssh", "host_key_secret"))
    async with connections.connect(
        Destination(machine.address, ssh.port, ssh.user, machine.key),
        [load_client_key(required(ssh.client_key, "ssh", "client_key"))],
        [derive_host_key(secret, machine.key).public],
        ssh.connect_timeout,
    ) as connection:
        yield connection


async def _measure(environment: LabEnvironment, costs: Costs, name: str, step: Step) -> None:
    machine = environment.machines[0]
    await asyncio.sleep(SETTLE_SECONDS)
    before = machine.cpu_seconds()
    await step()
    await asyncio.sleep(SETTLE_SECONDS)
    used_ms = (machine.cpu_seconds() - before) * 1000
    costs.milliseconds.setdefault(name, []).append(used_ms)


if __name__ == "__main__":
    app()
