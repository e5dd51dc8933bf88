"""Turns: publications at one provider run one after the other, over all workers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from relight.domain.image.image import ImageName
from relight.domain.image.publication import image_workflow_id
from relight.store.permits import Permits
from relight.store.threads import in_thread

LASTS = timedelta(minutes=30)
"""After so long without a sign of life, the turn of a lost publication ends."""

RENEW_EVERY = timedelta(minutes=1)

log: structlog.stdlib.BoundLogger = structlog.get_logger("relight.images")


class Turns:
    """Whose turn it is at each provider: one publication's. The store has it."""

    def __init__(self, permits: Permits) -> None:
        self._permits = permits

    async def take(self, provider: str, name: ImageName) -> bool:
        """Take or renew the turn of an image at a provider; return whether it has it."""
        return await self._lease(provider, name, 1) > 0

    async def end(self, provider: str, name: ImageName) -> None:
        """End the turn of an image."""
        await self._lease(provider, name, 0)

    @asynccontextmanager
    async def keeping(self, provider: str, name: ImageName) -> AsyncIterator[None]:
        """Keep the turn until the block ends."""

        async def renew() -> None:
            while True:
                await self.take(provider, name)
                await asyncio.sleep(RENEW_EVERY.total_seconds())

        renewals = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewals.cancel()
            await asyncio.wait([renewals])
            # The turn lasts much longer than the store may be away.
            if not renewals.cancelled() and (error := renewals.exception()) is not None:
                log.warning("the turn was not renewed", error=str(error))

    async def _lease(self, provider: str, name: ImageName, wanted: int) -> int:
        granted = await in_thread(
            self._permits.lease,
            f"images at {provider}",
            image_workflow_id(name),
            limit=1,
            wanted=wanted,
            used=wanted,
            lasts=LASTS,
        )
        return granted.count
