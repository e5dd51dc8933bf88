"""The daemon's health probe, asked from the control plane, as a user would come to it."""

import asyncio
import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import httpx

from remote.destination import Destination
from remote.errors import ProbeFailedError

ANSWER_CHARACTERS = 300


class Probe(Protocol):
    """Asks a host whether its daemon is healthy."""

    async def __call__(self, destination: Destination) -> str:
        """Return what was asked and answered, in one line.

        Raises:
            ProbeFailedError: no answer, or not that of a healthy daemon; with its words.
        """


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
            raise ProbeFailedError(
                _words_of(error), destination=destination, attempted=asked
            ) from error
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


def _words_of(error: BaseException) -> str:
    """Return the system's own words, such as `Connection refused`: httpx says less than those."""
    words, cause = str(error) or type(error).__name__, error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            words = str(cause.strerror)
        elif isinstance(cause, OSError) and cause.errno:
            words = os.strerror(cause.errno)  # asyncio writes its own over it
        cause = cause.__cause__ or cause.__context__
    return words
