"""Waiting for a step, or until something else ends the wait."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow

Output = TypeVar("Output")

MAX_RETRY_PAUSE, LONGEST_RETRY_PAUSE = timedelta(minutes=2), timedelta(days=1)
"""The longest pause between two tries at first, and of a cause that lasts for days."""


async def run_until(
    step: Coroutine[Any, Any, Output], is_over: Callable[[], bool]
) -> asyncio.Task[Output]:
    """Run a step; cancel it as soon as the wait is over. The returned task is done."""
    attempt = asyncio.create_task(step)
    try:
        await workflow.wait_condition(lambda: attempt.done() or is_over())
    finally:
        attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)
    return attempt


def longer(pause: timedelta, lasted: timedelta) -> timedelta:
    """Return the next pause between two tries: twice as long, to a limit.

    The limit grows with what has lasted already, so that weeks are some hundred tries.
    """
    limit = min(max(MAX_RETRY_PAUSE, lasted / 6), LONGEST_RETRY_PAUSE)
    return min(pause * 2, limit)
