"""Builds settings, store, drivers and the way to the hosts; registers; runs. No logic."""

import asyncio
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Interceptor, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.cloud_init import CloudInitActivities, UserDataRenderer
from activities.errors import FaultInterceptor
from activities.fleet import FleetActivities
from activities.hosts import Hosts
from activities.machines import MachineActivities
from activities.packages import PackageActivities
from activities.releases import ReleaseActivities
from activities.rollouts import RolloutActivities
from activities.services import ServiceActivities
from fleet.store import Store
from providers.driver import ProviderDriver
from repositories.source import ReleaseSource
from settings import Settings
from workflows.hot_swap_route import HotSwapRoute
from workflows.provision_route import ProvisionRoute
from workflows.rollout_release import RolloutRelease

WORKFLOWS = (ProvisionRoute, HotSwapRoute, RolloutRelease)

GRACE = timedelta(seconds=10)
"""How long a worker that is told to stop lets its activities come to an end."""

THREADS = 16
"""The store's calls block, so each runs in a thread; SQLite writes one at a time anyway."""


@dataclass(frozen=True)
class Parts:
    """What the activities act on."""

    settings: Settings
    store: Store
    drivers: Mapping[str, ProviderDriver]
    hosts: Hosts
    repository: ReleaseSource
    user_data: UserDataRenderer


def build(client: Client, parts: Parts, interceptors: tuple[Interceptor, ...] = ()) -> Worker:
    """Return a worker of everything that Relight does, not yet running."""
    settings, store = parts.settings, parts.store
    fleet, rollouts = FleetActivities(store), RolloutActivities(store, client)
    machines = MachineActivities(parts.drivers, parts.user_data)
    first_boot = CloudInitActivities(parts.user_data, parts.hosts)
    packages = PackageActivities(parts.hosts)
    services = ServiceActivities(parts.hosts, settings.daemon, settings.stability_window)
    releases = ReleaseActivities(parts.repository, store)
    return Worker(
        client,
        task_queue=settings.task_queue,
        workflows=WORKFLOWS,
        activities=[
            fleet.desired_release,
            fleet.load_route,
            fleet.open_route,
            fleet.record_machine,
            fleet.set_target,
            fleet.record_proof,
            fleet.record_fault,
            releases.resolve_release,
            machines.describe_region,
            machines.create_machine,
            machines.await_machine,
            machines.destroy_machine,
            first_boot.render_cloud_init,
            first_boot.await_first_boot,
            packages.install_release,
            services.restart_service,
            services.prove_release,
            rollouts.open_rollout,
            rollouts.list_routes,
            rollouts.record_steer,
            rollouts.close_rollout,
        ],
        activity_executor=ThreadPoolExecutor(max_workers=THREADS),
        workflow_runner=SandboxedWorkflowRunner(
            restrictions=SandboxRestrictions.default.with_passthrough_modules(
                "pydantic", "pydantic_core", "annotated_types", "messages"
            )
        ),
        interceptors=[*interceptors, FaultInterceptor()],
        graceful_shutdown_timeout=GRACE,
    )
