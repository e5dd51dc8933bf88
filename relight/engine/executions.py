"""Direct questions to the Temporal server: which workflows run, and which workers poll.

Listings of workflows lag behind by a moment; these answers do not.
"""

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
)
from temporalio.service import RPCError, RPCStatusCode


async def is_running(temporal: Client, workflow_id: str, run_id: str | None = None) -> bool:
    """Return whether a workflow is running; False where it does not exist.

    Args:
        temporal: the Temporal client.
        workflow_id: the workflow.
        run_id: ask for this run only, or for what it has continued as.
    """
    try:
        description = await temporal.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    if description.status is not WorkflowExecutionStatus.RUNNING:
        return False
    return run_id is None or run_id in {description.run_id, first_run_id(description)}


def first_run_id(description: WorkflowExecutionDescription) -> str:
    """Return the id of the run that this one has continued from; its own, if it is the first."""
    info = description.raw_description.workflow_execution_info
    return info.first_run_id or description.run_id


async def worker_identities(client: Client, task_queue: str) -> set[str]:
    """Return the identities, `PID@HOST`, that poll both for workflow and for activity tasks.

    A stopped worker stays listed for some minutes.
    """
    workflows, activities = [
        {
            poller.identity
            for poller in (
                await client.workflow_service.describe_task_queue(
                    DescribeTaskQueueRequest(
                        namespace=client.namespace,
                        task_queue=TaskQueue(name=task_queue),
                        task_queue_type=kind,
                    )
                )
            ).pollers
        }
        for kind in (
            TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        )
    ]
    return workflows & activities
