"""Who asks a Temporal server for work."""

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client


async def worker_identities(client: Client, task_queue: str) -> set[str]:
    """Return the identities, `PID@HOST`, that ask for workflows' and for activities' work alike.

    A worker that is gone stays listed for some minutes.
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
