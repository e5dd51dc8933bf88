"""Signals to workflows that may have ended in this very moment."""

from collections.abc import Awaitable

from temporalio.exceptions import ApplicationError

_GONE = "ExternalWorkflowExecutionNotFound"


async def unless_gone(signal: Awaitable[None]) -> None:
    """Await a signal's delivery; one to a workflow that has ended needs none."""
    try:
        await signal
    except ApplicationError as error:
        if error.type != _GONE:
            raise
