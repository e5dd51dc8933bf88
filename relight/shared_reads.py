"""Reads that concurrent callers share."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

_Read = TypeVar("_Read")


class SharedReads(Generic[_Read]):
    """Reads by name. Concurrent requests of one name share one read, with its result or error.

    A read must end by itself: it continues when requests that wait for it are cancelled.
    """

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[_Read]] = {}

    async def get(self, name: str, read: Callable[[], Coroutine[Any, Any, _Read]]) -> _Read:
        """Return the result of the running read of this name; start it if there is none."""
        if name not in self._running:
            task = asyncio.create_task(read(), name=f"read {name}")
            self._running[name] = task
            task.add_done_callback(lambda done: self._ended(name, done))
        return await asyncio.shield(self._running[name])

    async def close(self) -> None:
        """Cancel all running reads."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    def _ended(self, name: str, task: asyncio.Task[_Read]) -> None:
        del self._running[name]
        if not task.cancelled():
            task.exception()  # Marked as retrieved: every request may have been cancelled.
