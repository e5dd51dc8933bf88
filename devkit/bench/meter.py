"""Measuring CPU time by cgroup, which includes ended processes, and memory by sampling.

A v2 cgroup has a `cpu.stat` even if the controller `cpu` is not enabled, so this also works on
computers with the v1 hierarchies beside v2.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab import cgroups
from relight.engine.errors import SetupError

SAMPLE_SECONDS = 0.1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(cgroup: Path) -> float:
    """Return the CPU time of all processes of a cgroup, ended ones included."""
    lines = (cgroup / "cpu.stat").read_text().splitlines()
    (usage,) = (line.split()[1] for line in lines if line.startswith("usage_usec "))
    return int(usage) / 1e6


def resident_mib(cgroup: Path) -> float:
    """Return the resident memory of a cgroup's processes. Shared memory is counted in each."""
    pages = 0
    for pid in cgroups.pids(cgroup):
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:  # the process ended meanwhile
            continue
    return pages * _PAGE_BYTES / 2**20


@dataclass
class Peak:
    """The largest sample of resident memory."""

    mib: float = 0.0


@asynccontextmanager
async def sampled_peak(cgroup: Path) -> AsyncIterator[Peak]:
    """Sample a cgroup's resident memory until the block ends."""
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


def bench_cgroup(home: Path) -> Path:
    """Return the cgroup for the processes of a benchmark.

    Raises:
        SetupError: cgroup v2 is not mounted.
    """
    root = cgroups.root()
    if root is None:
        raise SetupError("cgroup v2 is not mounted here; CPU time cannot be measured without it")
    return root / f"relight-bench-{home.name}"


class Group:
    """A cgroup for measured processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def take(self, part: str, *pids: int) -> None:
        """Move running processes with all their threads to a part of this cgroup."""
        folder = self.folder / part
        folder.mkdir(exist_ok=True)
        for pid in pids:
            (folder / "cgroup.procs").write_text(str(pid))

    def cpu_by_part(self) -> dict[str, float]:
        """Return the CPU time of each part, in seconds."""
        parts = sorted(path for path in self.folder.iterdir() if path.is_dir())
        return {part.name: cpu_seconds(part) for part in parts}

    def starting(self, argv: list[str]) -> list[str]:
        """Return the command that starts `argv` in this cgroup."""
        enter = 'echo $$ >"$0" && exec "$@"'
        return ["/bin/sh", "-c", enter, str(self.folder / "cgroup.procs"), *argv]

    def empty(self) -> None:
        """Kill the remaining processes, such as SSH connections that were kept open."""
        cgroups.kill(self.folder)

    def remove(self) -> None:
        """Kill the remaining processes, and remove the cgroup."""
        self.empty()
        cgroups.remove(self.folder)


@dataclass
class Usage:
    """The resources used in a block; complete when the block has ended.

    Attributes:
        wall_seconds: the length of the block.
        cpu_seconds: by part of the group.
        peak_mib: the largest resident memory, by sampled part.
    """

    wall_seconds: float = 0.0
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    peak_mib: dict[str, float] = field(default_factory=dict)


@asynccontextmanager
async def measured(
    group: Group, sampled: Sequence[str], settle_seconds: float
) -> AsyncIterator[Usage]:
    """Measure a group until the block ends.

    Args:
        group: the group.
        sampled: the parts whose memory is sampled.
        settle_seconds: pause after the block, before CPU time is read.
    """
    usage = Usage()
    before = group.cpu_by_part()
    async with AsyncExitStack() as stack:
        peaks = {
            part: await stack.enter_async_context(sampled_peak(group.folder / part))
            for part in sampled
        }
        started = time.monotonic()
        yield usage
        usage.wall_seconds = time.monotonic() - started
    await asyncio.sleep(settle_seconds)
    usage.cpu_seconds = {part: used - before[part] for part, used in group.cpu_by_part().items()}
    usage.peak_mib = {part: peak.mib for part, peak in peaks.items()}
