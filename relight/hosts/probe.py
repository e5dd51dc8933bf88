"""What is said of a connection that a probe did not get."""

import asyncio
import contextlib
import errno
import os
import shlex
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol

import httpx

from relight.hosts.errors import (
    Destination,
    NobodyListensError,
    ProbeFailedError,
    ProbeNotRunnableError,
)
from relight.hosts.local_program import NOT_YET, run_program


def not_connected(error: Exception, destination: Destination, asked: str) -> ProbeFailedError:
    """Return what a probe raises for a connection that failed.

    Args:
        error: as asyncio or httpx raised it.
        destination: the host that was asked.
        asked: what it was asked, in the probe's words.

    Returns:
        The failure in the system's own words, such as `Connection refused`: httpx says less than
        those. It is a `NobodyListensError` where they are just these.
    """
    words, refused = str(error) or type(error).__name__, False
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            words = str(cause.strerror)
        elif isinstance(cause, OSError) and cause.errno:
            words = os.strerror(cause.errno)  # asyncio writes its own over it
            refused = cause.errno == errno.ECONNREFUSED
        cause = cause.__cause__ or cause.__context__
    kind = NobodyListensError if refused else ProbeFailedError
    return kind(words, destination=destination, attempted=asked)


ANSWER_CHARACTERS = 300


@dataclass(frozen=True)
class HttpProbe:
    """A daemon is healthy that answers a GET with a 2xx.

    Attributes:
        port: where it listens.
        path: what is asked for.
        timeout: how long the answer may take.
    """

    port: int
    path: str
    timeout: timedelta

    async def __call__(self, destination: Destination) -> str:
        """Ask over HTTP."""
        url = httpx.URL(scheme="http", host=destination.address, port=self.port, path=self.path)
        asked = f"GET {url}"
        limit = self.timeout.total_seconds()
        try:
            # httpx's own limit is one on each read: an answer that trickles would never end.
            async with asyncio.timeout(limit):
                status, said = await _get(url, limit)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise ProbeFailedError(
                f"no answer after {limit:g} s", destination=destination, attempted=asked
            ) from error
        except httpx.RequestError as error:
            raise not_connected(error, destination, asked) from error
        if not httpx.codes.is_success(status):
            raise ProbeFailedError(
                f"{status} {said}".rstrip(), destination=destination, attempted=asked
            )
        return f"{asked}: {status}"


async def _get(url: httpx.URL, limit: float) -> tuple[int, str]:
    """Return the status of the answer, and its first words, where it redirects its target's."""
    # Not by any proxy of this computer's: the route itself has to answer.
    async with (
        # Nor with TLS, whose certificates it would read anew for each route.
        httpx.AsyncClient(timeout=limit, trust_env=False, verify=False) as http,  # noqa: S501
        http.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer,
    ):
        if answer.has_redirect_location:
            return answer.status_code, f"to {answer.headers['Location']}"
        text = ""
        async for part in answer.aiter_text(ANSWER_CHARACTERS):
            text += part
            if len(text) >= ANSWER_CHARACTERS:
                break
    return answer.status_code, " ".join(text[:ANSWER_CHARACTERS].split())


@dataclass(frozen=True)
class TcpProbe:
    """A daemon is healthy that lets one connect; nothing is said to it.

    Attributes:
        port: where it listens.
        timeout: how long the connection may take.
    """

    port: int
    timeout: timedelta

    async def __call__(self, destination: Destination) -> str:
        """Connect, and hang up."""
        asked = f"connect to {_place(destination.address, self.port)}"
        limit = self.timeout.total_seconds()
        try:
            async with asyncio.timeout(limit):
                _, writer = await asyncio.open_connection(destination.address, self.port)
        except TimeoutError as error:
            raise ProbeFailedError(
                f"no connection after {limit:g} s", destination=destination, attempted=asked
            ) from error
        except OSError as error:
            raise not_connected(error, destination, asked) from error
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return f"{asked}: connected"


def _place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@dataclass(frozen=True)
class CommandProbe:
    """A daemon is healthy of which a program on this computer says so, by exit code 0.

    By exit code 75 it says that nobody listens yet, and that it may be asked again.

    Attributes:
        argv: the program and its arguments; no shell reads them.
        timeout: how long it may take; then it is killed, with all that it started.
    """

    argv: tuple[str, ...]
    timeout: timedelta

    async def __call__(self, destination: Destination) -> str:
        """Run the program."""
        told = {
            "RELIGHT_PROBE_ADDRESS": destination.address,
            "RELIGHT_PROBE_MACHINE": destination.machine_key,
        }
        try:
            ended = await run_program(self.argv, told, self.timeout)
        except OSError as error:
            raise ProbeNotRunnableError(
                f"it cannot be run: {error.strerror or error}",
                destination=destination,
                attempted=shlex.join(self.argv),
                argv=self.argv,
            ) from error
        if ended.code != 0:
            kind = NobodyListensError if ended.code == NOT_YET else ProbeFailedError
            raise kind(
                ended.text,
                destination=destination,
                attempted=shlex.join(self.argv),
                argv=self.argv,
                exit_code=ended.code,
            )
        return f"{shlex.join(self.argv)}: exit code 0"


__all__ = ["CommandProbe", "HttpProbe", "PatientProbe", "Probe", "TcpProbe", "probe_of"]

ASKED_AGAIN_AFTER = timedelta(milliseconds=200)


class Probe(Protocol):
    """Asks a host whether its daemon is healthy."""

    async def __call__(self, destination: Destination) -> str:
        """Return what was asked and answered, in one line.

        Raises:
            ProbeFailedError: no answer, or not that of a healthy daemon; with its words.
        """


@dataclass(frozen=True)
class PatientProbe:
    """Asks again while nobody listens. Whatever else it meets is an answer.

    systemd calls most daemons running before they have opened their port.

    Attributes:
        probe: what is asked.
        patience: for how long it is asked anew; zero asks once.
    """

    probe: Probe
    patience: timedelta

    async def __call__(self, destination: Destination) -> str:
        """Ask until somebody listens."""
        now = asyncio.get_running_loop().time
        end = now() + self.patience.total_seconds()
        pause = ASKED_AGAIN_AFTER.total_seconds()
        while True:
            try:
                return await self.probe(destination)
            except NobodyListensError as error:
                if now() + pause > end:
                    if self.patience:
                        error.text += f", for {self.patience.total_seconds():g} s"
                    raise
            await asyncio.sleep(pause)


def probe_of(
    kind: Literal["http", "tcp", "command"],
    *,
    port: int,
    path: str,
    command: tuple[str, ...],
    timeout: timedelta,
    patience: timedelta,
) -> PatientProbe:
    """Return the probe that was chosen.

    Args:
        kind: which one.
        port: where `http` and `tcp` ask.
        path: what `http` asks for.
        command: what `command` runs.
        timeout: how long one answer may take.
        patience: how long it is asked again while nobody listens.
    """
    probe: Probe
    match kind:
        case "http":
            probe = HttpProbe(port, path, timeout)
        case "tcp":
            probe = TcpProbe(port, timeout)
        case "command":
            probe = CommandProbe(command, timeout)
    return PatientProbe(probe, patience)


# MERGEDOC """A health probe over HTTP. Raises `ProbeFailedError`."""
# MERGEDOC """A health probe that wants no more than a connection. Raises `ProbeFailedError`."""
# MERGEDOC """A health probe that is a program of the operator's own. Raises `ProbeFailedError`."""
# MERGEDOC """The daemon's health probe, asked from the control plane, as a user would come to it."""
