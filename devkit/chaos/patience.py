"""An operation that is begun once and awaited to its end, whatever dies meanwhile."""

import asyncio
from datetime import timedelta
from typing import Any

from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from devkit.chaos.world import World

AWAY = timedelta(milliseconds=200)


async def run_once(world: World, workflow: Any, asked: object, workflow_id: str) -> Any:
    """Start a workflow, unless that was done and the answer was lost, and return its result.

    Raises:
        WorkflowFailureError: it failed.
    """
    started = False
    while True:
        try:
            assert world.client is not None
            if not started:
                await world.client.start_workflow(
                    workflow, asked, id=workflow_id, task_queue=world.settings.task_queue
                )
                started = True
            return await world.client.get_workflow_handle_for(workflow, workflow_id).result()
        except WorkflowAlreadyStartedError:
            started = True  # the answer to our start was lost
        except (RPCError, RuntimeError):  # the server is being killed; a client of the one before
            await asyncio.sleep(AWAY.total_seconds())
