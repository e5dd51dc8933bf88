"""What tests of the operator's commands share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowExecution

from starter.local.children import wait_until
from tests.support.command_line import CommandLine, Ended
from tests.workflows.harness import Harness, small_installation

ROLLOUT_KEYS = [
    *("release_tag", "scope", "phase", "wave", "waves", "routes", "detail"),
    *("since", "to_do", "counts"),
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
    """Return the words of the command that brings routes up."""
    where = ("--track", track, "--provider", provider, "--region", region)
    return ("route", "provision", *route_ids, *where)


class Installation:
    """A small installation, and the command line of its operator."""

    def __init__(self, harness: Harness, address: str, folder: Path) -> None:
        self.harness = harness
        self.relight = CommandLine(
            folder / "home",
            {
                "RELIGHT_STORE_URL": f"sqlite:///{folder / 'fleet.db'}",
                "RELIGHT_TASK_QUEUE": harness.task_queue,
                "TEMPORAL_ADDRESS": address,
            },
        )

    async def provision(self, count: int) -> list[str]:
        """Bring up routes that serve v0.0.73, and return their ids, sorted."""
        route_ids = sorted(self.harness.new_route_id() for _ in range(count))
        await asyncio.gather(*(self.harness.provision(each) for each in route_ids))
        return route_ids

    async def running(self) -> AsyncIterator[WorkflowExecution]:
        """Yield the workflows of this installation that run, as far as the server lists them."""
        query = f"TaskQueue = '{self.harness.task_queue}' AND ExecutionStatus = 'Running'"
        async for execution in self.harness.client.list_workflows(query):
            yield execution

    async def nothing_runs(self) -> None:
        """Wait until no workflow runs; the server's list lags behind a little."""

        async def none() -> bool:
            return not [execution async for execution in self.running()]

        await wait_until(none, timedelta(seconds=10))

    async def end_all(self) -> None:
        """End what a failed test left: another test's rollout would be refused because of it."""
        async for execution in self.running():
            handle = self.harness.client.get_workflow_handle(execution.id, run_id=execution.run_id)
            await handle.terminate("its test has ended")

    def declared(self) -> dict[str, Any]:
        """Return all that the store holds but its log, and the rollouts that have ended."""
        store = self.harness.store
        return {
            "settings": store.settings.all(),
            "tracks": store.tracks.list(),
            "routes": store.routes.list(),
            "machines": store.machines.list(),
            "rollouts": [each for each in store.rollouts.list() if each.closed_at is None],
        }

    async def refuses(
        self, code: int, words: tuple[str, ...], *named: str, **variables: str
    ) -> Ended:
        """See that a command is refused, says why by name, and changes nothing."""
        before = self.declared()
        ended = await self.relight.where(**variables)(*words)
        assert ended.code == code, ended
        assert ended.out == ""
        for name in named:
            assert name in ended.said
        assert self.declared() == before
        return ended


@asynccontextmanager
async def operated_installation(
    client: Client, address: str, folder: Path
) -> AsyncIterator[Installation]:
    """Run a worker in this process over a store that the command line finds by its settings."""
    async with small_installation(client, folder) as harness:
        made = Installation(harness, address, folder)
        try:
            yield made
        finally:
            await made.end_all()
