"""What the engine knows of a workflow, without the delay of its lists."""

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode


async def is_under_way(temporal: Client, workflow_id: str, run_id: str | None = None) -> bool:
    """Say whether a workflow, or one run of it, is under way; one that never was, is not."""
    try:
        description = await temporal.get_workflow_handle(workflow_id, run_id=run_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return description.status is WorkflowExecutionStatus.RUNNING
