"""Workflows that a test or a walk has left."""

from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode


async def terminate(handle: WorkflowHandle[Any, Any]) -> None:
    """Terminate a workflow, which may have ended already, or never have been started."""
    try:
        await handle.terminate("what started it has ended")
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
