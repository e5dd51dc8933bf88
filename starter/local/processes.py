"""What is up in a home folder: one supervisor at a time, which holds a lock and says who it is."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from starter.local.children import wait_until
from starter.local.home import lock_within, try_lock, write_private

LOCK_WITHIN = timedelta(milliseconds=300)


class AlreadyUpError(Exception):
    """Another supervisor holds the home folder."""


class UpState(BaseModel):
    """What is up, once all of it answers.

    Attributes:
        pid: of the supervisor.
        temporal: `host:port` of the Temporal server; None where only the lab is up.
        namespace: Relight's namespace there.
        ui: the address of its UI; None where the server is somebody else's.
        lab: the address of the lab's API, where there is a lab.
        repository: the address of the lab's apt repository.
        task_queue: where the worker listens; None without one.
        logs: the folder of the logs.
    """

    model_config = ConfigDict(frozen=True)

    pid: int
    home: Path
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
            # Not at one look: `holder` takes the lock for a moment to see whether it is free.
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


def announce(state: UpState) -> None:
    """Say that all is up."""
    write_private(_state_file(state.home), state.model_dump_json())


def holder(home: Path) -> int | None:
    """Return the process id of the supervisor that holds the home folder."""
    try:
        lock = (home / "up.lock").open("r+")
    except FileNotFoundError:
        return None
    with lock:
        if try_lock(lock):
            return None
        said = lock.read().strip()
        return int(said) if said else None


def state_of(home: Path) -> UpState | None:
    """Return what is up there, None while it is not all there or nothing is."""
    pid = holder(home)
    try:
        state = UpState.model_validate_json(_state_file(home).read_text())
    except (FileNotFoundError, ValidationError):
        return None
    return state if state.pid == pid else None


async def settled(home: Path, within: timedelta) -> UpState | None:
    """Wait until what is being started is up, and return it; None if it went away instead.

    Raises:
        TimeoutError: neither, after `within`.
    """

    async def up_or_gone() -> bool:
        return state_of(home) is not None or holder(home) is None

    await wait_until(up_or_gone, within)
    return state_of(home)


async def stop(home: Path, within: timedelta) -> bool:
    """Stop what is up there, and return whether anything was.

    Raises:
        TimeoutError: it is not gone after `within`.
    """
    if (pid := holder(home)) is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)

    async def gone() -> bool:
        return holder(home) is None

    await wait_until(gone, within)
    return True


def _state_file(home: Path) -> Path:
    return home / "up.json"
