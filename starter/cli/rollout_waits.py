"""What holds up the routes of a rollout: other operations on them, and what those wait for."""

import asyncio

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from relight.domain.names import RouteId, route_workflow_id
from relight.domain.rollout.rollout import RolloutStatus, RouteProgress
from starter.cli.operations import current_details
from starter.cli.rollout_steps import is_started_by

_IN_PROGRESS = frozenset(
    {
        RouteProgress.SWAPPING,
        RouteProgress.REPLACING,
        RouteProgress.PROVING,
        RouteProgress.ROLLING_BACK,
    }
)

_MAX_ROUTES = 20
"""Requests for one command. What holds up more routes is mostly the same."""


async def waits_of(client: Client, workflow_id: str, status: RolloutStatus) -> tuple[str, ...]:
    """Return why routes in progress are not: one sentence for each that another operation has.

    Args:
        client: the Temporal client.
        workflow_id: of the rollout.
        status: of the rollout.
    """
    in_progress = [each.route_id for each in status.routes if each.progress in _IN_PROGRESS]
    found = await asyncio.gather(
        *(_wait_of(client, workflow_id, route_id) for route_id in in_progress[:_MAX_ROUTES])
    )
    return tuple(each for each in found if each is not None)


async def _wait_of(client: Client, workflow_id: str, route_id: RouteId) -> str | None:
    handle = client.get_workflow_handle(route_workflow_id(route_id))
    try:
        operation = await handle.describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return None
    ours = is_started_by(operation.parent_id, workflow_id)
    if operation.status is not WorkflowExecutionStatus.RUNNING or ours:
        return None
    try:
        details = " ".join((await current_details(handle)).split())
    except RPCError:
        details = "no worker answers"
    return f"route {route_id} waits for {operation.workflow_type}: {details or 'it is running'}"
