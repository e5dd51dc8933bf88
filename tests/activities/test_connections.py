"""One connection per operation and host: shared, dropped after an error, closed when idle."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.execution import current_run_id
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


class FakeShell:
    """A connection without a host."""

    def __init__(self, machine: Machine) -> None:
        self.destination = Destination(machine.address or "", 22, "relight", machine.key)


class CountingHosts:
    """Counts connections and concurrent logins."""

    def __init__(self) -> None:
        self.opened = 0
        self.open_now = 0
        self.logging_in = 0
        self.max_logging_in = 0
        self.fails: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    @asynccontextmanager
    async def connect(self, machine: Machine) -> AsyncIterator[Any]:
        self.logging_in += 1
        self.max_logging_in = max(self.max_logging_in, self.logging_in)
        try:
            await self.gate.wait()
        finally:
            self.logging_in -= 1
        if self.fails:
            raise self.fails
        self.opened += 1
        self.open_now += 1
        try:
            yield FakeShell(machine)
        finally:
            self.open_now -= 1


@pytest.fixture
def hosts():
    return CountingHosts()


@pytest.fixture
async def pool(hosts):
    pool = ConnectionPool(
        hosts,
        current_run_id,
        idle_timeout=timedelta(milliseconds=100),
        logins=asyncio.Semaphore(3),
    )
    yield pool
    await pool.close()
    assert hosts.open_now == 0


def environment(run_id: str) -> ActivityEnvironment:
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, workflow_run_id=run_id)
    return environment


async def use(pool, machine=MACHINE, error=None):
    async with pool.connect(machine) as shell:
        if error is not None:
            raise error
        return shell


async def test_the_activities_of_one_operation_share_a_connection(hosts, pool):
    first = await environment("run-1").run(use, pool)
    assert await environment("run-1").run(use, pool) is first
    assert (hosts.opened, hosts.open_now) == (1, 1)


async def test_concurrent_activities_share_a_connection(hosts, pool):
    found = await asyncio.gather(*(environment("run-1").run(use, pool) for _ in range(5)))
    assert len(set(found)) == 1
    assert hosts.opened == 1


async def test_each_operation_and_each_machine_has_its_own_connection(hosts, pool):
    await environment("run-1").run(use, pool)
    await environment("run-2").run(use, pool)
    other = MACHINE.model_copy(update={"provider_id": "m-2"})
    await environment("run-1").run(use, pool, other)
    assert hosts.opened == 3


async def test_an_idle_connection_is_closed(hosts, pool):
    await environment("run-1").run(use, pool)

    async def closed() -> bool:
        return bool(hosts.open_now == 0)

    await wait_until(closed, SOON)
    await environment("run-1").run(use, pool)
    assert hosts.opened == 2


async def test_after_a_lost_connection_the_next_attempt_opens_a_new_one(hosts, pool):
    with pytest.raises(ConnectionLostError):
        await environment("run-1").run(use, pool, MACHINE, ConnectionLostError("it broke"))
    await environment("run-1").run(use, pool)
    assert hosts.opened == 2


async def test_a_failed_command_does_not_drop_the_connection(hosts, pool):
    with pytest.raises(PackageError):
        await environment("run-1").run(use, pool, MACHINE, PackageError("disk-full", "no space"))
    await environment("run-1").run(use, pool)
    assert hosts.opened == 1


@pytest.mark.parametrize("error", [HostUnreachableError("no route to it"), ValueError("a bug")])
async def test_a_failed_login_is_raised_for_all_waiting_activities_and_not_kept(hosts, pool, error):
    hosts.fails = error
    async with asyncio.timeout(SOON.total_seconds()):
        ends = await asyncio.gather(
            *(environment("run-1").run(use, pool) for _ in range(3)), return_exceptions=True
        )
    assert ends == [error] * 3
    hosts.fails = None
    await environment("run-1").run(use, pool)
    assert hosts.opened == 1


async def hosts_log_in(hosts: CountingHosts, count: int) -> bool:
    return hosts.logging_in == count


async def test_an_activity_that_is_cancelled_during_the_login_does_not_fail_the_others(hosts, pool):
    hosts.gate.clear()
    first = asyncio.create_task(environment("run-1").run(use, pool))
    await wait_until(lambda: hosts_log_in(hosts, 1), SOON)
    begun = asyncio.Event()

    async def begin_and_wait():
        begun.set()
        return await environment("run-1").run(use, pool)

    second = asyncio.create_task(begin_and_wait())
    await begun.wait()
    first.cancel()
    hosts.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await second).destination.machine_key == MACHINE.key
    assert hosts.opened == 1


async def test_a_login_that_nobody_waits_for_any_more_is_given_up(hosts, pool):
    hosts.gate.clear()
    only = asyncio.create_task(environment("run-1").run(use, pool))
    await wait_until(lambda: hosts_log_in(hosts, 1), SOON)
    only.cancel()
    with pytest.raises(asyncio.CancelledError):
        await only
    await wait_until(lambda: hosts_log_in(hosts, 0), SOON)
    hosts.gate.set()
    await environment("run-1").run(use, pool)
    assert hosts.opened == 1


async def test_concurrent_logins_are_limited(hosts, pool):
    machines = [MACHINE.model_copy(update={"provider_id": f"m-{n}"}) for n in range(20)]
    await asyncio.gather(*(environment("run-1").run(use, pool, machine) for machine in machines))
    assert hosts.opened == 20
    assert hosts.max_logging_in <= 3
