"""What must finish: work without a way back, whatever is cancelled or fails meanwhile."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import FailureError

from relight.engine.step import Input, Output, Step, shielded
from workflows.failures import fault_of

Result = TypeVar("Result")

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(minutes=5)
"""Between attempts that have no end; each pause is twice as long as the one before."""


@contextmanager
def shielding() -> Iterator[None]:
    """Keep the steps of this block from being cut short by a cancellation."""
    token = shielded.set(True)
    try:
        yield
    finally:
        shielded.reset(token)


async def run_shielded(work: Coroutine[Any, Any, Result]) -> Result:
    """Run work without a way back to its end; a cancellation that comes meanwhile is ignored."""
    with shielding():
        running = asyncio.create_task(work)
    with suppress(asyncio.CancelledError):
        return await asyncio.shield(running)
    return await running


async def retry_until_done(step: Step[Input, Output, Any], input: Input) -> Output:
    """Run a step without a way back until it succeeds."""
    for pause in growing_pauses():
        try:
            return await step(input)
        except FailureError as error:
            workflow.logger.error("retried: %s", fault_of(error).summary)
        await workflow.sleep(pause, summary="until the next attempt")
    raise AssertionError  # The pauses have no end.


def growing_pauses() -> Iterator[timedelta]:
    """Yield the pause after each failed attempt, without an end."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)
