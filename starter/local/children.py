"""Child processes that end when their parent ends, and polling until a condition holds."""

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

from relight.engine.errors import SetupError
from relight.person import Person

TAIL_LINES = 20
POLL_INTERVAL = timedelta(milliseconds=50)


class ChildFailedError(SetupError):
    """A child process ended by itself, or was not ready in time.

    Attributes:
        name: the name of the child.
        log: the file that holds its output.
        tail: the last lines of that file.
    """

    def __init__(self, name: str, what: str, log: Path, tail: str) -> None:
        end = f"; its last output ({log}):\n{tail}" if tail else f"; it wrote nothing to {log}"
        super().__init__(f"{name} {what}{end}")
        self.name = name
        self.log = log
        self.tail = tail


async def wait_until(condition: Callable[[], Awaitable[bool]], within: timedelta) -> None:
    """Poll a condition until it is true.

    Raises:
        TimeoutError: it is still false after `within`.
    """
    async with asyncio.timeout(within.total_seconds()):
        while True:
            if await condition():
                return
            await asyncio.sleep(POLL_INTERVAL.total_seconds())


@dataclass(frozen=True)
class Child:
    """A child process.

    Attributes:
        name: its name in messages.
        process: the process.
        log: the file that its output is appended to.
        log_start_bytes: the size of that file when the process started.
    """

    name: str
    process: asyncio.subprocess.Process
    log: Path
    log_start_bytes: int

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def output(self) -> str:
        """Return everything that it has written so far."""
        with self.log.open("rb") as log:
            log.seek(self.log_start_bytes)
            return log.read().decode(errors="replace")

    def failure(self, what: str) -> ChildFailedError:
        """Return an error with the last lines of its output."""
        tail = "\n".join(self.output().splitlines()[-TAIL_LINES:])
        return ChildFailedError(self.name, what, self.log, tail)

    async def wait_until_ready(
        self, ready: Callable[[], Awaitable[bool]], within: timedelta
    ) -> None:
        """Wait until `ready` returns true.

        Raises:
            ChildFailedError: it ended before that, or is not ready after `within`.
        """

        async def ready_or_ended() -> bool:
            if self.process.returncode is not None:
                raise self.failure(_exit_text(self.process.returncode))
            return await ready()

        try:
            await wait_until(ready_or_ended, within)
        except TimeoutError:
            seconds = within.total_seconds()
            raise self.failure(f"is not ready after {seconds:.0f} s") from None

    async def unexpected_exit(self) -> ChildFailedError:
        """Wait until it ends, and return the error for an end that was not requested."""
        return self.failure(_exit_text(await self.process.wait()))


@contextlib.asynccontextmanager
async def running(
    name: str,
    argv: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    keep_open: Sequence[int] = (),
    stop_within: timedelta = timedelta(seconds=10),
    run_as: Person | None = None,
) -> AsyncIterator[Child]:
    """Run a program until the block ends; then terminate it, and kill it after `stop_within`.

    The child has its own session, so Ctrl-C in the terminal reaches only the parent, which stops
    its children in order.

    Args:
        name: its name in messages.
        argv: the program and its arguments.
        log: the file to append its output to.
        env: variables to set in addition to this process's environment.
        keep_open: file descriptors that it inherits.
        stop_within: how long it may take to stop.
        run_as: the account that it runs as, if that may reach the program; by default this
            process's effective one.
    """
    account = Person(os.geteuid(), os.getegid())
    if run_as is not None and run_as.may_reach(Path(argv[0])):
        account = run_as
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        start_bytes = output.tell()
        process = await asyncio.create_subprocess_exec(
            *_die_with_parent(account),
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **_own_folder(account), **(env or {})},
            pass_fds=keep_open,
            start_new_session=True,
        )
    try:
        yield Child(name, process, log, start_bytes)
    finally:
        await _stop(process, stop_within)


def _die_with_parent(account: Person) -> list[str]:
    # setpriv is in util-linux, which every Debian has. On other systems a parent that is killed
    # with SIGKILL leaves its children running; any other end of the parent stops them.
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    if setpriv is None:
        return []
    # Behind sudo, this process has the person as its real user (`supervise`), which no child keeps.
    switch = (
        ["--reuid", str(account.uid), "--regid", str(account.gid), "--init-groups"]
        if {os.getuid(), account.uid} != {os.geteuid()}
        else []
    )
    return [setpriv, *switch, "--pdeathsig", "TERM", "--"]


def _own_folder(account: Person) -> dict[str, str]:
    """Return the variable with the account's own folder, where a child runs as another one."""
    return {} if account.uid == os.geteuid() else {"HOME": str(account.home)}


async def _stop(process: asyncio.subprocess.Process, within: timedelta) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(within.total_seconds()):
            await process.wait()
    except TimeoutError:
        # It has its own session, so this kills it and its children, and nothing else.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _exit_text(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended by itself with exit code {code}"
