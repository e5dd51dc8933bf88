"""Direct questions to the Temporal server: which workflows run, and which workers poll.

Listings of workflows lag behind by a moment; these answers do not.
"""

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode


async def is_running(temporal: Client, workflow_id: str, run_id: str | None = None) -> bool:
    """Return whether a workflow, or one run of it, is running; False where it does not exist."""
    try:
        description = await temporal.get_workflow_handle(workflow_id, run_id=run_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return description.status is WorkflowExecutionStatus.RUNNING


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
