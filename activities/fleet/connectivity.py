"""Places that are known to be up: a control plane that reaches none of them is cut off itself."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from relight.domain.breaker.breaker import ConnectivityResult

ANSWER_WITHIN = timedelta(seconds=5)


class ConnectivityCheck(Protocol):
    """One such place."""

    async def look(self) -> ConnectivityResult:
        """Ask it, and return whether it answered. Nothing that goes wrong is raised."""


@dataclass(frozen=True)
class UrlConnectivityCheck:
    """A place by its address: `http://`, `https://`, or `tcp://HOST:PORT`.

    Whatever it answers, it was reached: a web server that refuses has answered.
    """

    url: str
    within: timedelta = ANSWER_WITHIN

    @property
    def name(self) -> str:
        """Its address without what would be a secret."""
        parts = urlsplit(self.url)
        where = f"{parts.hostname or ''}:{parts.port}" if parts.port else parts.hostname or ""
        return f"{parts.scheme}://{where}{parts.path}".rstrip("/")

    async def look(self) -> ConnectivityResult:
        """Ask it."""
        observed_at = datetime.now(UTC)
        try:
            async with asyncio.timeout(self.within.total_seconds()):
                answer, reached = await self._ask(), True
        except (OSError, TimeoutError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
            answer, reached = f"{type(error).__name__}: {error}".rstrip(": "), False
        return ConnectivityResult(
            name=self.name, observed_at=observed_at, reached=reached, answer=answer
        )

    async def _ask(self) -> str:
        parts = urlsplit(self.url)
        if parts.scheme == "tcp":
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.close()
            return "a connection"
        async with httpx.AsyncClient(timeout=self.within.total_seconds()) as client:
            answer = await client.head(self.url)
        return str(answer.status_code)


async def check_all(connectivity: Sequence[ConnectivityCheck]) -> tuple[ConnectivityResult, ...]:
    """Ask all of them at once."""
    return tuple(await asyncio.gather(*(check.look() for check in connectivity)))
