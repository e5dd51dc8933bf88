"""Change of a host's SSH host key, by the program on the host."""

from datetime import timedelta

from relight.hosts import host_program
from relight.hosts.errors import HostKeyNotChangedError
from relight.hosts.keys import HostKey
from relight.hosts.shell import Shell

TIMEOUT = timedelta(seconds=90)
"""The program waits up to 30 s for another call of it, and some 10 s for sshd."""


async def change_host_key(shell: Shell, present: HostKey, new: HostKey) -> None:
    """Let a host show a new host key in later connections. Run twice, it changes nothing.

    The private keys go through the channel's standard input: they are in no argument, which other
    users of the host could read.

    Args:
        shell: on the host.
        present: the key that it has; the proof that the control plane asks.
        new: the key that it gets.

    Raises:
        HostKeyNotChangedError: it has the present one still.
        RemoteError: the call did not run, or its end is unknown.
    """
    argv = host_program.host_key()
    done = await shell.run(
        argv, stdin=present.private + new.private, timeout=TIMEOUT, check=False, sudo=True
    )
    if done.exit_code == 0:
        return
    lines = done.stderr.strip().splitlines()
    text = lines[-1] if lines else f"exit code {done.exit_code}"
    if done.exit_code == host_program.UNKNOWN_CALL_EXIT_CODE:
        text = "its relight-host is older than this command, so only another machine can help"
    raise HostKeyNotChangedError(
        text,
        destination=shell.destination,
        attempted="change its host key",
        argv=done.argv,
        exit_code=done.exit_code,
        stderr=done.stderr,
    )
