"""A worker sends the heartbeats of its activities, whatever they wait for."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from temporalio import activity, workflow
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.exceptions import CancelledError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.execution import FaultInterceptor, HeartbeatInterceptor
from activities.machine.drain import Drain, DrainActivities
from relight.domain.replacement import DrainMachineInput, MachineDrained
from relight.hosts import host_program, observation
from relight.hosts.connections import SshHosts
from relight.hosts.key_files import fixed_keys
from starter.local.children import wait_until
from tests.activities.test_connections import MACHINE
from tests.support.ssh_server import Link, link_to, ssh_server

SILENCE = timedelta(seconds=1)
SOON = timedelta(seconds=20)


@dataclass
class Waits:
    """Activities that send at most one heartbeat by themselves.

    Attributes:
        until: what they wait for.
        attempts: the details of the heartbeat before, of each attempt.
        cancelled: is set when an attempt is cancelled.
    """

    until: asyncio.Event = field(default_factory=asyncio.Event)
    attempts: list[list[Any]] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    @activity.defn
    async def wait(self) -> str:
        self.attempts.append(list(activity.info().heartbeat_details))
        if activity.info().attempt == 1:
            activity.heartbeat("running: dpkg")
        try:
            await self.until.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return f"attempt {activity.info().attempt}"

    @activity.defn
    async def hang(self) -> None:
        await self.host()

    async def host(self) -> None:
        raise NotImplementedError


@workflow.defn
class RunOne:
    """Runs the named activity."""

    @workflow.run
    async def run(self, name: str) -> Any:
        return await workflow.execute_activity(
            name,
            start_to_close_timeout=timedelta(minutes=1),
            heartbeat_timeout=SILENCE,
            retry_policy=RetryPolicy(initial_interval=timedelta(minutes=1), maximum_attempts=3),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )


@workflow.defn
class DrainOne:
    """Drains a machine."""

    @workflow.run
    async def run(self) -> MachineDrained:
        return await DrainActivities.drain_machine(
            DrainMachineInput(route_id="de-1", machine=MACHINE)
        )


@pytest.fixture(autouse=True)
def prompt_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.execution.HEARTBEAT_INTERVAL", SILENCE / 5)


@pytest.fixture
def queue() -> str:
    return f"beats-{uuid.uuid4().hex[:8]}"


def worker(client: Client, queue: str, waits: Waits, *more: Callable[..., Any]) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        workflows=[RunOne, DrainOne],
        activities=[waits.wait, waits.hang, *more],
        workflow_runner=UnsandboxedWorkflowRunner(),
        interceptors=[FaultInterceptor(), HeartbeatInterceptor()],
        max_heartbeat_throttle_interval=SILENCE / 5,
        graceful_shutdown_timeout=timedelta(0),
    )


async def started(client: Client, queue: str, name: str) -> WorkflowHandle[Any, Any]:
    return await client.start_workflow("RunOne", name, id=queue, task_queue=queue)


async def pending(handle: WorkflowHandle[Any, Any]) -> Any:
    described = (await handle.describe()).raw_description
    assert isinstance(described, DescribeWorkflowExecutionResponse)
    return described.pending_activities[0]


async def test_an_activity_that_says_nothing_lives_and_keeps_its_last_details(
    temporal_client: Client, queue: str
) -> None:
    waits = Waits()
    async with worker(temporal_client, queue, waits):
        handle = await started(temporal_client, queue, "wait")
        seen = set()

        async def several_beats() -> bool:
            if waits.attempts:
                found = await pending(handle)
                seen.add(found.last_heartbeat_time.ToNanoseconds())
            return len(seen) > 8  # more than the silence that would end it

        await wait_until(several_beats, SOON)
        [details] = (await pending(handle)).heartbeat_details.payloads
        assert details.data == b'"running: dpkg"'
        waits.until.set()
        assert await handle.result() == "attempt 1"
    assert waits.attempts == [[]]


async def test_a_cancellation_reaches_an_activity_that_says_nothing(
    temporal_client: Client, queue: str
) -> None:
    waits = Waits()
    async with worker(temporal_client, queue, waits):
        handle = await started(temporal_client, queue, "wait")
        await wait_until(lambda: _true(waits.attempts), SOON)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
    assert isinstance(raised.value.cause, CancelledError)
    assert waits.cancelled.is_set()


async def test_another_worker_goes_on_at_once_with_what_a_stopping_one_interrupts(
    temporal_client: Client, queue: str
) -> None:
    first, second = Waits(), Waits()
    loop = asyncio.get_running_loop()
    async with worker(temporal_client, queue, first):
        handle = await started(temporal_client, queue, "wait")
        await wait_until(lambda: _true(first.attempts), SOON)
        assert (await pending(handle)).attempt == 1
    assert first.cancelled.is_set()
    failure = (await pending(handle)).last_failure
    assert failure.application_failure_info.type == "worker-stopped"
    stopped_at = loop.time()
    async with worker(temporal_client, queue, second):
        await wait_until(lambda: _true(second.attempts), SOON)
        assert loop.time() - stopped_at < 10  # its policy says one minute
        second.until.set()
        assert await handle.result() == "attempt 2"
    assert second.attempts == [["running: dpkg"]]


async def test_a_drain_goes_on_after_each_worker_was_restarted(
    temporal_client: Client, queue: str, tmp_path: Path
) -> None:
    """As when workers are replaced one after the other."""
    command = ("/bin/sh", "-c", f"echo >>{tmp_path}/began; [ -e {tmp_path}/free ] || sleep 60")
    drains = DrainActivities(Drain(command, SOON * 10))

    def began() -> int:
        file = tmp_path / "began"
        return len(file.read_text()) if file.exists() else 0

    async def begins_again() -> bool:
        return began() > before

    handle = await temporal_client.start_workflow("DrainOne", id=queue, task_queue=queue)
    for _ in range(3):
        before = began()
        async with worker(temporal_client, queue, Waits(), drains.drain_machine):
            await wait_until(begins_again, SOON)
    (tmp_path / "free").touch()
    async with worker(temporal_client, queue, Waits(), drains.drain_machine):
        drained = await handle.result()
    assert drained["drained"]


@asynccontextmanager
async def hanging_host() -> AsyncIterator[tuple[SshHosts, Link]]:
    """A host on loopback, and the link to it."""
    client_key = asyncssh.generate_private_key("ssh-ed25519")
    keys = fixed_keys(client_key, b"\7" * 32)
    host_key = asyncssh.import_private_key(keys().secrets[0].host_key(MACHINE.key).private)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(ssh_server(host_key, client_key))
        link = await stack.enter_async_context(link_to(server.port))
        yield SshHosts("relight", link.port, keys, SILENCE * 2), link


@pytest.mark.parametrize(
    ("moment", "kind"), [("login", "host-unreachable"), ("command", "command-timeout")]
)
async def test_a_host_that_hangs_longer_than_the_silence_of_a_worker_is_a_fault(
    temporal_client: Client, queue: str, monkeypatch: pytest.MonkeyPatch, moment: str, kind: str
) -> None:
    monkeypatch.setattr(observation, "COMMAND_TIMEOUT", SILENCE * 2)
    waits = Waits()
    async with hanging_host() as (hosts, link):

        async def observe() -> None:
            waits.attempts.append([])
            if moment == "login":
                link.open.clear()
            machine = MACHINE.model_copy(update={"address": "127.0.0.1"})
            async with hosts.connect(machine) as shell:
                link.open.clear()
                await observation.observe(shell, host_program.observe())

        waits.host = observe  # type: ignore[method-assign]
        async with worker(temporal_client, queue, waits):
            handle = await started(temporal_client, queue, "hang")

            async def has_failed() -> bool:
                return bool(waits.attempts) and (await pending(handle)).HasField("last_failure")

            await wait_until(has_failed, SOON)
            failure = (await pending(handle)).last_failure
            await handle.terminate()
    assert failure.application_failure_info.type == kind
    assert not failure.HasField("timeout_failure_info")


async def _true(value: object) -> bool:
    return bool(value)
