"""A client of a Temporal server that skips time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.api.testservice.v1 import SleepRequest
from temporalio.client import Client

from devkit.simulated.time_skipping import time_skipping_server

STEP_TIMEOUT = timedelta(minutes=2)
"""In real time, for one hour on the server."""


@asynccontextmanager
async def time_skipping_client() -> AsyncIterator[Client]:
    """Run the server, and connect a client to it."""
    async with time_skipping_server() as environment:
        yield environment.client


async def skip(client: Client, days: int) -> None:
    """Let days pass on that server, with everything that happens meanwhile.

    Hour by hour: in a day may be hundreds of attempts, and a call that takes long in real time is
    broken off.
    """
    request = SleepRequest()
    request.duration.FromTimedelta(timedelta(hours=1))
    for _ in range(days * 24):
        await client.test_service.unlock_time_skipping_with_sleep(request, timeout=STEP_TIMEOUT)
