"""What is done on routes of a rollout now, as their operations report it to Temporal."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, timedelta

from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from relight.domain.names import RouteId, route_workflow_id
from relight.domain.text import head
from starter.cli.rollout_view import RouteStep

_INSTALLS = "running"
"""Start of the heartbeat of a swap while the host changes the package: `running: COMMAND`."""

MAX_CHILD_BYTES = 120


async def steps_of(
    client: Client, rollout_id: str, route_ids: Iterable[RouteId], timeout: timedelta
) -> Mapping[RouteId, RouteStep]:
    """Return the current step on each of these routes; a route whose step is unknown is left out.

    Args:
        client: of Temporal.
        rollout_id: the workflow id of the rollout.
        route_ids: the routes, one request each.
        timeout: of a request.
    """
    ids = list(route_ids)
    steps = await asyncio.gather(
        *(_step_of(client, rollout_id, route_id, timeout) for route_id in ids)
    )
    return {route_id: step for route_id, step in zip(ids, steps, strict=True) if step}


def is_started_by(parent_id: str | None, rollout_id: str) -> bool:
    """Return whether the parent of an operation is a rollout, or a wave of it."""
    return parent_id is not None and (
        parent_id == rollout_id or parent_id.startswith(f"{rollout_id}/")
    )


async def _step_of(
    client: Client, rollout_id: str, route_id: RouteId, timeout: timedelta
) -> RouteStep | None:
    handle = client.get_workflow_handle(route_workflow_id(route_id))
    try:
        operation = await handle.describe(rpc_timeout=timeout)
    except RPCError:
        return None
    if operation.status is not WorkflowExecutionStatus.RUNNING:
        return None
    if not is_started_by(operation.parent_id, rollout_id):
        return RouteStep(f"waits for {operation.workflow_type}", operation.start_time)
    pending = operation.raw_description.pending_activities
    return await _reported(client, pending[0]) if pending else None


async def _reported(client: Client, pending: PendingActivityInfo) -> RouteStep:
    """Return the step that an activity of an operation reports."""
    beats = await client.data_converter.decode(pending.heartbeat_details.payloads)
    text = step_text(pending.activity_type.name, str(beats[0]) if beats else "")
    if pending.attempt > 1:
        text = f"{text}, attempt {pending.attempt}"
    began = pending.last_started_time
    since = began.ToDatetime(tzinfo=UTC) if pending.HasField("last_started_time") else None
    return RouteStep(text, since)


def step_text(activity: str, beat: str) -> str:
    """Return a step in words.

    Args:
        activity: its name, as in `swap_route`.
        beat: its last heartbeat; empty before the first.
    """
    match activity, beat:
        case (("swap_route" | "swap_release"), ""):
            return "connecting"
        case (("swap_route" | "swap_release"), beat) if beat.partition(": ")[0] == _INSTALLS:
            child = beat.partition(": ")[2]
            return f"installing, runs {head(child, MAX_CHILD_BYTES)}" if child else "installing"
        case (("swap_route" | "swap_release" | "prove_release"), _):
            return f"proving, {beat}" if beat else "proving"
        case _:
            return activity.replace("_", " ")
