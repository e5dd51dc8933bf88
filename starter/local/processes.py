"""The running `relight up` of a home folder: at most one, found by its lock and state file."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from relight.context import Context
from relight.engine.errors import SetupError
from starter.local.children import POLL_INTERVAL, wait_until
from starter.local.home import (
    lock_within,
    make_private_folder,
    try_lock,
    write_private,
)

LOCK_WITHIN = timedelta(milliseconds=300)


class AlreadyUpError(Exception):
    """Another supervisor holds the home folder."""


class OtherAccountError(SetupError):
    """The supervisor runs as another account."""


class DetachedUpError(Exception):
    """A detached `relight up` ended before all of its parts were ready.

    Attributes:
        exit_code: its exit code.
        output: everything that it wrote.
    """

    def __init__(self, exit_code: int, output: str) -> None:
        super().__init__(f"`relight up` ended with exit code {exit_code}:\n{output}")
        self.exit_code = exit_code
        self.output = output


class UpState(BaseModel):
    """What is running, written once all of it is ready.

    Attributes:
        pid: of the supervisor.
        fleet: the fleet's id; None if only the lab is up.
        temporal: `host:port` of the Temporal server; None if only the lab is up.
        namespace: Relight's namespace there.
        ui: the address of its UI; None if the server was not started by `relight up`.
        lab: the address of the lab's API; None without a lab.
        repository: the address of the lab's apt repository.
        task_queue: the worker's task queue; None without a worker.
        logs: the folder of the logs.
    """

    model_config = ConfigDict(frozen=True)

    pid: int
    home: Path
    fleet: str | None = None
    temporal: str | None = None
    namespace: str | None = None
    ui: str | None = None
    lab: str | None = None
    repository: str | None = None
    task_queue: str | None = None
    logs: Path


@contextlib.asynccontextmanager
async def claim(home: Path) -> AsyncIterator[None]:
    """Hold the home folder until the block ends.

    Raises:
        AlreadyUpError: another process holds it.
    """
    with (home / "up.lock").open("a+") as lock:
        try:
            # Retried for a moment: `holder` takes the lock briefly to test whether it is free.
            await lock_within(lock, LOCK_WITHIN)
        except TimeoutError:
            raise AlreadyUpError from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        try:
            yield
        finally:
            _state_file(home).unlink(missing_ok=True)


def publish(state: UpState) -> None:
    """Write the state, once all parts are ready."""
    write_private(_state_file(state.home), state.model_dump_json())


def holder(home: Path) -> int | None:
    """Return the process id of the supervisor that holds the home folder, None if it is free."""
    try:
        lock = (home / "up.lock").open("r+")
    except FileNotFoundError:
        return None
    with lock:
        if try_lock(lock):
            return None
        pid = lock.read().strip()
        return int(pid) if pid else None


def state_of(home: Path) -> UpState | None:
    """Return what is running; None if nothing is, or not all of it is ready yet."""
    pid = holder(home)
    try:
        state = UpState.model_validate_json(_state_file(home).read_text())
    except (FileNotFoundError, ValidationError):
        return None
    return state if state.pid == pid else None


async def wait_for_start(home: Path, within: timedelta) -> UpState | None:
    """Wait for a supervisor that is starting; return its state, None if it ended instead.

    Raises:
        TimeoutError: neither happened within that time.
    """

    async def up_or_gone() -> bool:
        return state_of(home) is not None or holder(home) is None

    await wait_until(up_or_gone, within)
    return state_of(home)


def start_detached(context: Context, flags: Sequence[str], within: timedelta) -> UpState:
    """Start `relight up` in the background, and return its state once all parts are ready.

    It is stopped again if this function raises.

    Raises:
        AlreadyUpError: another supervisor holds the home folder.
        DetachedUpError: it ended by itself.
        TimeoutError: it is not ready after `within`.
    """
    home = context.home
    if holder(home) is not None:
        raise AlreadyUpError
    log = detached_log(home)
    make_private_folder(log.parent)
    with log.open("ab") as output:
        start_bytes = output.tell()
        # Not an asyncio process: closing the event loop would kill it.
        process = subprocess.Popen(  # noqa: S603 - this interpreter, no shell
            [sys.executable, "-m", "starter.cli", "up", *flags],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **context.variables},
            start_new_session=True,
        )
    with contextlib.ExitStack() as undo:
        # Also after Ctrl-C nothing half-started may stay.
        undo.callback(process.wait)
        undo.callback(process.terminate)
        state = _wait_for(process, home, within, start_bytes)
        undo.pop_all()
    return state


def detached_log(home: Path) -> Path:
    """Return the log of a detached `relight up`."""
    return home / "logs" / "up.log"


async def stop(home: Path, within: timedelta) -> bool:
    """Stop the supervisor of a home folder, and return whether there was one.

    Raises:
        OtherAccountError: it may not be stopped from this account.
        TimeoutError: it still runs after `within`.
    """
    if (pid := holder(home)) is None:
        return False
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise OtherAccountError(
            f"`relight up` in {home} is process {pid} of another account: type `relight down` as"
            " that account, or behind sudo"
        ) from None

    async def gone() -> bool:
        return holder(home) is None

    await wait_until(gone, within)
    return True


def _wait_for(
    process: subprocess.Popen[bytes], home: Path, within: timedelta, log_start_bytes: int
) -> UpState:
    deadline = time.monotonic() + within.total_seconds()
    while time.monotonic() < deadline:
        state = state_of(home)
        if state is not None and state.pid == process.pid:
            return state
        if (code := process.poll()) is not None:
            if code == 0:  # another supervisor was faster
                raise AlreadyUpError
            output = detached_log(home).read_bytes()[log_start_bytes:]
            raise DetachedUpError(code, output.decode(errors="replace").strip())
        time.sleep(POLL_INTERVAL.total_seconds())
    raise TimeoutError


def _state_file(home: Path) -> Path:
    return home / "up.json"
