"""The daemon's service on hosts, proven to run what is installed."""

from datetime import UTC, datetime

from temporalio import activity

from activities import policies
from activities.service import Service
from relight.domain.proof import Proof, ProveReleaseInput
from relight.domain.release import Release
from relight.engine.step import step
from relight.hosts import observation, proof
from relight.hosts.connections import Hosts
from relight.hosts.errors import ProbeFailedError
from relight.hosts.observation import Observation
from relight.hosts.probe import Probe
from relight.hosts.proof import Expected
from relight.hosts.shell import Shell


class ProofActivities:
    """Each speaks to one host, and changes nothing there."""

    def __init__(self, hosts: Hosts, service: Service, probe: Probe) -> None:
        self._hosts = hosts
        self._service = service
        self._ask_health = probe

    @step(policies.PROVE, lambda i: f"{i.release.tag} on {i.machine.key}")
    async def prove_release(self, input: ProveReleaseInput) -> Proof:
        """Return what the machine was seen to run, over the stability window."""
        async with self._hosts.connect(input.machine) as shell:
            return await self.prove(shell, input.release)

    async def prove(self, shell: Shell, release: Release, seen: Observation | None = None) -> Proof:
        """Return what a host was seen to run, over the stability window.

        Args:
            shell: on the host.
            release: what it should run.
            seen: how it stood, where somebody looked just now.

        Raises:
            RemoteError: it does not run that, or did not answer.
        """
        expected = self.expected(release)
        watched = await proof.watch(shell, expected, self._service.stability_window, _tell, seen)
        probed = await self._probe(shell)
        return Proof(
            release_tag=release.tag,
            version=watched.look.package.version,
            executable=watched.look.running_file,
            invocation_id=watched.look.unit.invocation_id,
            restarts=watched.look.unit.restarts,
            stable_for=watched.stable_for,
            probe=probed,
            observed_at=datetime.now(UTC),
        )

    def expected(self, release: Release) -> Expected:
        """Return what a host that runs the release looks like."""
        return Expected(
            package=release.package,
            version=release.version,
            unit=self._service.unit,
            executable=self._service.executable,
        )

    async def _probe(self, shell: Shell) -> str:
        try:
            return await self._ask_health(shell.destination)
        except ProbeFailedError as error:
            error.journal = await observation.journal(shell)
            raise


def _tell(seen: Observation) -> None:
    activity.heartbeat(f"{seen.unit.active} ({seen.unit.sub})")
