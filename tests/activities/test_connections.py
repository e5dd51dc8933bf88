"""One connection per operation and host: shared, given up when unsound, closed when idle."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.operation import current_run_id
from relight.domain.machine import Machine, MachineStatus
from relight.hosts.connections import ConnectionPool
from relight.hosts.errors import (
    ConnectionLostError,
    Destination,
    HostUnreachableError,
    PackageError,
)
from starter.local.children import wait_until

SOON = timedelta(seconds=5)
MACHINE = Machine(
    key="eu-1-g1",
    provider="fake",
    provider_id="m-1",
    region="east",
    architecture="amd64",
    status=MachineStatus.RUNNING,
    address="192.0.2.1",
)


class Line:
    """A connection that is only counted."""

    def __init__(self, machine: Machine) -> None:
        self.destination = Destination(machine.address or "", 22, "relight", machine.key)


class CountedHosts:
    def __init__(self) -> None:
        self.opened = 0
        self.now = 0
        self.logging_in = 0
        self.most_at_once = 0
        self.fails = False

    @asynccontextmanager
    async def connect(self, machine: Machine) -> AsyncIterator[Any]:
        self.logging_in += 1
        self.most_at_once = max(self.most_at_once, self.logging_in)
        await asyncio.sleep(0)
        self.logging_in -= 1
        if self.fails:
            raise HostUnreachableError("no route to it")
        self.opened += 1
        self.now += 1
        try:
            yield Line(machine)
        finally:
            self.now -= 1


@pytest.fixture
def hosts():
    return CountedHosts()


@pytest.fixture
async def pool(hosts):
    pool = ConnectionPool(hosts, current_run_id, idle=timedelta(milliseconds=100), logins=3)
    yield pool
    await pool.close()
    assert hosts.now == 0


def environment(run_id: str) -> ActivityEnvironment:
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, workflow_run_id=run_id)
    return environment


async def use(pool, machine=MACHINE, error=None):
    async with pool.connect(machine) as shell:
        if error is not None:
            raise error
        return shell


async def test_the_activities_of_an_operation_share_one(hosts, pool):
    first = await environment("run-1").run(use, pool)
    assert await environment("run-1").run(use, pool) is first
    assert (hosts.opened, hosts.now) == (1, 1)


async def test_those_that_come_at_once_share_one_too(hosts, pool):
    found = await asyncio.gather(*(environment("run-1").run(use, pool) for _ in range(5)))
    assert len(set(found)) == 1
    assert hosts.opened == 1


async def test_another_operation_and_another_machine_have_their_own(hosts, pool):
    await environment("run-1").run(use, pool)
    await environment("run-2").run(use, pool)
    other = MACHINE.model_copy(update={"provider_id": "m-2"})
    await environment("run-1").run(use, pool, other)
    assert hosts.opened == 3


async def test_one_that_nobody_uses_is_closed_after_a_while(hosts, pool):
    await environment("run-1").run(use, pool)

    async def closed() -> bool:
        return bool(hosts.now == 0)

    await wait_until(closed, SOON)
    await environment("run-1").run(use, pool)
    assert hosts.opened == 2


async def test_after_a_broken_link_the_next_attempt_comes_afresh(hosts, pool):
    with pytest.raises(ConnectionLostError):
        await environment("run-1").run(use, pool, MACHINE, ConnectionLostError("it broke"))
    await environment("run-1").run(use, pool)
    assert hosts.opened == 2


async def test_an_answer_that_is_no_good_is_not_the_links_fault(hosts, pool):
    with pytest.raises(PackageError):
        await environment("run-1").run(use, pool, MACHINE, PackageError("disk-full", "no space"))
    await environment("run-1").run(use, pool)
    assert hosts.opened == 1


async def test_one_that_does_not_come_about_is_told_to_all_who_wait_and_kept_by_nobody(hosts, pool):
    hosts.fails = True
    ends = await asyncio.gather(
        *(environment("run-1").run(use, pool) for _ in range(3)), return_exceptions=True
    )
    assert [type(end) for end in ends] == [HostUnreachableError] * 3
    hosts.fails = False
    await environment("run-1").run(use, pool)
    assert hosts.opened == 1


async def test_logins_over_the_fleet_are_bounded(hosts, pool):
    machines = [MACHINE.model_copy(update={"provider_id": f"m-{n}"}) for n in range(20)]
    await asyncio.gather(*(environment("run-1").run(use, pool, machine) for machine in machines))
    assert hosts.opened == 20
    assert hosts.most_at_once <= 3
