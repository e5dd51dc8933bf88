"""CPU time by cgroup: also of processes that have ended, and by part."""

import asyncio
import sys
import uuid

import pytest

from devkit.bench.meter import (
    Group,
    cpu_seconds,
    sampled_peak,
)
from lab import cgroups

pytestmark = pytest.mark.lab

BURN = "import time\nwhile time.process_time() < 0.2: pass"


@pytest.fixture
def group():
    root = cgroups.root()
    assert root is not None
    made = Group(root / f"relight-bench-t{uuid.uuid4().hex[:8]}")
    yield made
    made.remove()
    assert not made.folder.exists()


async def test_what_has_ended_is_counted(group):
    process = await asyncio.create_subprocess_exec(*group.starting([sys.executable, "-c", BURN]))
    async with sampled_peak(group.folder) as peak:
        assert await process.wait() == 0
    assert 0.2 <= cpu_seconds(group.folder) < 1.0
    assert peak.mib > 5


async def test_each_part_is_counted_alone_and_ends_with_the_group(group):
    sleeper = await asyncio.create_subprocess_exec("sleep", "60")
    group.take({"sleeper": sleeper.pid})
    assert group.cpu_by_part().keys() == {"sleeper"}
    group.empty()
    assert await sleeper.wait() < 0
