"""CPU time and memory by cgroup, including ended processes."""

import asyncio
import sys
import uuid
from pathlib import Path

import pytest

from devkit.bench.meter import (
    Group,
    bench_cgroup,
    cpu_seconds,
    measured,
    sampled_peak,
)
from lab import cgroups
from relight.engine.errors import SetupError

pytestmark = pytest.mark.lab

BURN = "import time\nwhile time.process_time() < 0.2: pass"


@pytest.fixture
def group():
    group = Group(bench_cgroup(Path(f"t{uuid.uuid4().hex[:8]}")))
    yield group
    group.remove()
    assert not group.folder.exists()


async def test_ended_processes_are_counted(group):
    process = await asyncio.create_subprocess_exec(*group.starting([sys.executable, "-c", BURN]))
    async with sampled_peak(group.folder) as peak:
        assert await process.wait() == 0
    assert 0.2 <= cpu_seconds(group.folder) < 1.0
    assert peak.mib > 5


async def test_each_part_is_measured_alone_and_killed_with_the_group(group):
    sleeper = await asyncio.create_subprocess_exec("sleep", "60")
    group.take("sleeper", sleeper.pid)
    assert group.cpu_by_part().keys() == {"sleeper"}
    group.empty()
    assert await sleeper.wait() < 0


async def test_a_block_is_measured_by_part(group):
    argv = ["/bin/sh", "-c", 'read go; exec "$@"', "sh", sys.executable, "-c", BURN]
    process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.PIPE)
    group.take("burner", process.pid)
    async with measured(group, ("burner",), settle_seconds=0) as usage:
        await process.communicate(b"go\n")
    assert 0.2 <= usage.cpu_seconds["burner"] < 1.0
    assert usage.wall_seconds >= usage.cpu_seconds["burner"]
    assert usage.peak_mib["burner"] > 1


def test_without_cgroup_v2_the_error_says_so(monkeypatch):
    monkeypatch.setattr(cgroups, "root", lambda: None)
    with pytest.raises(SetupError, match="cgroup v2 is not mounted"):
        bench_cgroup(Path("home"))
