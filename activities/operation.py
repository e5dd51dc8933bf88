"""On whose behalf an activity writes."""

from dataclasses import replace

from temporalio import activity

from relight.domain.base import Origin
from relight.store.write import Operation


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


def current_run_id() -> str:
    """Return the run of the workflow that the running activity works for; empty outside of one."""
    return activity.info().workflow_run_id or ""
