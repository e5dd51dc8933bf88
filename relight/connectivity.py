"""Connectivity checks: addresses that tell whether the control plane itself is online."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from relight.domain.breaker.breaker import ConnectivityResult
from relight.domain.error_words import error_words

CHECK_TIMEOUT = timedelta(seconds=5)


class ConnectivityCheck(Protocol):
    """Checks one address."""

    async def run(self) -> ConnectivityResult:
        """Return whether the address answers. Raises nothing."""


@dataclass(frozen=True)
class UrlConnectivityCheck:
    """Checks a URL: `http://`, `https://`, or `tcp://HOST:PORT`.

    Any answer counts as reached, also an HTTP error.
    """

    url: str
    timeout: timedelta = CHECK_TIMEOUT

    @property
    def name(self) -> str:
        """The URL without user and password."""
        parts = urlsplit(self.url)
        host = f"{parts.hostname or ''}:{parts.port}" if parts.port else parts.hostname or ""
        return f"{parts.scheme}://{host}{parts.path}".rstrip("/")

    async def run(self) -> ConnectivityResult:
        """Return whether the URL answers within the timeout."""
        observed_at = datetime.now(UTC)
        try:
            async with asyncio.timeout(self.timeout.total_seconds()):
                answer, reached = await self._request(), True
        except (OSError, TimeoutError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
            answer, reached = error_words(error), False
        return ConnectivityResult(
            name=self.name, observed_at=observed_at, reached=reached, answer=answer
        )

    async def _request(self) -> str:
        parts = urlsplit(self.url)
        if parts.scheme == "tcp":
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.close()
            return "connected"
        async with httpx.AsyncClient(timeout=self.timeout.total_seconds()) as client:
            response = await client.head(self.url)
        return str(response.status_code)


async def run_all(checks: Sequence[ConnectivityCheck]) -> tuple[ConnectivityResult, ...]:
    """Run all checks concurrently."""
    return tuple(await asyncio.gather(*(check.run() for check in checks)))
