"""The embedded Temporal server, as a real process."""

import asyncio
import itertools
import json
import signal
import sqlite3
import sys
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import ListTaskQueuePartitionsRequest
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.worker import Worker

from relight.engine import search_attributes
from relight.engine.connection import missing_search_attributes
from relight.engine.errors import SetupError
from relight.engine.search_attributes import RELEASE, ROUTE
from starter.local.children import wait_until
from starter.local.temporal import EmbeddedTemporal, embedded_temporal
from tests.starter.probe_workflow import SayRoute
from tests.support.processes import alive

SOON = timedelta(seconds=20)


async def run_a_workflow(client: Client, workflow_id: str) -> str:
    async with Worker(client, task_queue="embedded-test", workflows=[SayRoute]):
        return await client.execute_workflow(
            SayRoute.run,
            "eu-1",
            id=workflow_id,
            task_queue="embedded-test",
            search_attributes=TypedSearchAttributes([SearchAttributePair(ROUTE, "eu-1")]),
        )


async def found(client: Client, query: str) -> list[str]:
    return [execution.id async for execution in client.list_workflows(query)]


def words_of(pid: int) -> list[str]:
    """The command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


async def test_its_ui_answers(temporal: EmbeddedTemporal) -> None:
    async with httpx.AsyncClient() as http:
        page = await http.get(temporal.ui_url)
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]


async def test_it_has_every_search_attribute_of_relight(temporal_client: Client) -> None:
    assert await missing_search_attributes(temporal_client) == ()


async def test_a_home_from_before_a_search_attribute_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(search_attributes, "NAMES", (RELEASE.name,))
        async with embedded_temporal(tmp_path, ui=False):
            pass
    async with embedded_temporal(tmp_path, ui=False) as server:
        client = await Client.connect(server.address)
        assert await missing_search_attributes(client) == ()
        assert await run_a_workflow(client, "embedded/found") == "route eu-1"

        async def listed() -> bool:
            return await found(client, f"{ROUTE.name} = 'eu-1'") == ["embedded/found"]

        await wait_until(listed, SOON)


async def test_a_task_queue_has_one_partition_so_that_priorities_hold_in_it(
    temporal_client: Client,
) -> None:
    listed = await temporal_client.workflow_service.list_task_queue_partitions(
        ListTaskQueuePartitionsRequest(
            namespace=temporal_client.namespace, task_queue=TaskQueue(name="embedded-test")
        )
    )
    assert len(listed.activity_task_queue_partitions) == 1
    assert len(listed.workflow_task_queue_partitions) == 1


async def test_a_workflow_is_found_by_its_route(temporal_client: Client) -> None:
    assert await run_a_workflow(temporal_client, "embedded/found") == "route eu-1"

    async def listed() -> bool:
        return "embedded/found" in await found(temporal_client, f"{ROUTE.name} = 'eu-1'")

    await wait_until(listed, SOON)


async def test_a_restart_loses_nothing(tmp_path: Path) -> None:
    async with embedded_temporal(tmp_path) as first:
        client = await Client.connect(first.address)
        await run_a_workflow(client, "embedded/kept")
    async with embedded_temporal(tmp_path) as second:
        client = await Client.connect(second.address)
        assert await client.get_workflow_handle("embedded/kept").result() == "route eu-1"
        assert await missing_search_attributes(client) == ()
    assert first.pid != second.pid
    assert not alive(second.pid)


async def test_a_server_that_is_killed_in_the_midst_of_writes_loses_nothing(tmp_path: Path) -> None:
    started: list[str] = []

    async def start_workflows(client: Client, name: str) -> None:
        for number in itertools.count():
            workflow_id = f"{name}-{number}"
            await client.start_workflow(
                SayRoute.run, "eu-1", id=workflow_id, task_queue="embedded-test"
            )
            started.append(workflow_id)

    async with embedded_temporal(tmp_path) as server:
        argv = words_of(server.pid)
        assert argv[argv.index("synchronous=NORMAL") - 1] == "--sqlite-pragma"
        client = await Client.connect(server.address)
        writers = [asyncio.create_task(start_workflows(client, f"w{n}")) for n in range(8)]

        async def many() -> bool:
            return len(started) > 100

        await wait_until(many, SOON)
        server.child.process.kill()
        await server.child.process.wait()
        for writer in writers:
            writer.cancel()
        await asyncio.wait(writers)
    async with embedded_temporal(tmp_path) as server:
        client = await Client.connect(server.address)
        for workflow_id in started:
            await client.get_workflow_handle(workflow_id).describe()
        assert await run_a_workflow(client, "embedded/after") == "route eu-1"


async def test_with_fsync_each_write_waits_for_the_disk(tmp_path: Path) -> None:
    async with embedded_temporal(tmp_path, fsync=True) as server:
        assert "synchronous=FULL" in words_of(server.pid)


async def test_its_database_has_a_write_ahead_log(tmp_path: Path) -> None:
    async with embedded_temporal(tmp_path):
        with sqlite3.connect(tmp_path / "temporal.db") as database:
            assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        database.close()


async def test_several_servers_start_at_once_on_different_ports(tmp_path: Path) -> None:
    async def start_and_see(home: Path) -> tuple[str, str]:
        async with embedded_temporal(home) as server:
            await Client.connect(server.address)
            await barrier.wait()
            return server.address, server.ui_url

    barrier = asyncio.Barrier(3)
    # A failure cancels the others, so that none is left running.
    async with asyncio.TaskGroup() as starts:
        started = [starts.create_task(start_and_see(tmp_path / str(n))) for n in range(3)]
    addresses = [start.result() for start in started]
    assert len({address for address, _ in addresses}) == 3
    assert len({ui_url for _, ui_url in addresses}) == 3


async def test_it_ends_with_a_killed_parent_and_leaves_a_usable_home(
    tmp_path: Path,
) -> None:
    program = f"""
import asyncio, json, pathlib
from starter.local.temporal import embedded_temporal

async def main():
    async with embedded_temporal(pathlib.Path({str(tmp_path)!r})) as server:
        print(json.dumps([server.pid, server.address]), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    server_pid, _ = json.loads(await parent.stdout.readline())
    assert alive(server_pid)

    parent.send_signal(signal.SIGKILL)
    await parent.wait()

    # Immediately: the new server waits until the old one has closed the database.
    async with embedded_temporal(tmp_path) as server:
        await Client.connect(server.address)
        assert not alive(server_pid)


async def test_a_second_server_on_the_same_home_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starter.local.temporal.LOCK_WITHIN", timedelta(milliseconds=200))
    async with embedded_temporal(tmp_path):
        with pytest.raises(SetupError, match="another Temporal server runs on"):
            async with embedded_temporal(tmp_path):
                pass
