"""The lab machines of a benchmark: CPU time of their processes, and scripts inside of them."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from devkit.bench.meter import cpu_seconds
from devkit.installation import run_inside


@dataclass(frozen=True)
class BenchMachine:
    """A route's machine.

    Attributes:
        key: its machine key.
        machine_id: the lab's id.
        address: its IP address.
        lab_state: the lab's state folder.
        cgroup: the cgroup of all its processes.
    """

    key: str
    machine_id: str
    address: str
    lab_state: Path
    cgroup: Path

    @property
    def root(self) -> Path:
        """Its root folder, as this computer sees it."""
        return self.lab_state / "machines" / self.machine_id / "root"

    def cpu_seconds(self) -> float:
        """Return the CPU time of all its processes since it booted."""
        return cpu_seconds(self.cgroup)

    async def run(self, script: str, *arguments: str) -> str:
        """Run a shell script inside, without its network and sshd; return its output.

        Raises:
            ScriptError: a command of the script failed.
        """
        return await run_inside(self.lab_state, self.machine_id, f"set -eu\n{script}", *arguments)


async def on_all(machines: Iterable[BenchMachine], script: str, *arguments: str) -> None:
    """Run a script inside all machines at the same time.

    Raises:
        ScriptError: a command of the script failed.
    """
    await asyncio.gather(*(machine.run(script, *arguments) for machine in machines))


def cpu_of_all(machines: Iterable[BenchMachine]) -> float:
    """Return the CPU time of all machines together, in seconds."""
    return sum(machine.cpu_seconds() for machine in machines)
