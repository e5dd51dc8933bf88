"""Another machine for a route: started, shown while it goes on, seen to its end."""

import asyncio
from datetime import timedelta

from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import WorkflowAlreadyStartedError

from relight.domain.names import route_workflow_id
from relight.domain.replacement import AutoreplaceRouteInput, RouteReplaced
from relight.engine import search_attributes
from starter.cli.errors import RefusedError
from starter.cli.fault_text import fault_panel
from starter.cli.operations import (
    cli_error,
    failure_fault,
    require_worker,
)
from starter.cli.output import (
    note,
    print_json,
    print_line,
    stderr,
)
from workflows.route.replace import AutoreplaceRoute

_DETAILS = "__temporal_workflow_metadata"
"""The query that every workflow answers, with what it shows of itself."""

POLL_EVERY = timedelta(seconds=1)


async def replace(
    client: Client, task_queue: str, asked: AutoreplaceRouteInput, *, as_json: bool
) -> None:
    """Give a route another machine, and wait until the old one is gone.

    Raises:
        CliError: it was refused, or came to nothing.
    """
    await require_worker(client, task_queue)
    route_id = asked.route_id
    try:
        handle = await client.start_workflow(
            AutoreplaceRoute.run,
            asked,
            id=route_workflow_id(route_id),
            task_queue=task_queue,
            search_attributes=search_attributes.attributes({search_attributes.ROUTE: route_id}),
            static_summary=f"replace the machine of {route_id}",
        )
    except WorkflowAlreadyStartedError:
        held = route_workflow_id(route_id)
        msg = f"another operation runs on route {route_id}: in the Temporal UI it is {held}"
        raise RefusedError(msg) from None
    try:
        replaced = await _followed(route_id, handle)
    except WorkflowFailureError as error:
        fault = failure_fault(error)
        if not fault.refused:
            stderr.print(fault_panel(f"route {route_id}", fault))
        raise cli_error(fault) from None
    if as_json:
        print_json(replaced)
        return
    whence = "from the pool" if replaced.from_pool else "made for it"
    print_line(
        f"{route_id}: proven at {replaced.release_tag} on {replaced.machine.key}, {whence}; "
        f"{replaced.previous_machine_key or 'no machine'} is gone"
    )


async def _followed(
    route_id: str, handle: WorkflowHandle[AutoreplaceRoute, RouteReplaced]
) -> RouteReplaced:
    """Return how it ended, and say meanwhile what it is at."""
    ending = asyncio.create_task(handle.result())
    said = ""
    while not ending.done():
        await asyncio.wait([ending], timeout=POLL_EVERY.total_seconds())
        at = await _step_under_way(handle)
        if not ending.done() and at != said:
            note(f"{route_id}: {at}")
            said = at
    return await ending


async def _step_under_way(handle: WorkflowHandle[AutoreplaceRoute, RouteReplaced]) -> str:
    described = await handle.describe()
    steps = [each.activity_type.name for each in described.raw_description.pending_activities]
    if steps:
        return ", ".join(steps).replace("_", " ")
    metadata = await handle.query(_DETAILS, result_type=WorkflowMetadata)
    return metadata.current_details or "..."
