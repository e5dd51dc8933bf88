"""Packages on hosts, changed by apt in a transaction that outlives the link to it."""

from temporalio import activity

from activities.deb_files import deb_of
from activities.hosts import Hosts
from messages.package import InstallReleaseInput, ReleaseInstalled
from remote import apt, transaction
from remote.transaction import TransactionState


class PackageActivities:
    """The host does the work in a unit of its own; this waits for it."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts

    @activity.defn
    async def install_release(self, input: InstallReleaseInput) -> ReleaseInstalled:
        """Install the release's exact version; attach to it where an attempt began it already.

        The unit is named after the workflow's run and the version: every attempt finds the same
        one, and another operation never does.
        """
        release = input.release
        unit = transaction.unit_name(
            f"install {release.package} {release.version} {activity.info().workflow_run_id}"
        )
        argv = apt.install_transaction(
            unit,
            release.package,
            release.version,
            allow_downgrade=input.allow_downgrade,
            deb=deb_of(release, input.machine.architecture),
        )
        async with self._hosts.connect(input.machine) as shell:
            ended = await transaction.run_to_end(shell, unit, argv, release.package, _tell)
        return ReleaseInstalled(unit=unit, attached=ended.attached, took=ended.took)


def _tell(state: TransactionState) -> None:
    activity.heartbeat(state.phase)
