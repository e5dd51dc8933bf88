"""Places that are known to be up: a control plane that reaches none of them is cut off itself."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from messages.breaker import WitnessLook

LOOK_WITHIN = timedelta(seconds=5)


class Witness(Protocol):
    """One such place."""

    async def look(self) -> WitnessLook:
        """Ask it, and return whether it answered. Nothing that goes wrong is raised."""


@dataclass(frozen=True)
class UrlWitness:
    """A place by its address: `http://`, `https://`, or `tcp://HOST:PORT`.

    Whatever it answers, it was reached: a web server that refuses has answered.
    """

    url: str
    within: timedelta = LOOK_WITHIN

    @property
    def name(self) -> str:
        """Its address without what would be a secret."""
        parts = urlsplit(self.url)
        where = f"{parts.hostname or ''}:{parts.port}" if parts.port else parts.hostname or ""
        return f"{parts.scheme}://{where}{parts.path}".rstrip("/")

    async def look(self) -> WitnessLook:
        """Ask it."""
        looked_at = datetime.now(UTC)
        try:
            async with asyncio.timeout(self.within.total_seconds()):
                said, reached = await self._ask(), True
        except (OSError, TimeoutError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
            said, reached = f"{type(error).__name__}: {error}".rstrip(": "), False
        return WitnessLook(name=self.name, looked_at=looked_at, reached=reached, said=said)

    async def _ask(self) -> str:
        parts = urlsplit(self.url)
        if parts.scheme == "tcp":
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.close()
            return "a connection"
        async with httpx.AsyncClient(timeout=self.within.total_seconds()) as client:
            answer = await client.head(self.url)
        return str(answer.status_code)


async def look_at_all(witnesses: Sequence[Witness]) -> tuple[WitnessLook, ...]:
    """Ask all of them at once."""
    return tuple(await asyncio.gather(*(witness.look() for witness in witnesses)))
