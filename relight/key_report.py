"""What a worker reports of its keys, so that a rotation knows which workers lack one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from relight.domain.key_rotation import KeyKind
from relight.hosts.key_files import Keys, worker_name
from relight.store.store import Store
from relight.store.threads import in_thread

EVERY = timedelta(seconds=30)
"""A report is made so often, and at once when a file has changed."""

CHECK_EVERY = timedelta(seconds=2)

log: structlog.stdlib.BoundLogger = structlog.get_logger("relight.keys")


@asynccontextmanager
async def reporting_keys(store: Store, keys: Keys) -> AsyncIterator[None]:
    """Report this worker's keys to the store until the block ends."""
    reports = asyncio.create_task(_report(store, keys), name="report of this worker's keys")
    try:
        yield
    finally:
        reports.cancel()
        await asyncio.wait([reports])
        with suppress(SQLAlchemyError):  # Without the store, the report ends by its age.
            await in_thread(store.worker_keys.forget, worker_name())


async def _report(store: Store, keys: Keys) -> None:
    loop, reported, at = asyncio.get_running_loop(), None, 0.0
    while True:
        ring = keys()
        found = ring.fingerprints(KeyKind.CLIENT), ring.fingerprints(KeyKind.HOST_SECRET)
        if found != reported or loop.time() - at > EVERY.total_seconds():
            try:
                await in_thread(store.worker_keys.report, worker_name(), *found)
                reported, at = found, loop.time()
            except SQLAlchemyError as error:
                log.warning(f"the keys of this worker could not be reported: {error}")
        await asyncio.sleep(CHECK_EVERY.total_seconds())
