"""A health probe that wants no more than a connection. Raises `ProbeFailedError`."""

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import timedelta

from remote.destination import Destination
from remote.errors import ProbeFailedError
from remote.probe_failure import not_connected


@dataclass(frozen=True)
class TcpProbe:
    """A daemon is healthy that lets one connect; nothing is said to it.

    Attributes:
        port: where it listens.
        timeout: how long the connection may take.
    """

    port: int
    timeout: timedelta

    async def __call__(self, destination: Destination) -> str:
        """Connect, and hang up."""
        asked = f"connect to {_place(destination.address, self.port)}"
        limit = self.timeout.total_seconds()
        try:
            async with asyncio.timeout(limit):
                _, writer = await asyncio.open_connection(destination.address, self.port)
        except TimeoutError as error:
            raise ProbeFailedError(
                f"no connection after {limit:g} s", destination=destination, attempted=asked
            ) from error
        except OSError as error:
            raise not_connected(error, destination, asked) from error
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return f"{asked}: connected"


def _place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
