"""A health probe that is a program of the operator's own. Raises `ProbeFailedError`."""

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from remote.destination import Destination
from remote.errors import NobodyListensError, ProbeFailedError, ProbeNotRunnableError

OUTPUT_CHARACTERS = 300
"""How much of its last words is shown."""

NOT_YET = os.EX_TEMPFAIL
"""The exit code, 75, by which it says that nobody listens yet, and that it may be asked again."""

LAST_WORDS_WITHIN = timedelta(milliseconds=500)
"""How long its output is read once it has ended. All that it wrote is there by then; what it
started in a session of its own can hold the pipe open for ever."""


@dataclass(frozen=True)
class CommandProbe:
    """A daemon is healthy of which a program on this computer says so, by exit code 0.

    Attributes:
        argv: the program and its arguments; no shell reads them.
        timeout: how long it may take; then it is killed, with all that it started.
    """

    argv: tuple[str, ...]
    timeout: timedelta

    async def __call__(self, destination: Destination) -> str:
        """Run the program."""
        limit = self.timeout.total_seconds()
        output = _LastWords()
        try:
            async with (
                _pipe_to(output) as pipe,
                _running(self.argv, _environment(destination), pipe) as process,
                asyncio.timeout(limit),
            ):
                code = await process.wait()
        except TimeoutError as error:
            raise self._failed(destination, f"not ended after {limit:g} s", output) from error
        except OSError as error:
            raise ProbeNotRunnableError(
                f"it cannot be run: {error.strerror or error}",
                destination=destination,
                attempted=shlex.join(self.argv),
                argv=self.argv,
            ) from error
        if code != 0:
            raise self._failed(destination, _ending(code), output, code)
        return f"{shlex.join(self.argv)}: exit code 0"

    def _failed(
        self, destination: Destination, text: str, output: "_LastWords", code: int | None = None
    ) -> ProbeFailedError:
        kind = NobodyListensError if code == NOT_YET else ProbeFailedError
        return kind(
            ": ".join(part for part in (text, output.text) if part),
            destination=destination,
            attempted=shlex.join(self.argv),
            argv=self.argv,
            exit_code=code,
        )


class _LastWords(asyncio.Protocol):
    """Hears all that is said, and remembers the end of it."""

    def __init__(self) -> None:
        self._end = b""
        self.over = asyncio.Event()

    @property
    def text(self) -> str:
        words = " ".join(self._end.decode(errors="replace").split())
        return words[-OUTPUT_CHARACTERS:]

    def data_received(self, data: bytes) -> None:
        # A character of UTF-8 has at most 4 bytes.
        self._end = (self._end + data)[-4 * OUTPUT_CHARACTERS :]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's shape
        self.over.set()


@asynccontextmanager
async def _pipe_to(output: _LastWords) -> AsyncIterator[int]:
    """Yield a pipe's end to write to, and read the other one all the while.

    It is a pipe of ours: with one of asyncio's own, a process has not ended before everybody who
    inherited the pipe has.
    """
    reading, writing = os.pipe()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: output, os.fdopen(reading, "rb")
    )
    try:
        yield writing
    finally:
        os.close(writing)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_WITHIN.total_seconds()):
                await output.over.wait()
        transport.close()


@asynccontextmanager
async def _running(
    argv: Sequence[str], environment: dict[str, str], output: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program until the block ends; then nothing of it is left.

    Raises:
        OSError: there is no such program, or it may not be run.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment,
        start_new_session=True,  # so that it is a process group, with all that it starts
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _environment(destination: Destination) -> dict[str, str]:
    """Tell of the host, and of our own environment, which has secrets, next to nothing."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "RELIGHT_PROBE_ADDRESS": destination.address,
        "RELIGHT_PROBE_MACHINE": destination.machine_key,
    }


def _ending(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
