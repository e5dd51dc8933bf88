"""A shell on a host, over SSH: one connection, any number of commands."""

import asyncio
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import asyncssh

from relight.hosts import commands
from relight.hosts.commands import (
    SUDO,
    Section,
    missing,
    refusal,
)
from relight.hosts.errors import (
    CommandFailedError,
    CommandTimeoutError,
    ConnectionLostError,
    Destination,
    HostKeyMismatchError,
    HostNotReadyError,
    HostProgramMissingError,
    HostUnreachableError,
    LoginRefusedError,
    RemoteError,
    SudoRefusedError,
)

KEEPALIVE = timedelta(seconds=5)
"""How often a silent link is asked whether it is there; it is given up after three silences."""

SIGNALS = 65
"""One more than Linux's last; nothing that is called as root uses exit codes of that height."""

# The first of each that Debian and Ubuntu still in support offer. OpenSSH's default post-quantum
# exchange costs 59 of a connection's 69 ms of CPU.
_EXCHANGES = (
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
)
_CIPHERS = ("aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr")
_HOST_KEY_ALGORITHMS = ("ssh-ed25519",)

# What pam_nologin says, with systemd's own words in /run/nologin, before it turns one away.
_NOT_READY = ("System is booting up", "System is going down", "not permitted to log in yet")


@dataclass(frozen=True)
class Completed:
    """A command that ended.

    Attributes:
        argv: as it ran, `sudo` included.
        exit_code: negative for the signal that killed it, as in Python's subprocess.
    """

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str


class Shell(Protocol):
    """Runs commands on one host."""

    @property
    def destination(self) -> Destination:
        """Which host that is."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | bytes | None = None,
        timeout: timedelta,
        check: bool = True,
        sudo: bool = False,
    ) -> Completed:
        """Run one command and return how it ended.

        Args:
            argv: the command and its arguments, unquoted.
            stdin: what it reads; without it its input is empty.
            timeout: how long it may take.
            check: whether another exit code than 0 is an error.
            sudo: whether it runs as root.

        Raises:
            CommandFailedError: with `check`, it did not exit with 0.
            SudoRefusedError: it may not run as root, and did not run.
            HostProgramMissingError: with `sudo`, there is no such command.
            CommandTimeoutError: it did not end in time; it may still run.
            ConnectionLostError: the link broke, or with `sudo` the call was killed; it may still
                run.
        """

    async def ask(
        self, questions: Mapping[str, Sequence[str]], *, timeout: timedelta, sudo: bool = False
    ) -> dict[str, Section]:
        """Run several commands in one exec and return each one's answer, whatever its exit code.

        Args:
            questions: the commands by name.
            timeout: how long all of them may take.
            sudo: whether they run as root.

        Raises:
            UnreadableAnswerError: a command was not answered.
            RemoteError: as `run` does.
        """


class SshShell:
    """A `Shell` on an open SSH connection."""

    def __init__(self, connection: asyncssh.SSHClientConnection, destination: Destination) -> None:
        self._connection = connection
        self._destination = destination

    @property
    def destination(self) -> Destination:
        """Which host this is."""
        return self._destination

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | bytes | None = None,
        timeout: timedelta,
        check: bool = True,
        sudo: bool = False,
    ) -> Completed:
        """Run one command and return how it ended, as `Shell.run` says."""
        argv = (*SUDO, *argv) if sudo else tuple(argv)
        attempted = f"run {argv[len(SUDO)] if sudo else argv[0]}"
        given = stdin.encode() if isinstance(stdin, str) else stdin
        process: asyncssh.SSHClientProcess[bytes] | None = None
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                # No pty: nothing may ask a question, and a lost link must not hang anybody up.
                process = await self._connection.create_process(
                    shlex.join(argv),
                    input=given,
                    # asyncssh leaves an input that is empty open: whoever reads it would wait.
                    stdin=asyncssh.PIPE if given else asyncssh.DEVNULL,
                    encoding=None,
                    request_pty=False,
                )
                ended = await process.wait()
        except TimeoutError as error:
            raise CommandTimeoutError(
                f"no end after {timeout.total_seconds():g} s",
                destination=self._destination,
                attempted=attempted,
                argv=argv,
            ) from error
        except (asyncssh.Error, OSError) as error:
            raise self._lost(str(error), attempted, argv) from error
        finally:
            if process is not None:
                process.close()  # of a command that goes on nobody hears any more
        if ended.returncode is None:
            # Neither an exit status nor a signal came: the link broke under the command.
            raise self._lost("the connection broke", attempted, argv)
        completed = Completed(argv, ended.returncode, _text(ended.stdout), _text(ended.stderr))
        if sudo and completed.exit_code:
            raise_if_not_run(completed, self._destination, attempted)
        if check and completed.exit_code != 0:
            raise command_failed(completed, self._destination, attempted)
        return completed

    async def ask(
        self, questions: Mapping[str, Sequence[str]], *, timeout: timedelta, sudo: bool = False
    ) -> dict[str, Section]:
        """Run several commands in one exec, as `Shell.ask` says."""
        answer = await self.run(commands.ask(questions), timeout=timeout, sudo=sudo)
        return commands.parse(answer.stdout, list(questions))

    def _lost(self, text: str, attempted: str, argv: Sequence[str]) -> ConnectionLostError:
        return ConnectionLostError(
            text, destination=self._destination, attempted=attempted, argv=argv
        )


def raise_if_not_run(completed: Completed, destination: Destination, attempted: str) -> None:
    """Raise where it was sudo that failed, and not the command, or somebody who killed the call.

    Raises:
        SudoRefusedError: it may not run as root.
        HostProgramMissingError: there is no such command.
        ConnectionLostError: it was killed; what it began may go on.
    """
    kind: type[RemoteError] = SudoRefusedError
    said = refusal(completed.stderr)
    if said is None:
        kind, said = HostProgramMissingError, missing(completed.stderr)
    if said is None and (signal := _killed_by(completed.exit_code)):
        # As by a host that goes down, or one out of memory: it says nothing of what was asked.
        kind, said = ConnectionLostError, f"the call was killed by signal {signal}"
    if said is not None:
        raise kind(
            said,
            destination=destination,
            attempted=attempted,
            argv=completed.argv,
            exit_code=completed.exit_code,
            stderr=completed.stderr,
        )


def _killed_by(exit_code: int) -> int:
    """Return the signal that a call ended by, as the user's shell, which outlives it, tells it."""
    if exit_code < 0:
        return -exit_code
    return exit_code - 128 if 128 < exit_code < 128 + SIGNALS else 0


def command_failed(
    completed: Completed, destination: Destination, attempted: str
) -> CommandFailedError:
    """Return the error that a command's end amounts to."""
    code = completed.exit_code
    how = f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
    said = (completed.stderr or completed.stdout).strip().splitlines()
    return CommandFailedError(
        f"{how}: {said[-1]}" if said else how,
        destination=destination,
        attempted=attempted,
        argv=completed.argv,
        exit_code=code,
        stderr=completed.stderr or completed.stdout,
    )


@asynccontextmanager
async def connect(
    destination: Destination,
    client_key: asyncssh.SSHKey,
    host_key_public: str,
    timeout: timedelta,
) -> AsyncIterator[SshShell]:
    """Open a shell on a host that shows exactly this host key.

    Args:
        destination: where it is, and as whom to log in.
        client_key: what the control plane logs in with.
        host_key_public: the public key line that was derived for the machine.
        timeout: for one attempt, from the first packet to the login.

    Raises:
        HostUnreachableError: no connection came about.
        HostKeyMismatchError: another machine answers, or one that was not set up by us.
        LoginRefusedError: it does not let us in.
        HostNotReadyError: it lets nobody in yet.
    """
    client = _Client()
    try:
        # connect_timeout and login_timeout of asyncssh cover parts; this covers the whole.
        async with asyncio.timeout(timeout.total_seconds()):
            connection = await asyncssh.connect(
                destination.address,
                destination.port,
                client_factory=lambda: client,
                username=destination.user,
                client_keys=[client_key],
                known_hosts=([asyncssh.import_public_key(host_key_public)], [], []),
                server_host_key_algs=list(_HOST_KEY_ALGORITHMS),
                config=None,
                agent_path=None,
                preferred_auth="publickey",
                kex_algs=list(_EXCHANGES),
                encryption_algs=list(_CIPHERS),
                compression_algs=None,
                keepalive_interval=KEEPALIVE.total_seconds(),
                keepalive_count_max=3,
            )
    except TimeoutError as error:
        raise HostUnreachableError(
            f"no SSH login after {timeout.total_seconds():g} s",
            destination=destination,
            attempted="connect",
        ) from error
    except (asyncssh.Error, OSError) as error:
        raise _refusal(error, client.banner, destination) from error
    async with connection:
        yield SshShell(connection, destination)


class _Client(asyncssh.SSHClient):
    """Listens to what the server says before it lets one in or turns one away."""

    def __init__(self) -> None:
        self.banner = ""

    def auth_banner_received(self, msg: str, lang: str) -> None:  # noqa: ARG002
        self.banner += msg


def _refusal(error: Exception, banner: str, destination: Destination) -> RemoteError:
    """Return what it means that `error` came instead of a connection."""
    text = f"{error}".strip() or type(error).__name__
    kind: type[RemoteError] = HostUnreachableError
    if any(words in banner or words in text for words in _NOT_READY):
        kind, text = HostNotReadyError, banner.strip() or text
    elif isinstance(error, asyncssh.HostKeyNotVerifiable):
        kind = HostKeyMismatchError
        text = f"it shows another host key than the one derived for it ({text})"
    elif isinstance(error, asyncssh.KeyExchangeFailed) and "host key" in text:
        kind = HostKeyMismatchError
        text = f"it has no host key of the derived one's type ({text})"
    elif isinstance(error, asyncssh.PermissionDenied):
        kind = LoginRefusedError
    return kind(text, destination=destination, attempted="connect")


def _text(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else (output or "")


# MERGEDOC """A shell on a host, over SSH: one connection, any number of commands.
#
# The host must show the key that was derived for it; nothing of the local user's SSH set-up (known
# hosts, agent, configuration) takes part. Commands are argv lists and are quoted here, in this one
# place. Raises `relight.hosts.errors` alone.
# """
