"""A program of the operator's own, run beside the control plane. Raises `OSError` alone."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple

OUTPUT_CHARACTERS = 300
"""How much of its last words is shown."""

NOT_YET = os.EX_TEMPFAIL
"""The exit code, 75, by which it says that it is too early, and that it may be asked again."""

LAST_WORDS_WITHIN = timedelta(milliseconds=500)
"""How long its output is read once it has ended. All that it wrote is there by then; what it
started in a session of its own can hold the pipe open for ever."""


class Ended(NamedTuple):
    """How a program ended.

    Attributes:
        code: its exit code, less than 0 where a signal ended it; None where its time was over.
        text: that, and its last words, in one line.
    """

    code: int | None
    text: str


async def run_program(argv: Sequence[str], told: Mapping[str, str], timeout: timedelta) -> Ended:
    """Run a program to its end; then nothing of what it started in its session is left.

    Args:
        argv: the program and its arguments; no shell reads them.
        told: variables that it is given. Of our own environment, which has secrets, it is told
            next to nothing.
        timeout: how long it may take; then it is killed, with all that it started.

    Raises:
        OSError: there is no such program, or it may not be run.
    """
    limit = timeout.total_seconds()
    output = _LastWords()
    code: int | None = None
    with contextlib.suppress(TimeoutError):
        async with (
            _pipe_to(output) as pipe,
            _running(argv, _environment(told), pipe) as process,
            asyncio.timeout(limit),
        ):
            code = await process.wait()
    how = f"not ended after {limit:g} s" if code is None else _ending(code)
    return Ended(code, ": ".join(part for part in (how, output.text) if part))


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


def _environment(told: Mapping[str, str]) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        **told,
    }


def _ending(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
