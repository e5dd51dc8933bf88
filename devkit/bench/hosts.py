"""The machines that are swapped, seen from beside: their processes' CPU time, and their insides."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from devkit.bench.meter import cpu_seconds
from lab import inside


class HostError(Exception):
    """A machine is not as the bench needs it."""


@dataclass(frozen=True)
class Host:
    """A route's machine.

    Attributes:
        key: its machine key.
        machine_id: the lab's id of it.
        address: where its sshd answers.
        lab_state: the lab's state folder.
        cgroup: of all its processes.
    """

    key: str
    machine_id: str
    address: str
    lab_state: Path
    cgroup: Path

    def cpu_seconds(self) -> float:
        """Return the CPU time that all its processes have used since it booted."""
        return cpu_seconds(self.cgroup)

    async def run(self, script: str, *arguments: str) -> str:
        """Run a shell script inside, past its network and its sshd; return what it printed.

        Raises:
            HostError: it failed.
        """
        argv = ("sh", "-euc", script, "bench", *arguments)
        process = await asyncio.create_subprocess_exec(
            *inside.inside(self.lab_state, self.machine_id, argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        if process.returncode != 0:
            raise HostError(f"{self.key}: exit code {process.returncode}\n{said.decode()}")
        return said.decode()


async def on_all(hosts: Iterable[Host], script: str, *arguments: str) -> list[str]:
    """Run a script inside of all, at once."""
    return await asyncio.gather(*(host.run(script, *arguments) for host in hosts))


def cpu_of_all(hosts: Iterable[Host]) -> float:
    """Return the CPU time of all, in seconds."""
    return sum(host.cpu_seconds() for host in hosts)
