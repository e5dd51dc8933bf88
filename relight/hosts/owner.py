"""Calls of the host program that only a host's owner may make.

What they bring can run any program as root there. So the host asks for its own host key as a proof,
which a stolen client key does not have. All goes through standard input.
"""

from collections.abc import Sequence
from datetime import timedelta

from relight.hosts import host_program
from relight.hosts.errors import HostSettingsNotChangedError
from relight.hosts.keys import HostKey
from relight.hosts.shell import Shell

TIMEOUT = timedelta(seconds=60)
"""The program waits up to 30 s for another call of it."""


async def call_as_owner(
    shell: Shell, argv: list[str], lines: str, present: Sequence[HostKey], attempted: str
) -> HostKey:
    """Make a call with a host key and lines, and return the host key that the host has.

    Args:
        shell: on the host.
        argv: the call.
        lines: what it reads after the host key.
        present: the host keys that the host may have, one at least, during a rotation two.
        attempted: what the call is for, for the error.

    Raises:
        HostSettingsNotChangedError: the host refuses it.
        RemoteError: the call did not run, or its end is unknown.
    """
    for key in present:
        stdin = key.private + lines
        done = await shell.run(argv, stdin=stdin, timeout=TIMEOUT, check=False, sudo=True)
        if done.exit_code == 0:
            return key
        if done.exit_code != host_program.REFUSED_KEY_EXIT_CODE:
            break
    said = done.stderr.strip().splitlines()
    raise HostSettingsNotChangedError(
        said[-1] if said else f"exit code {done.exit_code}",
        destination=shell.destination,
        attempted=attempted,
        argv=done.argv,
        exit_code=done.exit_code,
        stderr=done.stderr,
    )
