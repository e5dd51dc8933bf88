"""The daemon's service on hosts, proven to run what is installed."""

from datetime import UTC, datetime

from temporalio import activity

from activities.daemon import Daemon
from activities.hosts import Hosts
from messages.package import ProveReleaseInput
from messages.proof import Proof
from messages.release import Release
from remote import proof, service
from remote.errors import ProbeFailedError
from remote.look import Look
from remote.probe import Probe
from remote.proof import Expected
from remote.shell import Shell


class ServiceActivities:
    """Each speaks to one host, and changes nothing there."""

    def __init__(self, hosts: Hosts, daemon: Daemon, probe: Probe) -> None:
        self._hosts = hosts
        self._daemon = daemon
        self._ask_health = probe

    @activity.defn
    async def prove_release(self, input: ProveReleaseInput) -> Proof:
        """Return what the machine was seen to run, over the stability window."""
        async with self._hosts.connect(input.machine) as shell:
            return await self.prove(shell, input.release)

    async def prove(self, shell: Shell, release: Release, seen: Look | None = None) -> Proof:
        """Return what a host was seen to run, over the stability window.

        Args:
            shell: on the host.
            release: what it should run.
            seen: how it stood, where somebody looked just now.

        Raises:
            RemoteError: it does not run that, or did not answer.
        """
        expected = self.expected(release)
        watched = await proof.watch(shell, expected, self._daemon.stability_window, _tell, seen)
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
            unit=self._daemon.unit,
            executable=self._daemon.executable,
        )

    async def _probe(self, shell: Shell) -> str:
        try:
            return await self._ask_health(shell.destination)
        except ProbeFailedError as error:
            error.journal = await service.journal(shell)
            raise


def _tell(seen: Look) -> None:
    activity.heartbeat(f"{seen.unit.active} ({seen.unit.sub})")
