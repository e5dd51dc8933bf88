"""Locks between processes: held by a file that is open, and gone with whoever holds it."""

import fcntl
from datetime import timedelta
from typing import IO

from starter.waiting import wait_until


def try_lock(file: IO[str]) -> bool:
    """Lock an open file if nobody else has, and return whether it is ours now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def lock_within(file: IO[str], within: timedelta) -> None:
    """Lock an open file.

    Raises:
        TimeoutError: somebody else has it all the time.
    """

    async def locked() -> bool:
        return try_lock(file)

    await wait_until(locked, within)
