"""A small installation with a worker in this process, operated by the command line."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowExecution

from devkit.leftovers import terminate
from relight.engine.executions import worker_identities
from relight.engine.fleet import join
from starter.local.children import wait_until
from tests.starter.in_process import InProcess
from tests.support.command_line import WHOLE_FLEET_AT_ONCE, Ended
from tests.workflows.harness import Harness
from tests.workflows.installation import small_installation

ROLLOUT_KEYS = [
    *("release_tag", "scope", "phase", "wave", "waves", "routes", "detail"),
    *("since", "to_do", "counts", "undo", "image_name"),
]
ROUTE_OUTCOME_KEYS = ["route_id", "wave", "progress", "previous_release_tag", "fault"]
FAULT_KEYS = [
    "kind",
    "fault_class",
    "summary",
    "attempted",
    "host",
    "machine_key",
    "argv",
    "exit_code",
    "stderr_tail",
    "journal_tail",
    "refused",
]


def provision(
    *route_ids: str, track: str = "stable", provider: str = "fake", region: str = "fake-east"
) -> tuple[str, ...]:
    """Return the words of the command that provisions routes."""
    location = ("--provider", provider, "--region", region)
    return ("route", "provision", *route_ids, "--track", track, *location)


class Installation:
    """A small installation and its command line."""

    def __init__(self, harness: Harness, address: str, folder: Path) -> None:
        self.harness = harness
        self.relight = InProcess(
            folder / "home",
            {
                "RELIGHT_STORE_URL": f"sqlite:///{folder / 'fleet.db'}",
                "RELIGHT_TASK_QUEUE": harness.task_queue,
                "TEMPORAL_ADDRESS": address,
                **WHOLE_FLEET_AT_ONCE,
            },
        )

    async def provision(self, count: int) -> list[str]:
        """Provision routes that serve v0.0.73, and return their ids, sorted."""
        route_ids = sorted(self.harness.new_route_id() for _ in range(count))
        await asyncio.gather(*(self.harness.provision(each) for each in route_ids))
        return route_ids

    async def running(self) -> AsyncIterator[WorkflowExecution]:
        """Yield the running workflows of this installation, as the server lists them."""
        query = f"TaskQueue = '{self.harness.task_queue}' AND ExecutionStatus = 'Running'"
        async for execution in self.harness.client.list_workflows(query):
            yield execution

    async def nothing_runs(self) -> None:
        """Wait until no workflow is listed as running; the server's list lags behind."""

        async def none() -> bool:
            return not [execution async for execution in self.running()]

        await wait_until(none, timedelta(seconds=10))

    async def end_all(self) -> None:
        """Terminate what a failed test left: it would block the rollouts of other tests."""
        async for execution in self.running():
            handle = self.harness.client.get_workflow_handle(execution.id, run_id=execution.run_id)
            await terminate(handle)

    def declared(self) -> dict[str, Any]:
        """Return the content of the store without its events and its closed rollouts."""
        store = self.harness.store
        return {
            "settings": store.fleet_settings.all(),
            "tracks": store.tracks.list(),
            "routes": store.routes.list(),
            "machines": store.machines.list(),
            "rollouts": [each for each in store.rollouts.list() if each.closed_at is None],
        }

    async def refuses(
        self, code: int, words: tuple[str, ...], *texts: str, **variables: str
    ) -> Ended:
        """Check that a command ends with this code and these texts, and that nothing changed."""
        before = self.declared()
        ended = await self.relight.where(**variables)(*words)
        assert ended.code == code, ended
        assert ended.out == ""
        for text in texts:
            assert text in ended.said
        assert self.declared() == before
        return ended


@asynccontextmanager
async def operated_installation(
    client: Client, address: str, folder: Path, **parts: Any
) -> AsyncIterator[Installation]:
    """Run a worker in this process, on a store that the command line finds by its settings.

    Args:
        client: of Temporal.
        address: its address.
        folder: for the store.
        parts: other parts of the worker than the usual ones.
    """
    async with small_installation(client, folder, **parts) as harness:
        await join(client, harness.store, adopt=True)
        installation = Installation(harness, address, folder)

        async def is_polled() -> bool:
            return bool(await worker_identities(client, harness.task_queue))

        await wait_until(is_polled, timedelta(seconds=30))
        try:
            yield installation
        finally:
            await installation.end_all()
