"""The time of the Temporal server, which no request returns."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    PollActivityTaskQueueRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

_TASK_QUEUE = "relight-doctor"
"""Nobody starts anything here."""

_POLL = timedelta(seconds=5)
_ASK_EVERY = timedelta(milliseconds=20)


async def clock_difference(client: Client) -> timedelta | None:
    """Return by how much the server's clock is ahead of this computer's; about, as it is asked.

    The server notes when somebody asks for tasks. So this asks for one on a task queue of its own,
    on which there are none, and then when it asked.

    Returns:
        None if the server did not note it.
    """
    queue, identity = TaskQueue(name=_TASK_QUEUE), f"doctor-{uuid.uuid4().hex}"
    poll = PollActivityTaskQueueRequest(
        namespace=client.namespace, task_queue=queue, identity=identity
    )
    describe = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=queue,
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    )
    service, asked_at = client.workflow_service, datetime.now(UTC)
    asking = asyncio.create_task(service.poll_activity_task_queue(poll, timeout=_POLL))
    try:
        while not asking.done():
            for poller in (await service.describe_task_queue(describe)).pollers:
                if poller.identity == identity:
                    return poller.last_access_time.ToDatetime(UTC) - asked_at
            await asyncio.sleep(_ASK_EVERY.total_seconds())
    except RPCError:
        return None
    else:
        return None
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
