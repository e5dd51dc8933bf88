"""A client of a Temporal server that skips time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.api.testservice.v1 import SleepRequest
from temporalio.client import Client

from devkit.simulated.time_skipping import time_skipping_server


@asynccontextmanager
async def time_skipping_client() -> AsyncIterator[Client]:
    """Run the server, and connect a client to it."""
    async with time_skipping_server() as environment:
        yield environment.client


async def skip(client: Client, days: int) -> None:
    """Let days pass on that server, with everything that happens meanwhile.

    Day by day: a call that takes long in real time is broken off.
    """
    request = SleepRequest()
    request.duration.FromTimedelta(timedelta(days=1))
    for _ in range(days):
        await client.test_service.unlock_time_skipping_with_sleep(request)
