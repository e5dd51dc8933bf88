"""Locks between processes: held by an open file, and gone with whoever holds it."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from lab.errors import LabError

FOLDER = Path("/run/lock")
_POLL_SECONDS = 0.1


@contextlib.contextmanager
def only_one(name: str) -> Iterator[None]:
    """Be the one process that serves the lab of this name; its file says which process that is.

    Raises:
        LabError: another one serves it.
    """
    path = serving_file(name)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        with os.fdopen(handle, "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = file.read().strip() or "unknown"
                raise LabError(f"the lab {name!r} is running already, as process {pid}") from None
            if not _is_still(file.fileno(), path):  # it was removed by the one before us
                continue
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def serving_pid(name: str) -> int | None:
    """Return the process that serves the lab of this name, None when none does."""
    try:
        with serving_file(name).open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text.isdigit() else None
    except FileNotFoundError:
        return None
    return None


def remove_stale(name: str) -> bool:
    """Remove the lock file of a lab that was killed, and say whether there was one."""
    path = serving_file(name)
    try:
        with path.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except (FileNotFoundError, BlockingIOError):
        return False
    return True


def serving_file(name: str) -> Path:
    """Return the lock file of the lab of this name."""
    return FOLDER / f"relight-lab-{name}.lock"


@contextlib.asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Hold a lock among all labs, waiting for whoever has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(_POLL_SECONDS)
                continue
            break
        yield


def _is_still(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
