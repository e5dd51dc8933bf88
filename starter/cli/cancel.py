"""Cancellation of an operation, as on a route: requested, and reported at its end."""

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from temporalio.service import RPCError, RPCStatusCode

from relight.domain.names import RouteId, route_workflow_id
from relight.store.events import Operation
from relight.store.store import Store
from starter.cli.errors import RefusedError
from starter.cli.operations import failure_fault
from starter.cli.output import note, print_json, print_line
from starter.cli.waiting import Patience, print_started, within

DEFAULT_PATIENCE = Patience()

OPERATION_CANCELLED = "operation-cancelled"
"""The event of a person who cancels an operation. What that changed is in the events after it."""


async def cancel(
    client: Client,
    store: Store,
    route_id: RouteId,
    operation: Operation,
    patience: Patience = DEFAULT_PATIENCE,
    *,
    only: str | None = None,
    as_json: bool,
) -> None:
    """Cancel the operation on a route, and wait until it has ended and undone what it can.

    Args:
        client: the Temporal client.
        store: receives the event.
        route_id: the route.
        operation: who cancels, and why.
        patience: how long its end is waited for.
        only: the workflow type to cancel; None for any.
        as_json: print JSON.

    Raises:
        RefusedError: no such operation runs.
    """
    description = await running_workflow(client, route_workflow_id(route_id))
    if description is None or only not in (None, description.workflow_type):
        what = "operation" if only is None else only
        msg = f"no {what} runs on route {route_id}: see `relight route show {route_id}`"
        raise RefusedError(msg)
    name = description.workflow_type
    store.events.append(
        OPERATION_CANCELLED,
        operation,
        route_id=route_id,
        detail={"operation": name, "run_id": description.run_id},
    )
    note(f"{route_id}: {name} is told to end; a running change on the host is stopped first")
    what, later = f"{name} on {route_id}", f"relight route show {route_id}"
    ended = await cancel_run(client, description, what, later, patience, as_json=as_json)
    if ended is None:
        return
    if as_json:
        print_json({"route_id": route_id, "operation": name, "ended": ended})
    elif ended == "completed":
        print_line(f"{route_id}: {name} was past the point of no return, and has completed")
    else:
        print_line(f"{route_id}: {name} has ended: {ended}. See `relight route show {route_id}`")


async def cancel_run(
    client: Client,
    description: WorkflowExecutionDescription,
    what: str,
    later: str,
    patience: Patience,
    *,
    as_json: bool,
) -> str | None:
    """Cancel a run, and wait until it has ended.

    Args:
        client: the Temporal client.
        description: of the run.
        what: names it, for people.
        later: the command that shows its end.
        patience: how long that is waited for.
        as_json: print JSON if it is not waited for.

    Returns:
        `completed` if it was completed all the same, else the kind of the fault that it ended with;
        None if its end is not waited for.
    """
    # The run is named: a later operation must not be cancelled.
    handle = client.get_workflow_handle(description.id, run_id=description.run_id)
    await handle.cancel()
    if not patience.waits:
        print_started(handle.id, f"the end of {what}", later, as_json=as_json)
        return None
    try:
        await within(patience, handle.result(follow_runs=False), handle.id, later)
    except WorkflowFailureError as error:
        return failure_fault(error).kind
    return "completed"


async def running_workflow(client: Client, workflow_id: str) -> WorkflowExecutionDescription | None:
    """Return the workflow that runs under an id, which is a lock; None if there is none."""
    try:
        description = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return None
    return description if description.status is WorkflowExecutionStatus.RUNNING else None
