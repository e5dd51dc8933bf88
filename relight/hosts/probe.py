"""The service's health probe, sent from the control plane to the host's public address.

A probe is an HTTP request, a TCP connection, or a program of the operator's. Failures are raised
as `ProbeFailedError` or `ProbeNotRunnableError`. A service that answers nobody has no probe: its
proof is that of its processes alone, and says so.
"""

import asyncio
import contextlib
import errno
import shlex
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol
from urllib.parse import quote

from relight.domain.duration import span
from relight.domain.error_words import error_words
from relight.domain.text import visible, visible_line
from relight.hosts.errors import (
    Destination,
    NotListeningError,
    ProbeFailedError,
    ProbeNotRunnableError,
)
from relight.hosts.http_get import Answer, BadAnswerError, get
from relight.hosts.local_program import RETRY_EXIT_CODE, run_program

RETRY_INTERVAL = timedelta(milliseconds=200)

ANSWER_CHARACTERS = 300
"""How much of an HTTP answer an error contains."""

ANSWER_BYTES = 4 * ANSWER_CHARACTERS
"""How much of it is read: a character of UTF-8 has at most 4 bytes."""

_REDIRECTS = (301, 302, 303, 307, 308)

_UNQUOTED = "/?%:@!$&'()*+,;=~"
"""What stays as it is in the path of a request."""


class Probe(Protocol):
    """Checks whether the service on a host is healthy."""

    async def __call__(self, destination: Destination) -> str:
        """Return the request and its answer, in one line.

        Raises:
            ProbeFailedError: there was no answer, or not that of a healthy service.
        """


@dataclass(frozen=True)
class PatientProbe:
    """Repeats a probe while nothing listens on the port. Any other answer is final.

    systemd reports most services as running before they have opened their port.

    Attributes:
        probe: the probe to repeat.
        patience: how long to repeat it; zero probes once.
    """

    probe: Probe
    patience: timedelta

    async def __call__(self, destination: Destination) -> str:
        """Probe until something listens."""
        now = asyncio.get_running_loop().time
        end = now() + self.patience.total_seconds()
        pause = RETRY_INTERVAL.total_seconds()
        while True:
            try:
                return await self.probe(destination)
            except NotListeningError as error:
                if now() + pause > end:
                    if self.patience:
                        error.text += f", for {span(self.patience)}"
                    raise
            await asyncio.sleep(pause)


@dataclass(frozen=True)
class HttpProbe:
    """Sends a GET request. The service is healthy if it answers with a 2xx status.

    Attributes:
        port: of the service.
        path: of the request.
        timeout: for the whole answer.
    """

    port: int
    path: str
    timeout: timedelta

    async def __call__(self, destination: Destination) -> str:
        """Send the request."""
        host, target = _endpoint(destination.address, self.port), quote(self.path, safe=_UNQUOTED)
        request = f"GET http://{host}{target}"
        try:
            async with asyncio.timeout(self.timeout.total_seconds()):
                answer = await get(destination.address, self.port, host, target, ANSWER_BYTES)
        except TimeoutError as error:
            raise ProbeFailedError(
                f"no answer after {span(self.timeout)}", destination=destination, attempted=request
            ) from error
        except (OSError, BadAnswerError) as error:
            raise _not_connected(error, destination, request) from error
        if not 200 <= answer.status < 300:
            raise ProbeFailedError(
                f"{answer.status} {_shown(answer)}".rstrip(),
                destination=destination,
                attempted=request,
            )
        return f"{request}: {answer.status}"


@dataclass(frozen=True)
class TcpProbe:
    """Opens a TCP connection. The service is healthy if it accepts; nothing is sent.

    Attributes:
        port: of the service.
        timeout: for the connection.
    """

    port: int
    timeout: timedelta

    async def __call__(self, destination: Destination) -> str:
        """Connect and close."""
        request = f"connect to {_endpoint(destination.address, self.port)}"
        limit = self.timeout.total_seconds()
        try:
            async with asyncio.timeout(limit):
                _, writer = await asyncio.open_connection(destination.address, self.port)
        except TimeoutError as error:
            raise ProbeFailedError(
                f"no connection after {span(self.timeout)}",
                destination=destination,
                attempted=request,
            ) from error
        except OSError as error:
            raise _not_connected(error, destination, request) from error
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return f"{request}: connected"


@dataclass(frozen=True)
class CommandProbe:
    """Runs a program on the control plane's machine. Exit code 0 means healthy.

    Exit code 75 means that nothing listens yet, and that the probe may be repeated.

    Attributes:
        argv: the program and its arguments, without a shell.
        timeout: how long it may run; then it is killed with all its children.
    """

    argv: tuple[str, ...]
    timeout: timedelta

    async def __call__(self, destination: Destination) -> str:
        """Run the program."""
        variables = {
            "RELIGHT_PROBE_ADDRESS": destination.address,
            "RELIGHT_PROBE_MACHINE": destination.machine_key,
        }
        command = shlex.join(self.argv)
        try:
            ended = await run_program(self.argv, variables, self.timeout)
        except OSError as error:
            raise ProbeNotRunnableError(
                f"it cannot be run: {error_words(error)}",
                destination=destination,
                attempted=command,
                argv=self.argv,
            ) from error
        if ended.exit_code != 0:
            retry = ended.exit_code == RETRY_EXIT_CODE
            kind = NotListeningError if retry else ProbeFailedError
            raise kind(
                ended.text,
                destination=destination,
                attempted=command,
                argv=self.argv,
                exit_code=ended.exit_code,
            )
        return f"{command}: exit code 0"


@dataclass(frozen=True)
class NoProbe:
    """Asks nothing of the service."""

    async def __call__(self, destination: Destination) -> str:
        """Return that nothing was asked."""
        del destination
        return "no probe: proven by its processes alone"


def probe_of(
    kind: Literal["http", "tcp", "command", "none"],
    *,
    port: int,
    path: str,
    command: tuple[str, ...],
    timeout: timedelta,
    patience: timedelta,
) -> PatientProbe:
    """Return the configured probe.

    Args:
        kind: of the probe.
        port: for `http` and `tcp`.
        path: for `http`.
        command: for `command`.
        timeout: for one attempt.
        patience: how long to repeat it while nothing listens.
    """
    probe: Probe
    match kind:
        case "http":
            probe = HttpProbe(port, path, timeout)
        case "tcp":
            probe = TcpProbe(port, timeout)
        case "command":
            probe = CommandProbe(command, timeout)
        case "none":
            probe = NoProbe()
    return PatientProbe(probe, patience)


def _shown(answer: Answer) -> str:
    """Return the start of the body in one line; for a redirect, its target instead."""
    target = answer.headers.get(b"location")
    if target is not None and answer.status in _REDIRECTS:
        return f"to {visible_line(target.decode(errors='backslashreplace'))[:ANSWER_CHARACTERS]}"
    # Neither decompressed nor decoded as the host says: both make any number of bytes of one.
    text = " ".join(answer.body.decode(errors="backslashreplace").split())
    return visible(text)[:ANSWER_CHARACTERS]


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _not_connected(error: Exception, destination: Destination, request: str) -> ProbeFailedError:
    """Return the error of a connection that failed.

    Its text is the operating system's, such as `connection refused`, or that of the bad answer.

    Args:
        error: from the connection or the answer.
        destination: the host.
        request: the probe's request in words.

    Returns:
        A `NotListeningError` if the connection was refused, else a `ProbeFailedError`.
    """
    refused = False
    cause: BaseException | None = error
    while cause is not None:
        refused = refused or (isinstance(cause, OSError) and cause.errno == errno.ECONNREFUSED)
        cause = cause.__cause__ or cause.__context__
    kind = NotListeningError if refused else ProbeFailedError
    return kind(error_words(error), destination=destination, attempted=request)
