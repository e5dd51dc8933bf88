"""On whose behalf an activity writes."""

from dataclasses import replace

from temporalio import activity

from fleet.operation import Operation
from messages.base import Origin


def current_operation(origin: Origin) -> Operation:
    """Return the operation of the activity that runs, whose retries write the same once."""
    info = activity.info()
    return Operation(
        origin=origin,
        workflow_id=info.workflow_id or "",
        run_id=info.workflow_run_id or "",
        activity_id=info.activity_id,
    )


def current_attempt(origin: Origin) -> Operation:
    """Return the operation of this attempt alone: each attempt writes, and writes once."""
    info, operation = activity.info(), current_operation(origin)
    return replace(operation, activity_id=f"{operation.activity_id}/{info.attempt}")
