"""Creations that a listing may still lack, at providers without a token or a unique name.

A creation whose answer was lost may become visible later, and one part of a provider may not know
yet what another has created. Until then only this memory keeps a second machine from being made.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple
from weakref import WeakValueDictionary


class _Creation(NamedTuple):
    at: float
    provider_id: str | None


class RecentCreations:
    """What this process has requested, by key."""

    def __init__(self, settle: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        """Remember nothing yet.

        Args:
            settle: how long after a request a listing may lack its machine.
            clock: seconds.
        """
        self._settle = settle.total_seconds()
        self._clock = clock
        self._creations: dict[str, _Creation] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def alone(self, key: str) -> AsyncIterator[None]:
        """Let one caller at a time create the machine of a key."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            yield

    def note(self, key: str, provider_id: str | None = None) -> None:
        """Remember a request from now on, and the id of its machine once that is known."""
        for old in [each for each in self._creations if not self.is_recent(each)]:
            del self._creations[old]
        self._creations[key] = _Creation(self._clock(), provider_id)

    def forget(self, key: str) -> None:
        """Forget a key: its machine was not created, or is gone."""
        self._creations.pop(key, None)

    def is_recent(self, key: str) -> bool:
        """Return whether a listing may lack a machine with this key."""
        creation = self._creations.get(key)
        return creation is not None and self._clock() - creation.at < self._settle

    def id_of(self, key: str) -> str | None:
        """Return the id of the machine of a recent creation; None if it is not known."""
        return self._creations[key].provider_id if self.is_recent(key) else None

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._creations)
