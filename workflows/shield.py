"""Work that must finish, although the workflow is cancelled or steps fail."""

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

FIRST_PAUSE, MAX_PAUSE = timedelta(seconds=10), timedelta(minutes=5)
"""Pauses between attempts without limit. Each is twice as long as the one before. An attempt and
its pause are some 11 events of the workflow's history, so a day of them stays below 3,500."""


@contextmanager
def shielding() -> Iterator[None]:
    """Run the steps of this block to completion, shielded from cancellation."""
    token = shielded.set(True)
    try:
        yield
    finally:
        shielded.reset(token)


async def run_shielded(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to completion, shielded from cancellation, and return the result."""
    with shielding():
        running = asyncio.create_task(work)
    with suppress(asyncio.CancelledError):
        return await asyncio.shield(running)
    return await running


async def run_unless_cancelled_before(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a step, and return its result even if the workflow is cancelled when it has succeeded.

    A cancellation that comes earlier is passed on to the step, which may still succeed.

    Raises:
        FailureError: it failed, or it was cancelled.
    """
    with shielding():
        running = asyncio.create_task(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        # The result may come together with the cancellation. Conditions are checked when all that
        # has come is processed.
        await workflow.wait_condition(lambda: True)
        running.cancel()
        return await running


async def retry_until_done(step: Step[Input, Output, Any], input: Input) -> Output:
    """Run a step until it succeeds."""
    for pause in growing_pauses():
        try:
            return await step(input)
        except FailureError as error:
            workflow.logger.error("retried: %s", fault_of(error).summary)
        await workflow.sleep(pause, summary="pause before the next attempt")
    raise AssertionError  # Unreachable: the pauses never end.


def growing_pauses() -> Iterator[timedelta]:
    """Yield the pause after each failed attempt, without limit."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, MAX_PAUSE)
