"""The daemon's health probe, asked from the control plane, as a user would come to it."""

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
        try:
            # Not by any proxy of this computer's: the route itself has to answer.
            async with httpx.AsyncClient(
                timeout=self.timeout.total_seconds(), trust_env=False
            ) as http:
                answer = await http.get(url)
        except httpx.TransportError as error:
            said = str(error) or type(error).__name__
            raise ProbeFailedError(said, destination=destination, attempted=asked) from error
        if not answer.is_success:
            raise ProbeFailedError(
                f"{answer.status_code} {answer.text[:ANSWER_CHARACTERS].strip()}",
                destination=destination,
                attempted=asked,
            )
        return f"{asked}: {answer.status_code}"
