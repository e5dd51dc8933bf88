"""Measuring: CPU time by cgroup, which counts what has ended too, and memory by sampling.

A cgroup of version 2 has its `cpu.stat` whether or not the controller `cpu` is enabled there, so
this works also where the hierarchies of version 1 stand beside it.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import cgroups

SAMPLE_SECONDS = 0.1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(cgroup: Path) -> float:
    """Return the CPU time that all processes ever in a cgroup have used there."""
    lines = (cgroup / "cpu.stat").read_text().splitlines()
    (used,) = (line.split()[1] for line in lines if line.startswith("usage_usec "))
    return int(used) / 1e6


def resident_mib(cgroup: Path) -> float:
    """Return the resident memory of a cgroup's processes. What two share is counted twice."""
    pages = 0
    for pid in cgroups.pids(cgroup):
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:  # it went while we looked
            continue
    return pages * _PAGE_BYTES / 2**20


@dataclass
class Peak:
    """The most memory that was seen."""

    mib: float = 0.0


@asynccontextmanager
async def sampled_peak(cgroup: Path) -> AsyncIterator[Peak]:
    """Look at a cgroup's memory again and again until the block ends."""
    peak = Peak()

    async def sample() -> None:
        while True:
            peak.mib = max(peak.mib, resident_mib(cgroup))
            await asyncio.sleep(SAMPLE_SECONDS)

    task = asyncio.create_task(sample())
    try:
        yield peak
    finally:
        task.cancel()
        await asyncio.wait([task])


class Group:
    """A cgroup of our own for the processes of one contestant."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def take(self, pids: Mapping[str, int]) -> None:
        """Move processes, with all their threads, in here, each into a part of its own."""
        for name, pid in pids.items():
            part = self.folder / name
            part.mkdir(exist_ok=True)
            (part / "cgroup.procs").write_text(str(pid))

    def cpu_by_part(self) -> dict[str, float]:
        """Return the CPU time of each part, in seconds."""
        parts = sorted(path for path in self.folder.iterdir() if path.is_dir())
        return {part.name: cpu_seconds(part) for part in parts}

    def starting(self, argv: list[str]) -> list[str]:
        """Return the command that runs `argv` in here from its first moment."""
        into = 'echo $$ >"$0" && exec "$@"'
        return ["/bin/sh", "-c", into, str(self.folder / "cgroup.procs"), *argv]

    def empty(self) -> None:
        """End what is left in here, such as connections that were kept open."""
        cgroups.kill(self.folder)

    def remove(self) -> None:
        """End what is left, and remove it."""
        self.empty()
        cgroups.remove(self.folder)
