"""Runs an operator's program on the control plane's machine. Raises only `OSError`."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple

from relight.domain.duration import span
from relight.domain.text import visible

OUTPUT_CHARACTERS = 300
"""How many of the last characters of its output are kept."""

RETRY_EXIT_CODE = os.EX_TEMPFAIL
"""The exit code, 75, of a program that has no result yet and may be run again."""

OUTPUT_TIMEOUT = timedelta(milliseconds=500)
"""How long output is read after the program's end. Its own output is in the pipe by then; a child
in another session can hold the pipe open for any time."""


class ProgramEnded(NamedTuple):
    """The end of a program.

    Attributes:
        exit_code: negative for the signal that killed it; None after a timeout.
        text: the exit code in words and the end of the output, in one line.
    """

    exit_code: int | None
    text: str


async def run_program(
    argv: Sequence[str], variables: Mapping[str, str], timeout: timedelta
) -> ProgramEnded:
    """Run a program. At its end, or after the timeout, all processes of its session are killed.

    Args:
        argv: the program and its arguments, without a shell.
        variables: its environment, in addition to PATH and LANG. It does not inherit the control
            plane's environment, which contains secrets.
        timeout: how long it may run.

    Raises:
        OSError: the program does not exist, or may not be executed.
    """
    output = _Output()
    exit_code: int | None = None
    with contextlib.suppress(TimeoutError):
        async with (
            _pipe_to(output) as pipe,
            _running(argv, _environment(variables), pipe) as process,
            asyncio.timeout(timeout.total_seconds()),
        ):
            exit_code = await process.wait()
    ending = _ending(exit_code, timeout)
    return ProgramEnded(exit_code, ": ".join(part for part in (ending, output.text) if part))


class _Output(asyncio.Protocol):
    """Receives all output and keeps the end of it."""

    def __init__(self) -> None:
        self._end = b""
        self.closed = asyncio.Event()

    @property
    def text(self) -> str:
        text = " ".join(self._end.decode(errors="backslashreplace").split())
        return visible(text)[-OUTPUT_CHARACTERS:]

    def data_received(self, data: bytes) -> None:
        # A character of UTF-8 has at most 4 bytes.
        self._end = (self._end + data)[-4 * OUTPUT_CHARACTERS :]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.closed.set()


@asynccontextmanager
async def _pipe_to(output: _Output) -> AsyncIterator[int]:
    """Yield the write end of a pipe whose read end feeds `output`.

    asyncio's own pipes are not used: with them `process.wait` returns only after every process
    that inherited the pipe has ended.
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
            async with asyncio.timeout(OUTPUT_TIMEOUT.total_seconds()):
                await output.closed.wait()
        transport.close()


@asynccontextmanager
async def _running(
    argv: Sequence[str], environment: dict[str, str], output: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program; at the end of the block, kill it and its whole process group.

    Raises:
        OSError: the program does not exist, or may not be executed.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment,
        start_new_session=True,  # makes it and its children a process group
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        **variables,
    }


def _ending(exit_code: int | None, timeout: timedelta) -> str:
    if exit_code is None:
        return f"not ended after {span(timeout)}"
    if exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"
