"""On whose behalf an activity writes."""

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
