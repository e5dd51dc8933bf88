"""Waiting for a condition that nothing announces."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

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
