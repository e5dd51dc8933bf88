"""Workers of a new version during a rollout, as in `docs/deploying-workers.md`."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import RoutingConfigUpdateState
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, WorkerDeploymentVersion
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from relight.domain.names import route_workflow_id
from relight.domain.rollout.rollout import RolloutPhase
from relight.engine import search_attributes
from starter.local.children import wait_until
from tests.workflows.harness import Harness
from tests.workflows.installation import idle_installation
from workflows.rollout.rollout import RolloutRelease

TEMPORAL = Path(sys.executable).with_name("temporal")
SOON = timedelta(seconds=30)
UNVERSIONED = ""


class Operator:
    """Deploys workers of an installation, with the commands in the document."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self._client = harness.client
        self._deployment = harness.task_queue  # One for each test.

    def worker(self, build_id: str) -> Worker:
        return self._harness.worker(WorkerDeploymentVersion(self._deployment, build_id))

    async def make_current(self, build_id: str) -> None:
        async def is_known() -> bool:
            return await self.temporal("set-current-version", build_id, "--yes") is not None

        await wait_until(is_known, SOON)
        await wait_until(self._is_routed, SOON)

    async def _is_routed(self) -> bool:
        described = await self._client.workflow_service.describe_worker_deployment(
            DescribeWorkerDeploymentRequest(
                namespace=self._client.namespace, deployment_name=self._deployment
            )
        )
        state = described.worker_deployment_info.routing_config_update_state
        return state == RoutingConfigUpdateState.ROUTING_CONFIG_UPDATE_STATE_COMPLETED

    async def until_drained(self, build_id: str) -> None:
        async def is_drained() -> bool:
            return (await self.drainage(build_id))["drainageStatus"] == "drained"

        await wait_until(is_drained, SOON)

    async def until_draining(self, build_id: str) -> None:
        """Wait until the server has checked, and found workflows that still run there."""

        async def is_checked() -> bool:
            drainage = await self.drainage(build_id)
            assert drainage["drainageStatus"] == "draining"
            return drainage["lastCheckedTime"] != drainage["lastChangedTime"]

        await wait_until(is_checked, SOON)

    async def drainage(self, build_id: str) -> dict[str, str]:
        output = await self.temporal("describe-version", build_id, "--output", "json")
        info: dict[str, str] = json.loads(output or "{}")["drainageInfo"]
        return info

    async def temporal(self, verb: str, build_id: str, *words: str) -> str | None:
        """Run a command on a version; return its output, None if it fails."""
        named = ("--deployment-name", self._deployment, "--build-id", build_id)
        return await self.run("worker", "deployment", verb, *named, *words)

    async def run(self, *words: str) -> str | None:
        address = self._client.service_client.config.target_host
        process = await asyncio.create_subprocess_exec(
            *(str(TEMPORAL), *words, "--address", address), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return output.decode() if process.returncode == 0 else None

    async def ran_on(self, workflow_id: str) -> list[str]:
        """Return the builds that ran a workflow's tasks, in order."""
        history = await self._client.get_workflow_handle(workflow_id).fetch_history()
        builds = [
            event.workflow_task_completed_event_attributes.deployment_version.build_id
            for event in history.events
            if event.HasField("workflow_task_completed_event_attributes")
        ]
        return list(dict.fromkeys(builds))


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[Client]:
    """On a server that checks every second whether a version is drained, not every few minutes."""
    arguments = [
        f'--dynamic-config-value=matching.wv.VersionDrainageStatus{name}="1s"'
        for name in ("RefreshInterval", "VisibilityGracePeriod")
    ]
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(TEMPORAL),
        dev_server_extra_args=arguments,
        search_attributes=[
            SearchAttributeKey.for_keyword(name) for name in search_attributes.NAMES
        ],
        data_converter=pydantic_data_converter,
    ) as environment:
        yield environment.client


@pytest.fixture
async def harness(client: Client, tmp_path: Path) -> AsyncIterator[Harness]:
    async with idle_installation(client, tmp_path) as harness:
        yield harness


@pytest.fixture
def operator(harness: Harness) -> Operator:
    return Operator(harness)


async def add_routes(harness: Harness, count: int) -> None:
    await asyncio.gather(*(harness.serving_route() for _ in range(count)))


async def test_a_rollout_continues_on_the_new_version_and_a_swap_completes_on_its_own(
    harness, operator
):
    async with operator.worker("old") as old:
        await operator.make_current("old")
        await add_routes(harness, 3)
        gate = harness.hosts.hold_installs()
        rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"))
        await gate.reached()
        plan = await rollout.execute_update(RolloutRelease.planned)
        async with operator.worker("new"):
            await operator.make_current("new")
            later = harness.hosts.hold_installs()
            gate.open()
            await later.reached()
            await operator.until_drained("old")
            await old.shutdown()
            later.open()
            assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    [[canary], rest] = plan.waves
    assert await operator.ran_on(route_workflow_id(canary)) == ["old"]
    for route_id in rest:
        assert await operator.ran_on(route_workflow_id(route_id)) == ["new"]
    assert await operator.ran_on(rollout.id) == ["old", "new"]


async def test_an_old_version_is_not_drained_while_a_swap_runs_on_it_and_the_swap_can_be_moved(
    harness, operator
):
    async with operator.worker("old"), operator.worker("new"):
        await operator.make_current("old")
        route_id = await harness.serving_route()
        gate = harness.hosts.hold_installs()
        swap = await harness.start_swap(route_id, "v0.0.74")
        await gate.reached()
        await operator.make_current("new")
        await operator.until_draining("old")
        assert await operator.run(
            *("workflow", "update-options", "--workflow-id", swap.id),
            *("--versioning-override-behavior", "auto_upgrade"),
        )
        await operator.until_drained("old")
        gate.open()
        await swap.result()
    assert await operator.ran_on(swap.id) == ["old", "new"]


async def test_the_first_version_continues_what_started_without_a_version(harness, operator):
    async with harness.worker():
        await add_routes(harness, 2)
        gate = harness.hosts.hold_installs()
        rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"))
        await gate.reached()
        async with operator.worker("new"):
            await operator.make_current("new")
            gate.open()
            assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert await operator.ran_on(rollout.id) == [UNVERSIONED, "new"]
