"""The machine that has OpenStack."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import httpx

from devkit.openstack import resources
from devkit.openstack.rest import HOST, Login, RefusedError, Rest
from lab.commands import run
from lab.errors import CommandError, LabError
from lab.inside import inside
from lab.lifecycle import MACHINES
from lab.machine import LabMachine, MachineSpec, Status
from lab.network import LabNetwork

_BOOTED_WITHIN = timedelta(minutes=3)
_SERVING_WITHIN = timedelta(minutes=15)
_OFF_WITHIN = timedelta(minutes=2)
_POLL = timedelta(seconds=1)


async def _wait_until(condition: Callable[[], Awaitable[bool]], within: timedelta) -> None:
    """Ask about a condition, which is dear, now and then until it is true.

    Raises:
        TimeoutError: it is still false after `within`.
    """
    async with asyncio.timeout(within.total_seconds()):
        while not await condition():  # noqa: ASYNC110 - it is asked of another computer
            await asyncio.sleep(_POLL.total_seconds())


class Computer:
    """The machine that has OpenStack.

    Attributes:
        machine: it.
        address: its address.
    """

    def __init__(self, state: Path, machine: LabMachine) -> None:
        self.machine = machine
        self.address = str(machine.address)
        self._state = state

    async def run(self, *argv: str) -> str:
        """Run a program on it, as root, and return its output.

        Raises:
            CommandError: its exit code was not 0.
        """
        return await asyncio.to_thread(run, *inside(self._state, self.machine.spec.id, argv))

    async def start(self, *units: str) -> None:
        """Wait until it has booted and these units are active.

        Raises:
            LabError: it did not boot.
            TimeoutError: they are not active in time.
        """

        async def started() -> bool:
            if self.machine.status is Status.FAILED:
                raise LabError(f"the computer of the cloud failed: {self.machine.reason}")
            if self.machine.status is not Status.RUNNING:
                return False
            try:
                await self.run("systemctl", "start", *units)
            except CommandError:
                return False
            return True

        await _wait_until(started, _BOOTED_WITHIN)

    async def until_serving(self, login: Login, since: datetime) -> None:
        """Wait until every service of OpenStack works.

        Raises:
            LabError: one does not in time, with what is not in order.
        """
        lacking: list[str] = []

        async def serving() -> bool:
            lacking[:] = await resources.unhealthy(self.address, login, since)
            return not lacking

        try:
            await _wait_until(serving, _SERVING_WITHIN)
        except TimeoutError:
            raise LabError(f"OpenStack is not in order: {'; '.join(lacking)}") from None

    async def until_identifying(self, login: Login) -> None:
        """Wait until the identity service accepts a login.

        Raises:
            TimeoutError: it does not in time.
        """

        async def identifying() -> bool:
            try:
                async with Rest(self.address, login):
                    return True
            except (RefusedError, httpx.HTTPError):
                return False

        await _wait_until(identifying, _BOOTED_WITHIN)

    async def power_off(self) -> None:
        """Shut it down, and wait for its end.

        Raises:
            TimeoutError: it does not end.
        """

        async def off() -> bool:
            return self.machine.status is Status.STOPPED

        await self.run("systemctl", "poweroff")
        await _wait_until(off, _OFF_WITHIN)


@contextlib.asynccontextmanager
async def running(net: LabNetwork, state: Path, layers: Sequence[Path]) -> AsyncIterator[Computer]:
    """Run the machine, of these folders, topmost first, until the block ends."""
    spec = MachineSpec(id=secrets.token_hex(4), label=HOST, region="lab-east", user_data=b"")
    machine = LabMachine(
        spec,
        next(net.addresses(spec.region)),
        net,
        layers,
        state / MACHINES / spec.id,
        hosts_machines=True,
    )
    machine.start()
    try:
        yield Computer(state, machine)
    finally:
        await machine.remove()
