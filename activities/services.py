"""The daemon's service on hosts: restarted onto what is installed, and proven to run it."""

from datetime import UTC, datetime

from temporalio import activity

from activities.daemon import Daemon
from activities.hosts import Hosts
from messages.package import ProveReleaseInput, RestartServiceInput, ServiceRestarted
from messages.proof import Proof
from messages.release import Release
from remote import proof, service
from remote.errors import ProbeFailedError
from remote.probe import Probe
from remote.proof import Expected, Look
from remote.shell import Shell


class ServiceActivities:
    """Each speaks to one host."""

    def __init__(self, hosts: Hosts, daemon: Daemon, probe: Probe) -> None:
        self._hosts = hosts
        self._daemon = daemon
        self._ask_health = probe

    @activity.defn
    async def restart_service(self, input: RestartServiceInput) -> ServiceRestarted:
        """Make the running process the installed one; one that is so already is left alone.

        So an attempt whose reply was lost costs the route no second outage.
        """
        expected = self._expected(input.release)
        async with self._hosts.connect(input.machine) as shell:
            seen = await proof.look(shell, expected)
            if proof.verdict(seen, None, expected) is None:
                return ServiceRestarted(invocation_id=seen.unit.invocation_id, was_running=True)
            after = await service.restart(shell, self._daemon.unit)
        return ServiceRestarted(invocation_id=after.invocation_id)

    @activity.defn
    async def prove_release(self, input: ProveReleaseInput) -> Proof:
        """Return what the machine was seen to run, over the stability window."""
        expected = self._expected(input.release)
        async with self._hosts.connect(input.machine) as shell:
            seen = await proof.watch(shell, expected, self._daemon.stability_window, _tell)
            probed = await self._probe(shell)
        return Proof(
            release_tag=input.release.tag,
            version=seen.look.package.version,
            executable=seen.look.running_file,
            invocation_id=seen.look.unit.invocation_id,
            restarts=seen.look.unit.restarts,
            stable_for=seen.stable_for,
            probe=probed,
            observed_at=datetime.now(UTC),
        )

    async def _probe(self, shell: Shell) -> str:
        try:
            return await self._ask_health(shell.destination)
        except ProbeFailedError as error:
            error.journal = await service.journal(shell, self._daemon.unit)
            raise

    def _expected(self, release: Release) -> Expected:
        return Expected(
            package=release.package,
            version=release.version,
            unit=self._daemon.unit,
            executable=self._daemon.executable,
        )


def _tell(seen: Look) -> None:
    activity.heartbeat(f"{seen.unit.active} ({seen.unit.sub})")
