"""Child processes that end with their parent, whatever its end is."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from relight.engine.errors import ChildFailedError

TAIL_LINES = 20


@dataclass(frozen=True)
class Child:
    """A process that runs.

    Attributes:
        name: what people call it.
        process: it.
        log: the file to which it writes all it has to say.
    """

    name: str
    process: asyncio.subprocess.Process
    log: Path
    log_start_bytes: int

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def said(self) -> str:
        """Return all that it has written so far."""
        with self.log.open("rb") as log:
            log.seek(self.log_start_bytes)
            return log.read().decode(errors="replace")

    def failure(self, what: str) -> ChildFailedError:
        """Return an error that shows the last lines of its log."""
        tail = "\n".join(self.said().splitlines()[-TAIL_LINES:])
        return ChildFailedError(self.name, what, self.log, tail)

    async def until(self, ready: Callable[[], Awaitable[bool]], within: timedelta) -> None:
        """Wait until `ready` says so.

        Raises:
            ChildFailedError: it ended before, or is not ready after `within`.
        """

        async def ready_or_ended() -> bool:
            if self.process.returncode is not None:
                raise self.failure(_ending(self.process.returncode))
            return await ready()

        try:
            await wait_until(ready_or_ended, within)
        except TimeoutError:
            seconds = within.total_seconds()
            raise self.failure(f"is not ready after {seconds:.0f} s") from None

    async def ended(self) -> ChildFailedError:
        """Wait for an end that nobody asked for, and return what to say of it."""
        return self.failure(_ending(await self.process.wait()))


@contextlib.asynccontextmanager
async def running(
    name: str,
    argv: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    keep_open: Sequence[int] = (),
    stop_within: timedelta = timedelta(seconds=10),
) -> AsyncIterator[Child]:
    """Run a program until the block ends: then ask it to stop, and make it after `stop_within`.

    It has a session of its own, so that a Ctrl-C in the terminal reaches only the parent, which
    stops its children in order.

    Args:
        name: what people call it.
        argv: the program and its arguments.
        log: the file to which its output is appended.
        env: what to set over this process's environment.
        keep_open: descriptors that it inherits.
        stop_within: how long it may take to stop.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        start_bytes = output.tell()
        process = await asyncio.create_subprocess_exec(
            *_dies_with_parent(),
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(env or {})},
            pass_fds=keep_open,
            start_new_session=True,
        )
    try:
        yield Child(name, process, log, start_bytes)
    finally:
        await _stop(process, stop_within)


def _dies_with_parent() -> list[str]:
    # setpriv is in util-linux, which every Debian has. Elsewhere a parent that is killed with
    # SIGKILL leaves its children behind; no other end does.
    found = shutil.which("setpriv") if sys.platform == "linux" else None
    return [found, "--pdeathsig", "TERM", "--"] if found else []


async def _stop(process: asyncio.subprocess.Process, within: timedelta) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(within.total_seconds()):
            await process.wait()
    except TimeoutError:
        # Its session is its own, so this reaches it and what it started, and nothing else.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended by itself with exit code {code}"


POLL_INTERVAL = timedelta(milliseconds=50)


async def wait_until(condition: Callable[[], Awaitable[bool]], within: timedelta) -> None:
    """Ask until the answer is yes.

    Raises:
        TimeoutError: it is not, after `within`.
    """
    async with asyncio.timeout(within.total_seconds()):
        while True:
            if await condition():
                return
            await asyncio.sleep(POLL_INTERVAL.total_seconds())


# MERGEDOC """Waiting for a condition that nothing announces."""
