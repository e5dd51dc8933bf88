"""Calls of the store from an event loop: in threads of the store's own.

A call of the store blocks: it waits for a lock, or for a server that does not respond. On
an event loop it would hold up everything else there, heartbeats among it. So code that serves is
guarded: in it, a session that is opened on an event loop is a bug and raises an error.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
Result = TypeVar("Result")

THREADS = 8
"""Of each of the two executors whose threads call the store: this one, and the one of activities
that are nothing else. More would contend for the interpreter, and could not all have a connection
(`MAX_CONNECTIONS`). See decision 39 for what was measured. SQLite has one writer anyway."""

# Not the event loop's default executor: it also resolves host names, which a lock must not stop.
_executor = ThreadPoolExecutor(THREADS, thread_name_prefix="store")

_guarded: ContextVar[bool] = ContextVar("guarded", default=False)


class BlockingStoreCallError(RuntimeError):
    """The store was called on an event loop: a bug of the caller."""


async def in_thread(call: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    """Make a call of the store in a thread, and return its result.

    If the caller is cancelled, the call still ends: it is one transaction.
    """
    run = partial(copy_context().run, call, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_executor, run)


async def in_thread_to_end(call: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    """As `in_thread`; no cancellation of the caller has an effect until the call has ended.

    So the caller knows what was written, and whoever cancelled it finds that in the store.
    """
    running = asyncio.ensure_future(in_thread(call, *args, **kwargs))
    while not running.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([running])
    return running.result()


def guard_event_loop() -> None:
    """Refuse calls of the store on an event loop from now on, in this context."""
    _guarded.set(True)


def require_thread() -> None:
    """Check that the calling thread may block.

    Raises:
        BlockingStoreCallError: it runs an event loop, and the context is guarded.
    """
    if not _guarded.get():
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise BlockingStoreCallError("the store was called on an event loop: use `in_thread`")
