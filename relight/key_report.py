"""What a worker reports of its keys, so that a rotation knows which workers lack one."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

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
    """Report this worker's keys to the store until the block ends.

    Workers of this computer that were killed are reported no more: a rotation would wait for them.
    """
    for each in await in_thread(store.worker_keys.list):
        if _is_dead(each.worker):
            await in_thread(store.worker_keys.forget, each.worker)
    reports = asyncio.create_task(_report(store, keys), name="report of this worker's keys")
    try:
        yield
    finally:
        reports.cancel()
        await asyncio.wait([reports])
        with suppress(SQLAlchemyError):  # Without the store, the report ends by its age.
            await in_thread(store.worker_keys.forget, worker_name())


def _is_dead(worker: str) -> bool:
    pid, _, host = worker.partition("@")
    return host == socket.gethostname() and not Path("/proc", pid).exists()


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
