"""A health probe over HTTP. Raises `ProbeFailedError`."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import httpx

from remote.destination import Destination
from remote.errors import ProbeFailedError
from remote.probe_failure import not_connected

ANSWER_CHARACTERS = 300


@dataclass(frozen=True)
class HttpProbe:
    """A daemon is healthy that answers a GET with a 2xx.

    Attributes:
        port: where it listens.
        path: what is asked for.
        timeout: how long the answer may take.
    """

    port: int
    path: str
    timeout: timedelta

    async def __call__(self, destination: Destination) -> str:
        """Ask over HTTP."""
        url = httpx.URL(scheme="http", host=destination.address, port=self.port, path=self.path)
        asked = f"GET {url}"
        limit = self.timeout.total_seconds()
        try:
            # httpx's own limit is one on each read: an answer that trickles would never end.
            async with asyncio.timeout(limit):
                status, said = await _get(url, limit)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise ProbeFailedError(
                f"no answer after {limit:g} s", destination=destination, attempted=asked
            ) from error
        except httpx.RequestError as error:
            raise not_connected(error, destination, asked) from error
        if not httpx.codes.is_success(status):
            raise ProbeFailedError(
                f"{status} {said}".rstrip(), destination=destination, attempted=asked
            )
        return f"{asked}: {status}"


async def _get(url: httpx.URL, limit: float) -> tuple[int, str]:
    """Return the status of the answer, and its first words, where it redirects its target's."""
    # Not by any proxy of this computer's: the route itself has to answer.
    async with (
        # Nor with TLS, whose certificates it would read anew for each route.
        httpx.AsyncClient(timeout=limit, trust_env=False, verify=False) as http,  # noqa: S501
        http.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer,
    ):
        if answer.has_redirect_location:
            return answer.status_code, f"to {answer.headers['Location']}"
        text = ""
        async for part in answer.aiter_text(ANSWER_CHARACTERS):
            text += part
            if len(text) >= ANSWER_CHARACTERS:
                break
    return answer.status_code, " ".join(text[:ANSWER_CHARACTERS].split())
