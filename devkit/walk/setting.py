"""The ground of all walks of a process: a server, its clock, short waits and a healthy fleet."""

import copy
import importlib
import pkgutil
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

import starter.cli
from devkit.walk.clock import Clock, applied
from devkit.walk.fleet import Fleet, Simulated, provision, running_fleet, simulated
from starter.local.temporal import embedded_temporal

_SHORT, _LONG = timedelta(milliseconds=20), timedelta(milliseconds=300)

_WAITS: dict[str, object] = {
    "activities.machine.polls.POLL": _SHORT,
    "activities.machine.polls.MAX_POLL": _LONG,
    "activities.machine.first_boot.POLL": _SHORT,
    "activities.machine.first_boot.SSH_TIMEOUT": _LONG,
    "activities.machine.first_boot.CLOUD_INIT_TIMEOUT": _LONG,
    "activities.machine.destruction.REPEAT_DESTROY_AFTER": _LONG,
    "activities.fleet.verification.PAUSE": _SHORT,
    "activities.fleet_limit.RETRY": _SHORT,
    "activities.fleet_limit.RENEW": _LONG,
    "activities.execution.HEARTBEAT_INTERVAL": _SHORT,
    "relight.hosts.proof.RECHECK_INTERVAL": _SHORT,
    "relight.hosts.proof.START_TIMEOUT": _LONG,
    "starter.cli.provision.POLL_EVERY": _SHORT,
    "starter.cli.replace.POLL_EVERY": _SHORT,
    "starter.cli.rollout_client.POLL_EVERY": _SHORT,
    "worker.MAX_HEARTBEAT_INTERVAL": _SHORT,
    "worker.GRACE": timedelta(0),
}
"""Waits that timers of the server do not make. A worker that stops cuts its activities short."""


@dataclass(frozen=True)
class Ground:
    """What each walk starts from.

    Attributes:
        client: of the server.
        clock: the time of the walk that is running.
        folder: has the database file of a healthy fleet.
        simulated: that fleet's clouds and hosts.
    """

    client: Client
    clock: Clock
    folder: Path
    simulated: Simulated

    @asynccontextmanager
    async def fleet(self, name: str) -> AsyncIterator[Fleet]:
        """Run a copy of the healthy fleet, in a time of its own.

        Args:
            name: of its task queue; no other has the same.
        """
        self.clock.reset()
        simulated = copy.deepcopy(self.simulated)
        with tempfile.TemporaryDirectory(prefix="walk-") as folder:
            shutil.copytree(self.folder, folder, dirs_exist_ok=True)
            async with running_fleet(
                self.client, self.clock, Path(folder), simulated, name
            ) as fleet:
                yield fleet


@asynccontextmanager
async def walking_ground() -> AsyncIterator[Ground]:
    """Run a server, let all modules read one clock, and provision the fleet that walks copy."""
    for module in pkgutil.iter_modules(starter.cli.__path__):
        if module.name != "__main__":
            importlib.import_module(f"starter.cli.{module.name}")
    clock, clouds_and_hosts = Clock(), simulated()
    with tempfile.TemporaryDirectory(prefix="walk-") as home, _replaced(_WAITS), applied(clock):
        async with embedded_temporal(Path(home), durable=False) as server:
            client = await Client.connect(server.address, data_converter=pydantic_data_converter)
            folder = Path(tempfile.mkdtemp(dir=home))
            async with running_fleet(client, clock, folder, clouds_and_hosts, "first") as fleet:
                await provision(fleet)
            yield Ground(client, clock, folder, clouds_and_hosts)


@contextmanager
def _replaced(values: dict[str, object]) -> Iterator[None]:
    """Set variables of modules until the block ends."""
    before = []
    for path, value in values.items():
        name, _, attribute = path.rpartition(".")
        module = importlib.import_module(name)
        before.append((module, attribute, getattr(module, attribute)))
        setattr(module, attribute, value)
    try:
        yield
    finally:
        for module, attribute, value in before:
            setattr(module, attribute, value)
