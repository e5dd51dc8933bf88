"""Locks between processes. Each is an open file, so it is released when its process ends."""

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
    """Hold the lock of a lab; the lock file contains the id of the process that serves the lab.

    Raises:
        LabError: another process serves it.
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
            if not _is_same_file(file.fileno(), path):  # removed by the previous holder
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
    """Return the id of the process that serves a lab, None if none does."""
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
    """Remove the lock file of a killed lab, and return whether there was one."""
    path = serving_file(name)
    try:
        with path.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except (FileNotFoundError, BlockingIOError):
        return False
    return True


def serving_file(name: str) -> Path:
    """Return the lock file of a lab."""
    return FOLDER / f"relight-lab-{name}.lock"


@contextlib.asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Wait for a lock that all labs share, and hold it until the block ends."""
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


def _is_same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
