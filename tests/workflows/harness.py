"""The real workflows and activities over a real store, a fake cloud and simulated hosts."""

import uuid
from dataclasses import dataclass

from temporalio.client import Client, WorkflowHandle

from fleet.store import Store
from messages.base import Origin
from messages.names import rollout_workflow_id, route_workflow_id
from messages.rollout import RolloutReleaseInput, RolloutStatus, Strategy
from messages.route import (
    HotSwapRouteInput,
    ProvisionRouteInput,
    Route,
    RouteProvisioned,
    RouteSwapped,
)
from fleet.operation import Operation
from tests.support.fake_cloud import FakeCloud
from tests.support.interference import Interference
from tests.support.simulated_hosts import SimulatedHosts
from workflows.hot_swap_route import HotSwapRoute
from workflows.provision_route import ProvisionRoute
from workflows.rollout_release import RolloutRelease

ORIGIN = Origin(requested_by="tester", reason="to see what happens")


@dataclass
class Harness:
    """One small installation, its worker running."""

    client: Client
    task_queue: str
    store: Store
    cloud: FakeCloud
    hosts: SimulatedHosts
    interference: Interference

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
        self, route_id: str, tag: str
    ) -> WorkflowHandle[HotSwapRoute, RouteSwapped]:
        return await self.client.start_workflow(
            HotSwapRoute.run,
            HotSwapRouteInput(route_id=route_id, release_tag=tag, origin=ORIGIN),
            id=route_workflow_id(route_id),
            task_queue=self.task_queue,
        )

    async def start_rollout(
        self, tag: str, scope: str = "fleet", **strategy: object
    ) -> WorkflowHandle[RolloutRelease, RolloutStatus]:
        return await self.client.start_workflow(
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

    def route(self, route_id: str) -> Route:
        route = self.store.routes.get(route_id)
        assert route is not None
        return route

    def operation(self) -> Operation:
        return Operation(origin=ORIGIN)
