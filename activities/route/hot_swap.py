"""The hot swap of a release on a host, in a transaction that survives a lost connection."""

from datetime import UTC, datetime

from temporalio import activity

from activities import policies
from activities.configurations import ServiceConfigurations
from activities.delivery import PackageDelivery
from activities.execution import current_attempt, fault_of
from relight.domain.drift import has_other_content
from relight.domain.fault.fault import Fault
from relight.domain.machine import Machine
from relight.domain.proof import (
    Proof,
    ProveReleaseInput,
    ReleaseSwapped,
    SwapReleaseInput,
    SwapStopped,
)
from relight.domain.release import DebFile, Release
from relight.domain.service import Service
from relight.engine.step import step
from relight.hosts import observation, proof, transaction
from relight.hosts.connections import Hosts
from relight.hosts.errors import PackageError, ProbeFailedError, RemoteError
from relight.hosts.host_program import Change
from relight.hosts.host_settings import HostSettings, ensure
from relight.hosts.key_files import Keys
from relight.hosts.observation import Observation
from relight.hosts.probe import Probe
from relight.hosts.shell import Shell
from relight.hosts.transaction import TransactionState
from relight.releases.errors import ReleaseUnknownError
from relight.store.routes import SWAP_ATTEMPTED
from relight.store.store import Store
from relight.store.threads import in_thread


class ProofActivities:
    """Observes one host at a time. Changes nothing there."""

    def __init__(
        self,
        hosts: Hosts,
        service: Service,
        probe: Probe,
        configurations: ServiceConfigurations | None = None,
    ) -> None:
        """Use what observes hosts.

        Args:
            hosts: opens shells.
            service: what each host runs.
            probe: asks it whether it works.
            configurations: what each machine should have; None: any is right.
        """
        self._hosts = hosts
        self.service = service
        self._run_probe = probe
        self.configurations = configurations

    @step(policies.PROVE, lambda i: f"{i.release.tag} on {i.machine.key}")
    async def prove_release(self, input: ProveReleaseInput) -> Proof:
        """Return what the machine was observed to run during the stability window."""
        async with self._hosts.connect(input.machine) as shell:
            return await self.prove(shell, input.release)

    async def check_configuration(self, machine_key: str, release: Release) -> None:
        """Check that we know the configuration of a machine.

        Raises:
            ConfigurationUnknownError: it is not on record.
            TemplateError: it cannot be rendered here, as without a secret that it names.
        """
        if self.configurations is not None:
            await self.configurations.digests(machine_key, release)

    async def prove(
        self,
        shell: Shell,
        release: Release,
        first: Observation | None = None,
        *,
        any_configuration: bool = False,
    ) -> Proof:
        """Return what a host was observed to run during the stability window.

        Args:
            shell: the connection to the host.
            release: what the host should run.
            first: a recent observation to start from, if there is one.
            any_configuration: that of the service is not known, as of an adopted host.

        Raises:
            RemoteError: the host runs something else, or does not answer.
        """
        digests = None
        if self.configurations is not None and not any_configuration:
            digests = await self.configurations.digests(shell.destination.machine_key, release)
        stable = await proof.watch(
            shell, self.service, release.version, _heartbeat_observation, first, digests
        )
        probed = await self._probe(shell)
        made = Proof(
            release_tag=release.tag,
            version=stable.observation.package.version,
            executable=stable.observation.running_file,
            invocation_id=stable.observation.unit.invocation_id,
            restarts=sum(unit.restarts for unit in stable.observation.units),
            stable_for=stable.stable_for,
            probe=probed,
            observed_at=datetime.now(UTC),
            sha256=stable.observation.sha256,
            configuration=stable.observation.configuration,
            settings_sha256=stable.observation.settings_sha256,
        )
        self._check_content(shell, release, stable.observation.package.architecture, made.sha256)
        return made

    def _check_content(
        self, shell: Shell, release: Release, architecture: str, sha256: str
    ) -> None:
        """Check that the .deb that was installed is the release's, if the host knows which it was.

        Raises:
            PackageError: it is another one under the same version.
        """
        if has_other_content(release, architecture, sha256):
            raise PackageError(
                "package-content-differs",
                f"{release.package} {release.version} was installed from a .deb with SHA-256 "
                f"{sha256}, which is not the release's",
                destination=shell.destination,
                attempted=f"prove {release.package} {release.version}",
            )

    async def _probe(self, shell: Shell) -> str:
        try:
            return await self._run_probe(shell.destination)
        except ProbeFailedError as error:
            error.journal = await observation.journal(shell)
            raise


class HotSwapActivities:
    """Starts the transaction on the host, waits for its end, and proves the result."""

    def __init__(
        self,
        hosts: Hosts,
        proofs: ProofActivities,
        store: Store,
        delivery: PackageDelivery | None = None,
        settings: HostSettings | None = None,
        keys: Keys | None = None,
    ) -> None:
        """Use what acts on hosts.

        Args:
            hosts: opens shells.
            proofs: proves the result.
            store: receives an event of each attempt.
            delivery: brings packages to hosts that do not fetch them; None: they do.
            settings: what each host is told to manage, written where it differs; None: as it is.
            keys: returns the control plane's keys, one of which a host's settings are changed by.
        """
        self._hosts = hosts
        self._proofs = proofs
        self._store = store
        self._delivery = delivery
        self._settings = settings
        self._keys = keys

    @step(
        policies.SWAP,
        lambda i: f"{i.release.package}={i.release.version} on {i.machine.key}",
        lasting=True,
    )
    async def swap_release(self, input: SwapReleaseInput) -> ReleaseSwapped:
        """Install the release on the machine and prove it.

        The systemd unit that does this is named after the workflow run and the version: a later
        attempt finds and attaches to it, and other operations never do. Each attempt writes an
        event.
        """
        swapped, attempt = await self.swap(input)
        await self._record_attempt(input, attempt)
        return swapped

    @step(policies.STOP_SWAP, lambda i: f"{i.release.version} on {i.machine.key}", lasting=True)
    async def stop_swap(self, input: SwapReleaseInput) -> SwapStopped:
        """Stop the change that `swap_release` of this workflow run started. Absent is success.

        What dpkg had begun is finished, as far as the package's scripts end; the next swap repairs
        the rest.
        """
        return await self.stop(input.machine, input.release)

    async def stop(self, machine: Machine, release: Release) -> SwapStopped:
        """Stop the change to a release that this workflow run started on a machine."""
        unit = _unit_of(release)
        async with self._hosts.connect(machine) as shell:
            await transaction.stop(shell, unit)
        return SwapStopped(unit=unit)

    async def swap(self, input: SwapReleaseInput) -> tuple[ReleaseSwapped, dict[str, object]]:
        """Install the release on the machine and prove it.

        Returns:
            What was done; the detail of this attempt's event, which the caller writes. That of an
            attempt that fails is written here.

        Raises:
            RemoteError: it failed.
        """
        release, unit = input.release, _unit_of(input.release)
        change = Change(
            version=release.version,
            rollback=input.allow_downgrade,
            deb=deb_of(release, input.machine.architecture),
        )
        try:
            async with self._hosts.connect(input.machine) as shell:
                swapped = await self._swap(shell, unit, change, input)
        except RemoteError as error:
            fault = fault_of(error)
            await self._record_attempt(input, _attempt(unit, change, fault), fault)
            raise
        return swapped, _attempt(unit, change, swapped)

    async def _swap(
        self, shell: Shell, unit: str, change: Change, input: SwapReleaseInput
    ) -> ReleaseSwapped:
        service = self._proofs.service
        ring = self._keys() if self._keys is not None else None
        present = [each.host_key(input.machine.key) for each in ring.secrets] if ring else []
        if self._delivery is not None:
            if self._settings is not None:  # which say that the host takes what is brought
                await ensure(shell, self._settings, present)
            await self._delivery.bring(shell, change.deb)
        configurations = self._proofs.configurations
        wanted = await configurations.of(input.machine.key, input.release) if configurations else ()
        ended = await transaction.run_transaction(
            shell,
            unit,
            change,
            service,
            _heartbeat,
            self._settings,
            present,
            wanted[0] if wanted else None,
        )
        try:
            proof = await self._proofs.prove(shell, input.release, ended.observation)
        except RemoteError as error:
            if not error.retryable:
                await transaction.forget(shell, unit)
            raise
        await transaction.forget(shell, unit)
        return ReleaseSwapped(unit=unit, attached=ended.attached, took=ended.took, proof=proof)

    async def _record_attempt(
        self,
        input: SwapReleaseInput,
        attempt: dict[str, object],
        fault: Fault | None = None,
    ) -> None:
        await in_thread(
            self._store.events.append,
            SWAP_ATTEMPTED,
            current_attempt(input.origin),
            route_id=input.route_id,
            machine_key=input.machine.key,
            release_tag=input.release.tag,
            fault=fault,
            detail=attempt,
        )


def _attempt(unit: str, change: Change, seen: ReleaseSwapped | Fault) -> dict[str, object]:
    """Return the detail of the event of the running attempt: its command and its result."""
    return {
        "attempt": activity.info().attempt,
        "unit": unit,
        "ran": change.words(),
        "seen": seen.model_dump(mode="json"),
    }


def _unit_of(release: Release) -> str:
    """Return the unit of a swap to a release by the workflow run of the running activity.

    The same package with another configuration is another change.
    """
    run_id = activity.info().workflow_run_id
    version, revision = release.version, release.configuration
    named = f"{version} {revision}" if revision else version
    return transaction.unit_name(f"swap {release.package} {named} {run_id}")


def _heartbeat(state: TransactionState) -> None:
    activity.heartbeat(f"{state.phase}: {state.child}" if state.child else state.phase)


def deb_of(release: Release, architecture: str) -> DebFile | None:
    """Return the file that a host downloads or is brought; None if it uses apt.

    This is the one place where that is decided, for hot swaps and first boots. For apt, the
    location and the digest of the file are in the repository's index.

    Raises:
        ReleaseUnknownError: hosts do not use apt for this release, and it has no file for the
            architecture.
    """
    found = release.deb_file(architecture)
    if found is None and not all(deb_file.by_apt for deb_file in release.deb_files):
        raise ReleaseUnknownError(
            f"{release.package} {release.version} for {release.tag} is not available for "
            f"{architecture} in {release.source}: only for {', '.join(release.architectures)}"
        )
    return None if found is None or found.by_apt else found


def _heartbeat_observation(latest: Observation) -> None:
    activity.heartbeat(f"{latest.unit.active} ({latest.unit.sub})")
