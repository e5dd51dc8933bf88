"""A change rehearsed on a host: whether it could be made, without making it."""

from datetime import timedelta

from messages.faults import FaultClass
from remote import helper
from remote.apt_output import diagnose
from remote.errors import PackageError
from remote.helper import Change
from remote.shell import Shell

TIMEOUT = timedelta(minutes=2)
"""A repository that does not answer is given up by apt well before."""

HOSTS_OWN = FaultClass.HOST
"""The class of faults that say something about the host, and nothing about the release."""


async def rehearse(shell: Shell, change: Change, package: str) -> None:
    """See that a host finds a release, and that apt would install it.

    Raises:
        PackageError: it would not; the error says why.
        RemoteError: the host did not answer.
    """
    argv = helper.rehearse(change)
    ended = await shell.run(argv, timeout=TIMEOUT, check=False, sudo=True)
    if ended.exit_code == 0:
        return
    said = f"{ended.stdout}\n{ended.stderr}"
    diagnosis = diagnose(said, package)
    raise PackageError(
        diagnosis.kind,
        diagnosis.text,
        destination=shell.destination,
        attempted=f"rehearse {package} {change.version}",
        argv=ended.argv,
        exit_code=ended.exit_code,
        stderr=said,
    )
