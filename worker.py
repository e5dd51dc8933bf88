"""The worker: builds its parts from the settings, registers workflows and activities, and runs."""

import asyncio
import gc
import importlib
import os
import signal
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import structlog
from pydantic import ValidationError
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.worker import (
    Interceptor,
    PollerBehaviorSimpleMaximum,
    Worker,
    WorkerDeploymentConfig,
    WorkflowRunner,
)

import workflows
from activities.execution import (
    HEARTBEAT_INTERVAL,
    FaultInterceptor,
    HeartbeatInterceptor,
    LogContextInterceptor,
    StoreGuardInterceptor,
    current_run_id,
)
from activities.fleet_limit import FleetLimit
from activities.machine.drain import Drain
from activities.machine.first_boot import (
    UserDataRenderer,
    host_files,
)
from activities.parts import Parts, activities_with
from activities.rollout.checks import CommandCheck, GateCheck
from activities.rollout.prometheus import Bounds, PrometheusCheck
from activities.route.routes import RouteActivities
from activities.same_fleet import same_fleet_interceptor
from relight.breaker_settings import connectivity_checks
from relight.doctor.examination import require_able_to_serve
from relight.domain.duration import span
from relight.engine.connection import connect
from relight.engine.errors import SetupError
from relight.engine.logs import configure_logs
from relight.engine.runner import workflow_runner
from relight.gate_check_settings import GateCheckSettings
from relight.home import existing_store_url
from relight.hosts.cloud_init.user_data import (
    UserDataTemplate,
    source_files,
)
from relight.hosts.connections import ConnectionPool, SshHosts
from relight.hosts.host_key_probe import SshHostKeyProbe
from relight.hosts.host_settings import HostSettings
from relight.hosts.key_files import KeyFiles
from relight.hosts.keys import IdentityError
from relight.hosts.liveness import SshLivenessProbe
from relight.hosts.templates import TemplateError
from relight.images.contract_file import DEFAULT_CONTRACT, ContractError, read_contract
from relight.key_report import reporting_keys
from relight.locations import configured_drivers, configured_locations, configured_stagings
from relight.process_end import end_process
from relight.release_source import brings_packages, package_files, release_source_config
from relight.releases.errors import RepositoryError
from relight.releases.source import AptSourceConfig, open_source
from relight.service_settings import (
    apt_source,
    repository_passwords,
    service_files,
    service_of,
    service_probe,
    service_secrets,
)
from relight.setting_groups import SettingsError
from relight.settings import Settings, bad_values_text, load_settings, required
from relight.store.errors import StoreError
from relight.store.store import open_store
from relight.store.threads import THREADS, guard_event_loop, in_thread
from workflows.fleet.comparison import CompareRecords
from workflows.fleet.key_rotation import RotateKeys
from workflows.fleet.liveness import CheckLiveness, VerifyRoutes
from workflows.fleet.pool import KeepPool
from workflows.fleet.prune import PruneStore
from workflows.fleet.reconcile import ReconcileFleet
from workflows.fleet.sweep import SweepMachine
from workflows.image.prune import PruneImages
from workflows.image.publish import PublishImage
from workflows.image.region import PublishRegion
from workflows.machine.remove import RemoveMachine
from workflows.rollout.rollout import RolloutRelease
from workflows.rollout.wave_workflow import RolloutWave
from workflows.route.hot_swap import HotSwapRoute
from workflows.route.prove import ProveRoute
from workflows.route.provision import ProvisionRoute
from workflows.route.replace import AutoreplaceRoute
from workflows.route.retire import RetireRoute

WORKFLOWS = (
    *(ProvisionRoute, HotSwapRoute, ProveRoute, RolloutRelease, RolloutWave),
    *(ReconcileFleet, SweepMachine, KeepPool, PruneStore, CheckLiveness, VerifyRoutes),
    *(CompareRecords, RotateKeys),
    *(AutoreplaceRoute, RetireRoute, RemoveMachine),
    *(PublishImage, PublishRegion, PruneImages),
)

MAX_HEARTBEAT_INTERVAL = HEARTBEAT_INTERVAL
"""The SDK would wait for 0.8 of the timeout. A running activity learns of its cancellation by its
next heartbeat."""

STICKY_TIMEOUT = timedelta(seconds=5)
"""How long a task of a workflow waits for the worker that has it in its cache, before any worker
gets it: twice the default's speed after the death of a worker. One that is so late is overloaded,
and another one reads the history in less time."""

WORKFLOW_POLLERS, SHARE_FOR_NEW = 20, 0.5
"""How many requests for workflow tasks wait at the server, and the part of them that is for
workflows that are not in the worker's cache. Of the default's five one is: the server then writes
most first tasks of new workflows to its database before it hands them out."""

GRACE = timedelta(seconds=2)
"""How long a stopping worker waits for its running activities before it interrupts them. The work
that takes longer is detached on hosts or waited for at providers, and another worker goes on."""

END_WITHIN = timedelta(seconds=4.5)
"""A worker that is told to end is gone after it, whatever does not answer."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


COLLECT_AFTER = (50_000, 20, 100)
"""After how many new objects the garbage collector runs, and after how many runs it searches older
ones too. A login makes thousands, few of them in cycles: with Python's own numbers it takes a tenth
of the CPU time of a verification."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("relight.worker")


def build(
    client: Client,
    parts: Parts,
    interceptors: tuple[Interceptor, ...] = (),
    version: WorkerDeploymentVersion | None = None,
    runner: WorkflowRunner | None = None,
    max_activities: int | None = None,
) -> Worker:
    """Return a worker with all workflows and activities. It is not running yet.

    Args:
        client: the Temporal client.
        parts: what the activities work with.
        interceptors: wrap each activity, outside of Relight's own.
        version: the version of the code. A versioned worker gets new work once its version is
            current, and all work that started on it.
        runner: runs the workflows; by default outside of the sandbox that checks their imports.
        max_activities: how many activities run at once; by default as many as in the SDK.
    """
    return Worker(
        client,
        task_queue=parts.task_queue,
        max_heartbeat_throttle_interval=MAX_HEARTBEAT_INTERVAL,
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(WORKFLOW_POLLERS),
        nonsticky_to_sticky_poll_ratio=SHARE_FOR_NEW,
        workflows=WORKFLOWS,
        activities=activities_with(parts, client),
        max_concurrent_activities=max_activities,
        activity_executor=ThreadPoolExecutor(max_workers=THREADS),
        workflow_runner=runner
        or workflow_runner(workflows, WORKFLOWS, versioned=version is not None),
        interceptors=[
            *interceptors,
            LogContextInterceptor(quiet=RouteActivities),
            FaultInterceptor(),
            HeartbeatInterceptor(),
            StoreGuardInterceptor(),
        ],
        graceful_shutdown_timeout=GRACE,
        # No default behaviour: a versioned worker does not start if a workflow declares none.
        deployment_config=WorkerDeploymentConfig(version, use_worker_versioning=True)
        if version
        else None,
    )


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Open the store, the drivers and the repository of the settings; close them afterwards.

    Raises:
        SettingsError: a required setting is missing.
        IdentityError: a key file cannot be used.
        TemplateError: the templates of the service's files cannot be used.
        RepositoryError: the repository's signing key cannot be used.
        NoHomeError: no store is set, and the home folder has none.
        StoreError: the store has no tables, or those of another version.
    """
    ssh = settings.ssh
    keys = KeyFiles(
        required(ssh.client_key, "ssh", "client_key"),
        required(ssh.host_key_secret, "ssh", "host_key_secret"),
    )
    service, config = service_of(settings), release_source_config(settings)
    secrets = service_secrets(settings.service.secrets_file)
    source = apt_source(config) if isinstance(config, AptSourceConfig) else None
    async with AsyncExitStack() as stack:
        opened = await in_thread(open_store, existing_store_url(settings))
        store = stack.enter_context(opened)
        holder = uuid.uuid4().hex

        def fleet_limit(name: str, limit: int, block: int = 1) -> FleetLimit:
            made = FleetLimit(store.permits, name, limit, holder, block=block)
            stack.push_async_callback(made.close)
            return made

        drivers = configured_drivers(settings)
        for driver in drivers.values():
            stack.push_async_callback(driver.close)
        releases = open_source(config, service.package, store.repository_indexes)
        stack.push_async_callback(releases.close)
        logins = fleet_limit("logins", settings.limits.logins, block=8)
        ssh_hosts = SshHosts(ssh.user, ssh.port, keys, ssh.connect_timeout)
        hosts = ConnectionPool(ssh_hosts, current_run_id, logins=logins)
        stack.push_async_callback(hosts.close)
        creations = {
            name: fleet_limit(f"creations at {name}", settings.limits.creations) for name in drivers
        }
        own_files, first_files = (
            host_files(service, config.deb_urls, pushed=brings_packages(settings), first_boot=each)
            for each in (False, True)
        )
        yield Parts(
            task_queue=settings.task_queue,
            fleet_owner=settings.fleet_owner,
            store=store,
            drivers=drivers,
            hosts=hosts,
            keyed_hosts=ssh_hosts,
            repository=releases,
            user_data=UserDataRenderer(
                template=UserDataTemplate(source, service_files(settings), secrets, first_files),
                service=service,
                ssh_user=ssh.user,
                keys=keys,
            ),
            service=service,
            probe=service_probe(settings),
            liveness=SshLivenessProbe(ssh.port, settings.liveness.timeout),
            host_keys=SshHostKeyProbe(ssh.port, keys, ssh.connect_timeout),
            max_probes=settings.liveness.concurrency,
            drain=Drain(settings.drain.command, settings.drain.deadline),
            policy=settings.reconcile,
            limits=settings.breaker,
            pool=settings.pool,
            creations=creations,
            secrets=secrets,
            passwords=tuple(repository_passwords(config)),
            host_settings=HostSettings(
                (*own_files, *(source_files(source) if source is not None else ()))
            ),
            checks={name: _gate_check(each) for name, each in settings.gate_checks.items()},
            connectivity=connectivity_checks(settings),
            package_files=package_files(settings),
            image_folder=settings.image_folder,
            stagings=configured_stagings(settings),
            locations=configured_locations(settings),
            contract=read_contract(settings.images.contract or DEFAULT_CONTRACT),
            image_preflight=settings.images.preflight,
        )


def deployment_version(settings: Settings) -> WorkerDeploymentVersion | None:
    """Return the version that the worker declares; None for an unversioned worker."""
    worker = settings.worker
    if not worker.deployment:
        return None
    return WorkerDeploymentVersion(worker.deployment, worker.build_id)


def _gate_check(check: GateCheckSettings) -> GateCheck:
    if check.kind == "command":
        return CommandCheck(check.command, check.timeout)
    bounds = Bounds(max_value=check.max_value, min_value=check.min_value)
    return PrometheusCheck(str(check.url), check.query, bounds, check.timeout)


REASONS = (
    *(SettingsError, SetupError, IdentityError, TemplateError, ContractError),
    *(RepositoryError, StoreError, OSError),
)
"""Why a worker cannot start, where an operator can fix the cause."""


async def _served(settings: Settings, client: Client, parts: Parts) -> str:
    """Return what the worker serves, in one line."""
    fleet = (await in_thread(parts.store.fleet_identity.get)).fleet_id
    return (
        f"serves context {settings.context.name}, fleet {fleet}; store {parts.store.name}; Temporal"
        f" {client.service_client.config.target_host}, namespace {client.namespace}, task queue"
        f" {parts.task_queue}; providers: {', '.join(parts.drivers) or 'none'}; releases from"
        f" {release_source_config(settings).address}; event loop"
        f" {type(asyncio.get_running_loop()).__module__.partition('.')[0]}"
    )


async def run() -> None:
    """Serve until SIGINT or SIGTERM, or until Temporal is of another fleet than the store.

    After a signal the process ends within `END_WITHIN`, and at once after another one.

    Raises:
        CannotServeError: a check of what it needs has failed.
        WrongFleetError: Temporal is of another fleet, at the start or later.
    """
    guard_event_loop()
    settings = load_settings()
    configure_logs(settings.log_format)
    stop = asyncio.Event()
    _stop_by_signals(stop)
    await require_able_to_serve(settings)
    client = await connect(settings)
    async with open_parts(settings) as parts:
        same_fleet = await same_fleet_interceptor(client, parts.store, on_other_fleet=stop.set)
        version, most = deployment_version(settings), settings.worker.max_activities
        gc.freeze()  # What is loaded by now stays.
        gc.set_threshold(*COLLECT_AFTER)
        async with (
            reporting_keys(parts.store, parts.user_data.keys),
            build(client, parts, (same_fleet,), version=version, max_activities=most),
        ):
            log.info(await _served(settings, client, parts))
            await stop.wait()
        if same_fleet.error is not None:
            raise same_fleet.error


def _stop_by_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    last = threading.Timer(END_WITHIN.total_seconds(), _end_late)

    def first() -> None:
        for each in STOP_SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        last.start()
        log.info(f"stops within {span(END_WITHIN)}; another signal ends it at once")
        stop.set()

    for each in STOP_SIGNALS:
        loop.add_signal_handler(each, first)


def _end_late() -> None:
    # Whoever reads the log may not answer either.
    text = f"ends with work that did not stop within {span(END_WITHIN)}: others take it over"
    last_line = threading.Thread(target=log.warning, args=(text,), daemon=True)
    last_line.start()
    last_line.join(0.3)
    os._exit(0)


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the faster event loop of the extra `fast`; None if it is not installed."""
    try:
        found = importlib.import_module("uvloop")
    except ImportError:
        return None
    new_event_loop: Callable[[], asyncio.AbstractEventLoop] = found.new_event_loop
    return new_event_loop


def main() -> int:
    """Run the worker, and return its exit code: 3 and one line on standard error if refused."""
    try:
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            runner.run(run())
    except ValidationError as error:
        sys.stderr.write(f"error: {bad_values_text(error)}\n")
        return 3
    except REASONS as error:
        sys.stderr.write(f"error: {error}\n")
        return 3
    return 0


if __name__ == "__main__":
    end_process(main())
