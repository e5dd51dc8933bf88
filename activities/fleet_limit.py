"""A limit of uses at once that holds for all workers together, as an asynchronous context manager.

A worker leases permits in the store, in blocks, and hands them out to its own activities without
asking again. So a use costs no call of the store while the worker has permits to spare.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol, Self

from relight.domain.permit import Granted

LASTS = timedelta(minutes=2)
"""How long the permits of a worker that died are lost to the others."""

USE = timedelta(minutes=1)
"""The longest use. A worker that cannot renew its lease hands out nothing for so long before the
lease ends, so that its uses have ended when others get the permits."""

RENEW = timedelta(seconds=10)
"""Interval of renewals while permits are used. Unused ones are returned after it."""

RETRY = timedelta(milliseconds=500)
"""While others have all the permits."""


class Leases(Protocol):
    """The store's leases."""

    def lease(
        self, name: str, holder: str, *, limit: int, wanted: int, used: int, lasts: timedelta
    ) -> Granted:
        """Renew or change the lease of a worker, and return the permits that it has."""


class FleetLimit:
    """At most `limit` uses at once, over all workers that share a store.

    If the store fails, so does each use that waits for it.
    """

    def __init__(
        self,
        leases: Leases,
        name: str,
        limit: int,
        holder: str,
        *,
        block: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Lease nothing yet.

        Args:
            leases: the store's.
            name: of the limit.
            limit: for all workers together.
            holder: this process; no other has the same.
            block: permits are leased in multiples of this number.
            clock: seconds that never go back.
        """
        self._leases, self._name, self._limit = leases, name, limit
        self._holder, self._block, self._clock = holder, block, clock
        self._permits = 0
        self._valid_until = 0.0
        self._used = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._more_wanted = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Wait for a permit."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._hand_out()
        if not waiter.done():
            self._more_wanted.set()
            self._keep()
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled() and waiter.exception() is None:
                self._return_one()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Return the permit."""
        self._return_one()

    async def close(self) -> None:
        """Return all permits; nothing uses them any more."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            await self._lease(0)

    def _return_one(self) -> None:
        self._used -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and self._used < self._permits and self._clock() < self._valid_until:
            waiter = self._waiting.popleft()
            if not waiter.done():  # Else it was cancelled.
                self._used += 1
                waiter.set_result(None)

    def _keep(self) -> None:
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep_lease(), name=f"lease of {self._name}")
            self._keeper.add_done_callback(self._ended)

    def _ended(self, keeper: asyncio.Task[None]) -> None:
        """Fail all that wait if the lease cannot be kept; the next use tries again."""
        if self._keeper is keeper:
            self._keeper = None
        error = None if keeper.cancelled() else keeper.exception()
        while error is not None and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(error)

    async def _keep_lease(self) -> None:
        """Lease what is needed, renew it, and return it when nothing needs it any more."""
        while True:
            self._more_wanted.clear()
            needed = self._needed()
            await self._lease(needed)
            if not needed and not self._waiting:
                return
            if self._waiting:
                await asyncio.sleep(RETRY.total_seconds() * random.uniform(0.5, 1))  # noqa: S311 - jitter
                continue
            try:
                async with asyncio.timeout(RENEW.total_seconds()):
                    await self._more_wanted.wait()
            except TimeoutError:
                continue

    def _needed(self) -> int:
        """Return how many permits are needed, in whole blocks."""
        self._waiting = deque(waiter for waiter in self._waiting if not waiter.done())
        needed = self._used + len(self._waiting)
        return -(-needed // self._block) * self._block

    async def _lease(self, wanted: int) -> None:
        # Until the store has answered, no more are used than it knows of.
        self._permits = used = self._used
        asked_at = self._clock()
        granted = await asyncio.to_thread(
            self._leases.lease,
            self._name,
            self._holder,
            limit=self._limit,
            wanted=wanted,
            used=used,
            lasts=LASTS,
        )
        self._permits = granted.allowed
        self._valid_until = asked_at + (LASTS - USE).total_seconds()
        self._hand_out()
