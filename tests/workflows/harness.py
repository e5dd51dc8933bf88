"""The real workflows and activities over a real store, a fake cloud and simulated hosts."""

import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import asyncssh
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import WorkerDeploymentVersion
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.machine.drain import Drain
from activities.rollout.checks import GateCheck
from relight.domain.base import Origin
from relight.domain.event import Event
from relight.domain.machine import Machine
from relight.domain.names import rollout_workflow_id, route_workflow_id
from relight.domain.pool.pool import pool_workflow_id
from relight.domain.rollout.rollout import (
    RolloutReleaseInput,
    RolloutStatus,
    Strategy,
)
from relight.domain.route import (
    HotSwapRouteInput,
    ProvisionRouteInput,
    Route,
    RouteProvisioned,
    RouteSwapped,
)
from relight.store.store import Store, open_store
from relight.store.write import Operation
from starter.local.children import wait_until
from tests.support.fake_cloud import FakeCloud
from tests.support.fake_connectivity_check import FakeConnectivityCheck
from tests.support.fake_releases import FakeReleases
from tests.support.installation import (
    OWNER,
    SERVICE,
    user_data_renderer,
)
from tests.support.interference import Interference
from tests.support.simulated_hosts import SimulatedHosts
from worker import Parts, build
from workflows.rollout.rollout import RolloutRelease
from workflows.route.hot_swap import HotSwapRoute
from workflows.route.provision import ProvisionRoute

TAGS = ("v0.0.70", "v0.0.73", "v0.0.74", "v0.0.75", "v0.0.76", "v0.0.77", "v0.0.78")
ORIGIN = Origin(requested_by="tester", reason="to see what happens")


@dataclass
class Harness:
    """One small installation."""

    client: Client
    parts: Parts
    store: Store
    cloud: FakeCloud
    hosts: SimulatedHosts
    interference: Interference
    releases: FakeReleases
    rollouts: list[WorkflowHandle[RolloutRelease, RolloutStatus]] = field(default_factory=list)

    @property
    def task_queue(self) -> str:
        return self.parts.task_queue

    def worker(self, version: WorkerDeploymentVersion | None = None) -> Worker:
        return build(self.client, self.parts, (self.interference,), version)

    def new_route_id(self) -> str:
        return f"r-{uuid.uuid4().hex[:8]}"

    async def start_provision(
        self, route_id: str, *, track: str = "stable", region: str = "fake-east"
    ) -> WorkflowHandle[ProvisionRoute, RouteProvisioned]:
        return await self.client.start_workflow(
            ProvisionRoute.run,
            ProvisionRouteInput(
                route_id=route_id, track=track, provider="fake", region=region, origin=ORIGIN
            ),
            id=route_workflow_id(route_id),
            task_queue=self.task_queue,
        )

    async def provision(self, route_id: str, **where: str) -> RouteProvisioned:
        return await (await self.start_provision(route_id, **where)).result()

    async def start_swap(
        self, route_id: str, tag: str | None, *, within_budget: bool = False
    ) -> WorkflowHandle[HotSwapRoute, RouteSwapped]:
        return await self.client.start_workflow(
            HotSwapRoute.run,
            HotSwapRouteInput(
                route_id=route_id, release_tag=tag, origin=ORIGIN, within_budget=within_budget
            ),
            id=route_workflow_id(route_id),
            task_queue=self.task_queue,
        )

    async def start_rollout(
        self, tag: str, scope: str = "fleet", **strategy: object
    ) -> WorkflowHandle[RolloutRelease, RolloutStatus]:
        handle = await self.client.start_workflow(
            RolloutRelease.run,
            RolloutReleaseInput(
                release_tag=tag,
                scope=scope,
                origin=ORIGIN,
                strategy=Strategy.model_validate(strategy),
            ),
            id=rollout_workflow_id(tag, scope),
            task_queue=self.task_queue,
        )
        self.rollouts.append(handle)
        return handle

    async def end_pools(self) -> None:
        """End what a replacement began: the next test's pool has the same name."""
        for region in self.cloud.regions:
            pool = self.client.get_workflow_handle(pool_workflow_id(self.cloud.name, region))
            with suppress(RPCError):
                await pool.terminate("its test has ended")

    async def end_rollouts(self) -> None:
        """End what a failed test left: another test's rollout would be refused because of it."""
        for handle in self.rollouts:
            if (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
                await handle.terminate("its test has ended")

    async def until_nothing_runs(self) -> None:
        """Wait until the server's list, which lags behind, has nothing of ours under way."""
        query = f"TaskQueue = '{self.task_queue}' AND ExecutionStatus = 'Running'"

        async def nothing_runs() -> bool:
            return not [each async for each in self.client.list_workflows(query)]

        await wait_until(nothing_runs, timedelta(seconds=30))

    def route(self, route_id: str) -> Route:
        route = self.store.routes.get(route_id)
        assert route is not None
        return route

    def operation(self) -> Operation:
        return Operation(origin=ORIGIN)

    def events(self, route_id: str | None = None, kind: str | None = None) -> list[Event]:
        return self.store.events.list(route_id=route_id, kind=kind)

    async def machines_of(self, route_id: str) -> list[Machine]:
        """What the cloud has of this route; what is on its way out is given the time to go."""
        keys = [machine.key for machine in (await self.cloud.list()).machines]
        found = [await self.cloud.find(key) for key in keys if key.startswith(f"{route_id}-g")]
        return [machine for machine in found if machine is not None]

    async def until_status(
        self,
        rollout: WorkflowHandle[RolloutRelease, RolloutStatus],
        condition: Callable[[RolloutStatus], bool],
    ) -> None:
        async def holds() -> bool:
            return condition(await rollout.query(RolloutRelease.status))

        await wait_until(holds, timedelta(seconds=30))

    async def until(self, condition: Callable[[], bool]) -> None:
        async def holds() -> bool:
            return condition()

        await wait_until(holds, timedelta(seconds=30))


@asynccontextmanager
async def small_installation(
    client: Client,
    folder: Path,
    checks: Mapping[str, GateCheck] | None = None,
    drain: Drain | None = None,
) -> AsyncIterator[Harness]:
    """Run an installation with a store in `folder`; v0.0.73 is the fleet's default release."""
    async with idle_installation(client, folder, checks, drain) as made, made.worker():
        yield made


@asynccontextmanager
async def idle_installation(
    client: Client,
    folder: Path,
    checks: Mapping[str, GateCheck] | None = None,
    drain: Drain | None = None,
) -> AsyncIterator[Harness]:
    """Make the same without a worker."""
    cloud = FakeCloud()
    hosts = SimulatedHosts(cloud)
    interference = Interference()
    releases = FakeReleases(*TAGS)
    with open_store(f"sqlite:///{folder / 'fleet.db'}") as store:
        parts = Parts(
            task_queue=f"workflows-{uuid.uuid4().hex[:8]}",
            fleet_owner=OWNER,
            store=store,
            drivers={cloud.name: cloud},
            hosts=hosts,
            repository=releases,
            user_data=user_data_renderer(asyncssh.generate_private_key("ssh-ed25519")),
            service=SERVICE,
            probe=hosts.probe,
            checks=checks or {},
            drain=drain or Drain(),
            connectivity=(FakeConnectivityCheck(),),
        )
        made = Harness(client, parts, store, cloud, hosts, interference, releases)
        store.tracks.set("stable", None, made.operation())
        store.settings.set("default_release_tag", "v0.0.73", made.operation())
        try:
            yield made
        finally:
            await made.end_rollouts()
            await made.end_pools()
