"""A shell on a host over SSH: one connection, any number of commands.

The host must present its derived host key. The local user's SSH configuration, agent and known
hosts are not used. Commands are argv lists and are quoted in this module only. Raises only
`relight.hosts.errors`.

On an open connection an exec is cheap for the control plane, but every `sudo` costs the host, and
answers that are read together describe the same moment: so several questions are asked in one exec.
In an answer every line is indented by one blank. A line that is not indented ends the section: it
holds the question's name and exit code. So no answer can be mistaken for the end of itself or for
another answer, whatever it contains.

A host is not trusted. What it prints is read up to a limit, and then becomes visible text: whoever
uses an answer gets no control characters and nothing that is not UTF-8.
"""

import asyncio
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import asyncssh

from relight.domain.duration import span
from relight.domain.error_words import error_words
from relight.domain.text import visible
from relight.hosts.errors import (
    CommandFailedError,
    CommandTimeoutError,
    ConnectionLostError,
    Destination,
    HostMisbehavesError,
    HostProgramMissingError,
    LoginRefusedError,
    RemoteError,
    SudoRefusedError,
    on_host,
)
from relight.hosts.metering import Meter
from relight.hosts.questions import Section, parse_sections, questions_command

MAX_OUTPUT_BYTES = 1024 * 1024
"""What a command may print, standard output and error together. Most print less than 4 KiB."""

SUDO = ("env", "LC_ALL=C", "sudo", "-n", "--")
"""Prefix of a command that runs as root. It never asks for a password. A host's login may set
another language, also by LANGUAGE, which counts in every locale but C."""

_MISSING = re.compile(r"^sudo(?:-rs)?: \S+: command not found$", re.MULTILINE)

# Each line means that the command did not run. sudo also complains about a host name that it
# cannot resolve, but then runs the command.
_REFUSES = re.compile(
    # env prints this, in the host's language, if there is no sudo or the user may not execute it.
    r"^(?:env: \S*sudo\S*: "
    r"|sudo(?:-rs)?: (?:a password is required|a terminal is required|no valid sudoers sources"
    r"|account validation failure|effective uid is not 0|.* must be owned by uid 0"
    r"|sorry, you must have a tty|interactive authentication is required"
    r"|(?:authentication failed: )?I'm sorry )"
    r"|\S+ is not in the sudoers file|Sorry, user \S+ (?:is not allowed to|may not run) "
    r"|\S+ is not allowed to run sudo on).*$",
    re.MULTILINE,
)

# By this sudo ends, whatever its version says. It prints the other line and runs the command.
_SUDO_ENDS = re.compile(r"sudo(?:-rs)?: (?!unable to resolve host ).*")

# Of sshd, instead of running the command.
_MUST_CHANGE = "Password change required but no TTY available."

# Of nologin, which runs in place of the user's shell.
_NO_LOGIN = "This account is currently not available."

SIGNALS = 65
"""One more than the last signal of Linux. No command here exits with 128 + a signal."""


@dataclass(frozen=True)
class Completed:
    """A command that ended.

    Attributes:
        argv: as it ran, including `sudo`.
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
        """The host."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | bytes | None = None,
        timeout: timedelta,
        check: bool = True,
        sudo: bool = False,
    ) -> Completed:
        """Run one command and return its result.

        Args:
            argv: the command and its arguments, unquoted.
            stdin: its standard input; empty by default.
            timeout: how long it may take.
            check: whether an exit code other than 0 is an error.
            sudo: whether it runs as root.

        Raises:
            CommandFailedError: with `check`, it did not exit with 0.
            SudoRefusedError: sudo refused, and the command did not run.
            LoginRefusedError: the user's password has expired, and the command did not run.
            HostProgramMissingError: with `sudo`, there is no such command.
            CommandTimeoutError: it did not end in time; it may still run.
            HostMisbehavesError: it printed more than `MAX_OUTPUT_BYTES`; it may still run.
            ConnectionLostError: the connection broke, or with `sudo` the call was killed; it may
                still run.
        """

    async def ask(
        self, questions: Mapping[str, Sequence[str]], *, timeout: timedelta, sudo: bool = False
    ) -> dict[str, Section]:
        """Run several commands in one exec and return all answers, whatever their exit codes.

        Args:
            questions: the commands by name.
            timeout: for all of them together.
            sudo: whether they run as root.

        Raises:
            UnreadableAnswerError: an answer is missing.
            RemoteError: as `run`.
        """


class _Output(asyncssh.SSHClientSession[bytes]):
    """What a command prints, up to the limit.

    Attributes:
        stdout: its standard output.
        stderr: its standard error.
        exceeded: whether it printed more.
        error: why the connection broke; None if the command ended.
        ended: is set at the end, and as soon as the limit is exceeded.
    """

    def __init__(self) -> None:
        self.stdout, self.stderr = bytearray(), bytearray()
        self.exceeded = False
        self.error: Exception | None = None
        self.ended = asyncio.Event()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if len(self.stdout) + len(self.stderr) + len(data) > MAX_OUTPUT_BYTES:
            self.exceeded = True
            self.ended.set()
        else:
            (self.stdout if datatype is None else self.stderr).extend(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc
        self.ended.set()


class SshShell:
    """A `Shell` on an open SSH connection."""

    def __init__(
        self, connection: asyncssh.SSHClientConnection, destination: Destination, meter: Meter
    ) -> None:
        self._connection = connection
        self._destination = destination
        self._meter = meter

    @property
    def destination(self) -> Destination:
        """The host."""
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
        """Run one command, as described in `Shell.run`."""
        argv = (*SUDO, *argv) if sudo else tuple(argv)
        attempted = f"run {argv[len(SUDO)] if sudo else argv[0]}"
        self._meter.allow(attempted)
        output = _Output()
        # No pty: no program may prompt, and a lost connection must not send SIGHUP.
        opening = asyncio.ensure_future(
            self._connection.create_session(
                lambda: output, shlex.join(argv), encoding=None, request_pty=False
            )
        )
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                # Shielded: asyncssh would forget the channel, and the host would keep it.
                channel, _ = await asyncio.shield(opening)
                if stdin:
                    # A command that ends before it reads its input says why by its exit status.
                    with suppress(BrokenPipeError):
                        channel.write(stdin.encode() if isinstance(stdin, str) else stdin)
                channel.write_eof()
                await output.ended.wait()
        except TimeoutError as error:
            raise CommandTimeoutError(
                f"it did not end within {span(timeout)}",
                destination=self._destination,
                attempted=attempted,
                argv=argv,
            ) from error
        except (asyncssh.Error, OSError) as error:
            raise self._lost(error_words(error), attempted, argv) from error
        finally:
            opening.add_done_callback(_close)
        if output.exceeded:
            self._connection.abort()  # what is already on its way is not received
            raise self._misbehaves(
                f"it printed more than {MAX_OUTPUT_BYTES} bytes; the rest was not read",
                attempted,
                argv,
                output,
            )
        returncode = channel.get_returncode()
        if output.error is not None or returncode is None:
            # Neither an exit status nor a signal was received.
            text = error_words(output.error) if output.error else "the connection broke"
            raise self._lost(text, attempted, argv)
        completed = Completed(argv, returncode, _text(output.stdout), _text(output.stderr))
        if sudo and completed.exit_code:
            raise_if_not_run(completed, self._destination, attempted)
        if check and completed.exit_code != 0:
            raise command_failed(completed, self._destination, attempted)
        return completed

    async def ask(
        self, questions: Mapping[str, Sequence[str]], *, timeout: timedelta, sudo: bool = False
    ) -> dict[str, Section]:
        """Run several commands in one exec, as described in `Shell.ask`."""
        answer = await self.run(questions_command(questions), timeout=timeout, sudo=sudo)
        with on_host(self._destination):
            return parse_sections(answer.stdout, list(questions))

    def _lost(self, text: str, attempted: str, argv: Sequence[str]) -> RemoteError:
        """Return the error of a connection that broke, or that the meter closed."""
        exceeded = self._meter.exceeded
        if exceeded is not None:
            return self._misbehaves(exceeded.text, attempted, argv)
        return ConnectionLostError(
            text, destination=self._destination, attempted=attempted, argv=argv
        )

    def _misbehaves(
        self, text: str, attempted: str, argv: Sequence[str], output: _Output | None = None
    ) -> HostMisbehavesError:
        return HostMisbehavesError(
            text,
            destination=self._destination,
            attempted=attempted,
            argv=argv,
            stderr=_text(output.stderr or output.stdout) if output else "",
        )


def _close(
    opening: asyncio.Task[tuple[asyncssh.SSHClientChannel[Any], asyncssh.SSHClientSession[Any]]],
) -> None:
    """Close a channel that was opened, so that a command that still runs is not read any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].close()


def raise_if_not_run(completed: Completed, destination: Destination, attempted: str) -> None:
    """Raise if sudo failed and not the command, or if the call was killed.

    Raises:
        SudoRefusedError: the command may not run as root.
        LoginRefusedError: sshd admits the user only to change the password, or its shell admits
            nobody.
        HostProgramMissingError: there is no such command.
        ConnectionLostError: the call was killed; what it started may go on.
    """
    kind: type[RemoteError] = SudoRefusedError
    text = sudo_refusal(completed.stderr)
    for refusal in (_MUST_CHANGE, _NO_LOGIN):
        if text is None and refusal in completed.stdout + completed.stderr:
            kind, text = LoginRefusedError, refusal
    if text is None and (missing := missing_command(completed.stderr)):
        kind, text = HostProgramMissingError, missing
    if text is None and completed.exit_code == 1 and not completed.stdout:
        last = completed.stderr.strip().rpartition("\n")[2]
        text = last if _SUDO_ENDS.fullmatch(last) else None
    if text is None and (signal := _killed_by(completed.exit_code)):
        # The host shuts down, or is out of memory: this says nothing about the command.
        kind, text = ConnectionLostError, f"the call was killed by signal {signal}"
    if text is not None:
        raise kind(
            text,
            destination=destination,
            attempted=attempted,
            argv=completed.argv,
            exit_code=completed.exit_code,
            stderr=completed.stderr,
        )


def _killed_by(exit_code: int) -> int:
    """Return the signal that killed a call, 0 if none did; shells exit with 128 + signal."""
    if exit_code < 0:
        return -exit_code
    return exit_code - 128 if 128 < exit_code < 128 + SIGNALS else 0


def command_failed(
    completed: Completed, destination: Destination, attempted: str
) -> CommandFailedError:
    """Return the error of a command that failed."""
    code = completed.exit_code
    how = f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
    lines = (completed.stderr or completed.stdout).strip().splitlines()
    return CommandFailedError(
        f"{how}: {lines[-1]}" if lines else how,
        destination=destination,
        attempted=attempted,
        argv=completed.argv,
        exit_code=code,
        stderr=completed.stderr or completed.stdout,
    )


def _text(output: bytearray) -> str:
    return visible(output.decode(errors="backslashreplace"))


def sudo_refusal(stderr: str) -> str | None:
    """Return the line by which sudo refused to run a command; None if it did not refuse."""
    found = _REFUSES.search(stderr)
    return found.group().strip() if found else None


def missing_command(stderr: str) -> str | None:
    """Return the line by which sudo reports that the command does not exist, else None."""
    found = _MISSING.search(stderr)
    return found.group() if found else None
