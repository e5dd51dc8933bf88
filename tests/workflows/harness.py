"""An installation with real workflows, activities and store, a fake cloud and simulated hosts."""

import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkerDeploymentVersion
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

from activities.machine.first_boot import FirstBootActivities
from activities.parts import Parts
from activities.route.hot_swap import ProofActivities
from devkit.leftovers import terminate
from devkit.simulated.cloud import FakeCloud
from devkit.simulated.hosts import SimulatedHosts
from devkit.simulated.parts import OWNER
from devkit.simulated.releases import FakeReleases
from relight.domain.base import Origin
from relight.domain.breaker.breaker import BreakerLimits
from relight.domain.event import Event
from relight.domain.key_rotation import KeyKind, rotation_workflow_id
from relight.domain.liveness import LIVENESS_WORKFLOW_ID
from relight.domain.machine import AwaitFirstBootInput, Machine, MachinePlan
from relight.domain.names import (
    image_rollout_workflow_id,
    package_tag,
    rollout_workflow_id,
    route_workflow_id,
)
from relight.domain.pool.pool import pool_workflow_id
from relight.domain.proof import Proof, ProveReleaseInput
from relight.domain.reconcile.run import RECONCILE_WORKFLOW_ID, VERIFY_SILENT_WORKFLOW_ID
from relight.domain.release import Release
from relight.domain.retention import PRUNE_WORKFLOW_ID
from relight.domain.rollout.rollout import RolloutReleaseInput, RolloutStatus
from relight.domain.rollout.strategy import UNDO_STRATEGY, Strategy
from relight.domain.route import (
    HotSwapRouteInput,
    OpenRouteInput,
    ProvisionRouteInput,
    RecordMachineInput,
    RecordProofInput,
    Route,
    RouteProvisioned,
    RouteSwapped,
)
from relight.providers.driver import MachineSpec, ProviderDriver
from relight.store.events import Operation
from relight.store.store import Store
from starter.local.children import wait_until
from tests.support.interference import Interference
from tests.support.results import result_within
from worker import build
from workflows.endings import result_of
from workflows.rollout.rollout import RolloutRelease
from workflows.route.hot_swap import HotSwapRoute
from workflows.route.provision import ProvisionRoute

TAGS = ("v0.0.70", "v0.0.73", "v0.0.74", "v0.0.75", "v0.0.76", "v0.0.77", "v0.0.78")
ORIGIN = Origin(requested_by="tester", reason="a test")

LIMITS = BreakerLimits(spared_for=timedelta(microseconds=1))
"""Those that ship, but for the time that a fault must last: tests of the gate wait for it."""

ONE_PER_FLEET = (
    RECONCILE_WORKFLOW_ID,
    VERIFY_SILENT_WORKFLOW_ID,
    LIVENESS_WORKFLOW_ID,
    PRUNE_WORKFLOW_ID,
    *(rotation_workflow_id(kind) for kind in KeyKind),
)
"""The ids of workflows of which a fleet has one."""

_cells = itertools.count(1)


@dataclass
class Harness:
    """An installation, as tests use it.

    Attributes:
        cloud: the provider account of the routes that are made here.
        track: the track of these routes.
    """

    client: Client
    parts: Parts
    store: Store
    cloud: FakeCloud
    drivers: dict[str, ProviderDriver]
    hosts: SimulatedHosts
    interference: Interference
    releases: FakeReleases
    track: str = "stable"
    rollouts: list[WorkflowHandle[RolloutRelease, RolloutStatus]] = field(default_factory=list)

    @property
    def task_queue(self) -> str:
        return self.parts.task_queue

    def worker(self, version: WorkerDeploymentVersion | None = None) -> Worker:
        return build(self.client, self.parts, (self.interference,), version)

    def cell(self) -> "Harness":
        """Return the same installation with another provider account and another track.

        What runs in one cell does not disturb other cells.
        """
        number = next(_cells)
        cloud, track = FakeCloud(f"fake-{number}"), f"track-{number}"
        self.drivers[cloud.name] = cloud
        self.hosts.add(cloud)
        self.store.tracks.set(track, None, self.operation())
        return replace(self, cloud=cloud, track=track, rollouts=[])

    # ---------------------------------------------------------------- routes

    def new_route_id(self) -> str:
        return f"r-{uuid.uuid4().hex[:8]}"

    async def serving_route(
        self, *, region: str = "fake-east", track: str | None = None, route_id: str | None = None
    ) -> str:
        """Return a new route that serves the default release, as provisioning leaves it.

        The state is set directly, which is several times as fast as the workflow.
        """
        route_id, track, release = (
            route_id or self.new_route_id(),
            track or self.track,
            self.release,
        )
        opened = self.store.routes.open(
            OpenRouteInput(
                route_id=route_id,
                track=track,
                provider=self.cloud.name,
                region=region,
                release_tag=release.tag,
                origin=ORIGIN,
            ),
            self.operation(),
        )
        machine, proof = await self._boot(opened.machine_key, region, release, route_id, track)
        self.store.routes.record_proof(
            RecordProofInput(route_id=route_id, machine=machine, proof=proof, origin=ORIGIN),
            self.operation(),
        )
        return route_id

    async def pool_machine(self, region: str = "fake-east") -> str:
        """Return the key of a new machine in the pool, as KeepPool leaves it."""
        release = self.release
        key = self.store.pool.plan(self.cloud.name, region, release.tag, self.operation())
        machine, proof = await self._boot(key, region, release)
        self.store.pool.record_ready(key, machine, proof, self.operation())
        return key

    @property
    def release(self) -> Release:
        """The default release."""
        tag = self.store.fleet_settings.get("default_release_tag")
        assert tag is not None
        return self.releases.get(package_tag(tag)).model_copy(update={"tag": tag})

    async def _boot(
        self,
        key: str,
        region: str,
        release: Release,
        route_id: str | None = None,
        track: str | None = None,
    ) -> tuple[Machine, Proof]:
        """Create a machine, record it, and prove its release."""
        plan = MachinePlan(
            key=key,
            route_id=route_id,
            track=track,
            provider=self.cloud.name,
            region=region,
            release_version=release.version,
            deb_file=release.deb_file("amd64"),
        )
        user_data = self.parts.user_data.render(plan)
        await self.cloud.ensure(
            key,
            MachineSpec(
                region=region, user_data=user_data.packed, owner=OWNER, generation=plan.generation
            ),
        )
        self.cloud.read(key)
        running = self.cloud.read(key)
        assert running is not None
        machine = running.machine
        self.store.routes.record_machine(
            RecordMachineInput(machine=machine, user_data_sha256=user_data.sha256, origin=ORIGIN),
            self.operation(),
        )
        await self.await_first_boot(machine, plan)
        proofs = ProofActivities(self.hosts, self.parts.service, self.parts.probe)
        proof = await ActivityEnvironment().run(
            proofs.prove_release, ProveReleaseInput(machine=machine, release=release)
        )
        return machine, proof

    async def await_first_boot(self, machine: Machine, plan: MachinePlan) -> None:
        """Start the service of a machine that runs."""
        boots = FirstBootActivities(self.parts.user_data, self.hosts)
        await ActivityEnvironment().run(
            boots.await_first_boot, AwaitFirstBootInput(machine=machine, plan=plan)
        )

    async def start_provision(
        self, route_id: str, *, track: str | None = None, region: str = "fake-east"
    ) -> WorkflowHandle[ProvisionRoute, RouteProvisioned]:
        return await self.client.start_workflow(
            ProvisionRoute.run,
            ProvisionRouteInput(
                route_id=route_id,
                track=track or self.track,
                provider=self.cloud.name,
                region=region,
                origin=ORIGIN,
            ),
            id=route_workflow_id(route_id),
            task_queue=self.task_queue,
        )

    async def provision(
        self, route_id: str, *, track: str | None = None, region: str = "fake-east"
    ) -> RouteProvisioned:
        return await result_within(await self.start_provision(route_id, track=track, region=region))

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

    async def swap(
        self, route_id: str, tag: str | None, *, within_budget: bool = False
    ) -> RouteSwapped:
        return await result_within(
            await self.start_swap(route_id, tag, within_budget=within_budget)
        )

    def route(self, route_id: str) -> Route:
        route = self.store.routes.get(route_id)
        assert route is not None
        return route

    def current_tags(self, route_ids: list[str]) -> list[str | None]:
        return [self.route(route_id).current_release_tag for route_id in route_ids]

    async def machines_of(self, route_id: str) -> list[Machine]:
        """Return the machines of a route that the provider still has."""
        keys = await self.machine_keys()
        found = [self.cloud.read(key) for key in keys if key.startswith(f"{route_id}-g")]
        return [machine for machine in found if machine is not None]

    async def machine_keys(self) -> list[str]:
        """Return the keys of the machines that the provider still has.

        A read removes a machine that is being destroyed, so each is read before it counts.
        """
        keys = [machine.key for machine in (await self.cloud.list()).machines]
        return [key for key in keys if self.cloud.read(key) is not None]

    # ---------------------------------------------------------------- rollouts

    async def start_rollout(
        self,
        tag: str,
        scope: str = "fleet",
        *,
        undo: bool = False,
        image_name: str | None = None,
        **strategy: object,
    ) -> WorkflowHandle[RolloutRelease, RolloutStatus]:
        workflow_id = rollout_workflow_id(tag, scope, undo=undo)
        if image_name is not None:
            workflow_id = image_rollout_workflow_id(image_name, scope)
        handle = await self.client.start_workflow(
            RolloutRelease.run,
            RolloutReleaseInput(
                release_tag=tag,
                scope=scope,
                origin=ORIGIN,
                strategy=Strategy.model_validate(
                    {**dict(UNDO_STRATEGY if undo else Strategy()), **strategy}
                ),
                undo=undo,
                image_name=image_name,
            ),
            id=workflow_id,
            task_queue=self.task_queue,
        )
        self.rollouts.append(handle)
        return handle

    async def ended(self, rollout: WorkflowHandle[RolloutRelease, RolloutStatus]) -> RolloutStatus:
        """Return the status with which a rollout ends, also a stopped or aborted one."""
        return await result_of(rollout.result(), RolloutStatus)

    async def until_status(
        self,
        rollout: WorkflowHandle[RolloutRelease, RolloutStatus],
        condition: Callable[[RolloutStatus], bool],
    ) -> None:
        async def holds() -> bool:
            status = self.recorded_status(rollout)
            return status is not None and condition(status)

        await wait_until(holds, timedelta(seconds=30))

    def status(self, rollout: WorkflowHandle[RolloutRelease, RolloutStatus]) -> RolloutStatus:
        """Return a rollout's status, as the store has it."""
        status = self.recorded_status(rollout)
        assert status is not None
        return status

    def recorded_status(
        self, rollout: WorkflowHandle[RolloutRelease, RolloutStatus]
    ) -> RolloutStatus | None:
        """Return a rollout's status; None before it has claimed its scope."""
        assert rollout.first_execution_run_id is not None
        return self.store.rollout_status.get(rollout.first_execution_run_id)

    # ---------------------------------------------------------------- everything else

    def operation(self) -> Operation:
        return Operation(origin=ORIGIN)

    def events(self, route_id: str | None = None, kind: str | None = None) -> list[Event]:
        return self.store.events.list(route_id=route_id, kind=kind)

    def destroyed(self) -> list[str]:
        """Return the keys of this account's machines whose destruction was recorded."""
        keys = [event.machine_key for event in self.events(kind="machine-destroyed")]
        return [key for key in keys if key in self.cloud.created]

    async def until(self, condition: Callable[[], bool]) -> None:
        async def holds() -> bool:
            return condition()

        await wait_until(holds, timedelta(seconds=30))

    async def until_idle(self) -> None:
        """Wait until no workflow of this installation runs, as the server lists them."""
        query = f"TaskQueue = '{self.task_queue}' AND ExecutionStatus = 'Running'"

        async def idle() -> bool:
            return not [each async for each in self.client.list_workflows(query)]

        await wait_until(idle, timedelta(seconds=30))

    async def terminate_rest(self) -> None:
        """Terminate what a test left: the next test starts workflows with the same ids.

        The server's list of running workflows lags behind, so it is not asked.
        """
        pools = [pool_workflow_id(self.cloud.name, region) for region in self.cloud.REGIONS]
        rollouts = [each.workflow_id for each in self.store.rollouts.list()]
        rollouts += [rollout.id for rollout in self.rollouts]
        for workflow_id in {*ONE_PER_FLEET, *pools, *rollouts}:
            await terminate(self.client.get_workflow_handle(workflow_id))
