"""Results of workflows, awaited with a time limit."""

import asyncio
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.client import WorkflowHandle

from relight.domain.duration import span
from starter.cli.operations import running_activities

Result = TypeVar("Result")

RESULT_WITHIN = timedelta(minutes=4)
"""Shorter than the time limit of pytest-timeout, which raises its error in whatever runs at that
moment: if that is another task of the event loop, that task ends, and the test waits on."""


async def result_within(
    handle: WorkflowHandle[Any, Result], within: timedelta = RESULT_WITHIN
) -> Result:
    """Return the result of a workflow; fail with what it waits for if it does not end."""
    try:
        async with asyncio.timeout(within.total_seconds()):
            return await handle.result()
    except TimeoutError:
        async with asyncio.timeout(10):
            activities = await running_activities(handle)
        waits_for = activities or "no activity: a worker has to take its next task"
        msg = f"{handle.id} has not ended after {span(within)}; it waits for {waits_for}"
        raise AssertionError(msg) from None
