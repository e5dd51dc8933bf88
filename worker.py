"""Builds settings, store, drivers and the way to the hosts; registers; runs. No logic."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path, PurePosixPath

from dotenv import dotenv_values
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.worker import (
    Interceptor,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerDeploymentConfig,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.audits import AuditActivities
from activities.cloud_init import CloudInitActivities, UserDataRenderer, host_files
from activities.command_check import CommandCheck
from activities.connections import ConnectionPool
from activities.daemon import Daemon
from activities.destructions import DestructionActivities
from activities.disruptions import DisruptionActivities, Ledger
from activities.draining import Drain, DrainActivities
from activities.errors import FaultInterceptor
from activities.evidence import EvidenceActivities
from activities.fleet import FleetActivities
from activities.gate_checks import GateCheck, GateCheckActivities
from activities.hosts import Hosts, SshHosts
from activities.log_context import LogContextInterceptor
from activities.machines import MachineActivities
from activities.observing import ObservingActivities
from activities.packages import PackageActivities
from activities.pools import PoolActivities
from activities.preflight import PreflightActivities
from activities.prometheus_check import Bounds, PrometheusCheck
from activities.releases import ReleaseActivities
from activities.replacements import ReplacementActivities
from activities.rollouts import RolloutActivities
from activities.services import ServiceActivities
from activities.sweeps import SweepActivities
from activities.treatments import TreatmentActivities
from activities.witnesses import UrlWitness, Witness
from fleet.errors import StoreTooNewError
from fleet.store import Store, open_store
from messages.breaker import BreakerLimits
from messages.reconcile import ReconcilePolicy
from providers.driver import ProviderDriver
from providers.registry import open_drivers
from remote import helper
from remote.identity import IdentityError, load_client_key, load_secret, public_line
from remote.probe import Probe, probe_of
from repositories.registry import AptPlace, open_source
from repositories.source import ReleaseSource
from settings import GateCheckSettings, Settings, SettingsError, load_settings, required
from starter.connection import connect, require_search_attributes
from starter.errors import StarterError
from starter.logs import configure_logs
from starter.release_place import release_place
from templates.user_data import DAEMON_FILES, AptSource, TemplateError, UserDataTemplate
from workflows.autoreplace_route import AutoreplaceRoute
from workflows.hot_swap_route import HotSwapRoute
from workflows.keep_pool import KeepPool
from workflows.prove_route import ProveRoute
from workflows.provision_route import ProvisionRoute
from workflows.reconcile_fleet import ReconcileFleet
from workflows.rollout_release import RolloutRelease
from workflows.rollout_wave import RolloutWave
from workflows.sweep_machine import SweepMachine
from workflows.unversioned import UnversionedRunner

WORKFLOWS = (
    *(ProvisionRoute, HotSwapRoute, ProveRoute, RolloutRelease, RolloutWave),
    *(ReconcileFleet, SweepMachine, AutoreplaceRoute, KeepPool),
)

WORKFLOWS_STAND_ON = (
    *("failures", "policies", "reporting", "search_attributes", "signals", "steps", "undo"),
    *("reconcile_board", "unversioned", "machine_making", "removal"),
)
"""The modules of `workflows` that hold no workflow."""

GRACE = timedelta(seconds=10)
"""How long a worker that is told to stop lets its activities come to an end."""

THREADS = 16
"""The store's calls block, so each runs in a thread; SQLite writes one at a time anyway."""


@dataclass(frozen=True)
class Parts:
    """What the activities act on."""

    task_queue: str
    fleet_owner: str
    store: Store
    drivers: Mapping[str, ProviderDriver]
    hosts: Hosts
    repository: ReleaseSource
    user_data: UserDataRenderer
    daemon: Daemon
    probe: Probe
    checks: Mapping[str, GateCheck] = field(default_factory=dict)
    witnesses: Sequence[Witness] = ()
    drain: Drain = field(default_factory=Drain)
    policy: ReconcilePolicy = field(default_factory=ReconcilePolicy)
    limits: BreakerLimits = field(default_factory=BreakerLimits)
    secrets: Collection[str] = field(default=(), repr=False)


def workflow_runner(*, versioned: bool = False) -> SandboxedWorkflowRunner:
    """Return the sandbox that workflows run in.

    An import that nobody meant, as of httpx, keeps a worker from starting. Shared with the world
    outside are messages, and what has no state to share: pure planning, and the modules that
    workflows stand on, which would else be read anew for each of them.
    """
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules(
            *("pydantic", "pydantic_core", "annotated_types", "messages", "planning"),
            *(f"workflows.{name}" for name in WORKFLOWS_STAND_ON),
        ),
        runner_class=UnsandboxedWorkflowRunner if versioned else UnversionedRunner,
    )


def build(
    client: Client,
    parts: Parts,
    interceptors: tuple[Interceptor, ...] = (),
    version: WorkerDeploymentVersion | None = None,
) -> Worker:
    """Return a worker of everything that Relight does, not yet running.

    One with a version is given work once that version is current, or what began on it.
    """
    ledger = Ledger(parts.store, parts.policy.strategy)
    disruptions = DisruptionActivities(parts.store, ledger)
    replacements = ReplacementActivities(parts.store, ledger)
    evidence = EvidenceActivities(parts.hosts, parts.drivers, parts.store, parts.secrets)
    drains = DrainActivities(parts.drain)
    destructions = DestructionActivities(parts.store, parts.limits)
    pools = PoolActivities(parts.store)
    fleet, rollouts = FleetActivities(parts.store), RolloutActivities(parts.store, client)
    machines = MachineActivities(parts.drivers, parts.user_data, parts.fleet_owner)
    first_boot = CloudInitActivities(parts.user_data, parts.hosts)
    services = ServiceActivities(parts.hosts, parts.daemon, parts.probe)
    packages = PackageActivities(parts.hosts, services, parts.store)
    releases = ReleaseActivities(parts.repository, parts.store)
    preflight = PreflightActivities(parts.hosts, parts.repository, parts.store, parts.checks)
    checks = GateCheckActivities(parts.checks)
    observing = ObservingActivities(
        parts.store, parts.drivers, parts.repository, parts.witnesses, parts.fleet_owner, client
    )
    audits = AuditActivities(parts.store, parts.hosts, services, parts.repository, client)
    treatments = TreatmentActivities(parts.store, client)
    sweeps = SweepActivities(parts.store, parts.drivers, parts.fleet_owner)
    return Worker(
        client,
        task_queue=parts.task_queue,
        workflows=WORKFLOWS,
        activities=[
            fleet.desired_release,
            fleet.load_route,
            fleet.release_before,
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
            packages.swap_release,
            services.prove_release,
            rollouts.open_rollout,
            rollouts.architectures,
            rollouts.plan_rollout,
            rollouts.advance_wave,
            rollouts.begin_proofs,
            rollouts.widen_wave,
            rollouts.join_late,
            rollouts.retry_failed,
            rollouts.skip_route,
            rollouts.record_decision,
            preflight.preflight,
            checks.check_gate,
            rollouts.record_steer,
            rollouts.close_rollout,
            disruptions.take_disruption,
            disruptions.release_disruption,
            replacements.begin_replacement,
            replacements.claim_machine,
            replacements.plan_successor,
            replacements.attach_machine,
            replacements.give_back,
            evidence.save_evidence,
            drains.drain_machine,
            destructions.ask_destruction,
            destructions.record_destroyed,
            pools.plan_pool,
            pools.plan_pool_machine,
            pools.prepare_pool_machine,
            pools.leave_pool,
            pools.record_pool_ready,
            pools.record_pool_fault,
            observing.observe_fleet,
            audits.audit_routes,
            treatments.begin_treatment,
            treatments.close_operation,
            sweeps.look_again,
            sweeps.record_swept,
        ],
        activity_executor=ThreadPoolExecutor(max_workers=THREADS),
        workflow_runner=workflow_runner(versioned=version is not None),
        interceptors=[*interceptors, LogContextInterceptor(), FaultInterceptor()],
        graceful_shutdown_timeout=GRACE,
        # Without a default: a workflow that does not say how it takes a new version keeps a
        # versioned worker from starting.
        deployment_config=WorkerDeploymentConfig(version, use_worker_versioning=True)
        if version
        else None,
    )


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Open the store, the drivers and the repository that the settings name; close them after.

    Raises:
        SettingsError: a setting without which no route can be served is missing.
        IdentityError: a key file cannot be used.
        TemplateError: the daemon's templates cannot be.
    """
    ssh, lab = settings.ssh, settings.lab
    client_key = load_client_key(required(ssh.client_key, "ssh", "client_key"))
    host_key_secret = load_secret(required(ssh.host_key_secret, "ssh", "host_key_secret"))
    daemon, place = _daemon(settings), release_place(settings)
    secrets = _daemon_secrets(settings.daemon.secrets_file)
    source = _apt_source(place) if isinstance(place, AptPlace) else None
    async with AsyncExitStack() as stack:
        store = stack.enter_context(open_store(settings.database_url))
        lab_token = SecretStr(lab.token_file.read_text().strip()) if lab.token_file else None
        drivers = open_drivers(lab_url=lab.url, lab_token=lab_token)
        for driver in drivers.values():
            stack.push_async_callback(driver.close)
        releases = open_source(place, daemon.package)
        stack.push_async_callback(releases.close)
        hosts = ConnectionPool(
            SshHosts(
                user=ssh.user,
                port=ssh.port,
                client_key=client_key,
                host_key_secret=host_key_secret,
                connect_timeout=ssh.connect_timeout,
            )
        )
        stack.push_async_callback(hosts.close)
        yield Parts(
            task_queue=settings.task_queue,
            fleet_owner=settings.fleet_owner,
            store=store,
            drivers=drivers,
            hosts=hosts,
            repository=releases,
            user_data=UserDataRenderer(
                template=UserDataTemplate(
                    source,
                    settings.daemon.files or DAEMON_FILES,
                    secrets,
                    host_files(daemon, place.deb_urls),
                ),
                daemon=daemon,
                ssh_user=ssh.user,
                client_key_public=public_line(client_key, "relight"),
                host_key_secret=host_key_secret,
            ),
            daemon=daemon,
            probe=_probe(settings),
            drain=Drain(settings.drain.command, settings.drain.deadline),
            policy=settings.reconcile,
            limits=settings.breaker,
            secrets=tuple(secrets.values()),
            checks={name: _gate_check(each) for name, each in settings.gate_checks.items()},
            witnesses=[UrlWitness(url) for url in settings.witnesses or (place.address,)],
        )


def deployment_version(settings: Settings) -> WorkerDeploymentVersion | None:
    """Return which version of the code the worker says it is; None where that is not told apart."""
    worker = settings.worker
    if not worker.deployment:
        return None
    return WorkerDeploymentVersion(worker.deployment, worker.build_id)


def _daemon(settings: Settings) -> Daemon:
    daemon = settings.daemon
    return Daemon(
        package=daemon.package,
        unit=daemon.unit,
        executable=daemon.executable,
        stability_window=settings.stability_window,
    )


def _probe(settings: Settings) -> Probe:
    daemon = settings.daemon
    return probe_of(
        daemon.probe,
        port=daemon.probe_port,
        path=daemon.probe_path,
        command=daemon.probe_command,
        timeout=daemon.probe_timeout,
        patience=daemon.probe_patience,
    )


def _gate_check(check: GateCheckSettings) -> GateCheck:
    if check.kind == "command":
        return CommandCheck(check.command, check.timeout)
    bounds = Bounds(at_most=check.at_most, at_least=check.at_least)
    return PrometheusCheck(str(check.url), check.query, bounds, check.timeout)


def _apt_source(place: AptPlace) -> AptSource:
    return AptSource(
        path=PurePosixPath("/etc/apt", helper.SOURCES_FILE),
        url=place.url,
        suite=place.suite,
        component=place.component,
        signing_key=place.signing_key.read_bytes(),
    )


def _daemon_secrets(file: Path | None) -> dict[str, str]:
    values = dotenv_values(file, interpolate=False) if file else {}
    return {name: value or "" for name, value in values.items()}


REASONS = (SettingsError, StarterError, IdentityError, TemplateError, StoreTooNewError, OSError)
"""Why a worker may not start: what its operator can mend."""


async def run() -> None:
    """Serve until SIGINT or SIGTERM."""
    settings = load_settings()
    configure_logs(settings.log_format)
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    client = await connect(settings)
    await require_search_attributes(client)
    version = deployment_version(settings)
    async with open_parts(settings) as parts, build(client, parts, version=version):
        await stop.wait()


def main() -> None:
    """Run a worker; what keeps it from starting is one line on standard error, and exit code 1."""
    try:
        asyncio.run(run())
    except REASONS as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
