"""Replacement of a route's machine: started, followed step by step, reported at its end."""

import asyncio
from datetime import timedelta

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import WorkflowAlreadyStartedError

from relight.domain.fault.advice import FaultSubject
from relight.domain.names import RouteId, route_workflow_id
from relight.domain.replacement import AutoreplaceRouteInput, RouteReplaced
from relight.engine import search_attributes
from starter.cli.errors import RefusedError
from starter.cli.fault_text import fault_panel
from starter.cli.operations import (
    busy_text,
    cli_error,
    current_details,
    failure_fault,
    require_worker,
    running_activities,
)
from starter.cli.output import (
    note,
    print_json,
    print_line,
    stderr,
)
from starter.cli.route_table import removal_text
from starter.cli.waiting import Patience, print_started, within
from workflows.route.replace import AutoreplaceRoute

POLL_EVERY = timedelta(seconds=1)


async def replace(
    client: Client,
    task_queue: str,
    input: AutoreplaceRouteInput,
    patience: Patience,
    *,
    as_json: bool,
) -> None:
    """Replace a route's machine, and wait until the new one serves.

    Raises:
        CliError: it was refused, or failed.
    """
    await require_worker(client, task_queue)
    route_id = input.route_id
    try:
        handle = await client.start_workflow(
            AutoreplaceRoute.run,
            input,
            id=route_workflow_id(route_id),
            task_queue=task_queue,
            search_attributes=search_attributes.attributes({search_attributes.ROUTE: route_id}),
            static_summary=f"replace the machine of {route_id}",
        )
    except WorkflowAlreadyStartedError:
        raise RefusedError(busy_text(route_id)) from None
    later = f"relight route show {route_id}"
    if not patience.waits:
        print_started(handle.id, f"the replacement of {route_id}", later, as_json=as_json)
        return
    try:
        replaced = await within(patience, _follow(route_id, handle), handle.id, later)
    except WorkflowFailureError as error:
        fault, subject = failure_fault(error), FaultSubject(route_id)
        if not fault.refused:
            stderr.print(fault_panel(subject, fault))
        raise cli_error(fault, subject) from None
    if as_json:
        print_json(replaced)
        return
    source = "from the pool" if replaced.from_pool else "newly created"
    print_line(f"{route_id}: proven at {replaced.release_tag} on {replaced.machine.key}, {source}")
    if replaced.instead_of is not None:
        print_line(f"not at {replaced.instead_of}: {replaced.instead_reason}")
    if replaced.previous_machine_key is not None:
        print_line(removal_text(replaced.previous_machine_key))


async def _follow(
    route_id: RouteId, handle: WorkflowHandle[AutoreplaceRoute, RouteReplaced]
) -> RouteReplaced:
    """Return the result; until then, print each step that the workflow reaches."""
    result = asyncio.create_task(handle.result())
    shown = ""
    try:
        while not result.done():
            await asyncio.wait([result], timeout=POLL_EVERY.total_seconds())
            step = await _step(handle)
            if not result.done() and step != shown:
                note(f"{route_id}: {step}")
                shown = step
        return await result
    finally:
        result.cancel()


async def _step(handle: WorkflowHandle[AutoreplaceRoute, RouteReplaced]) -> str:
    if activities := await running_activities(handle):
        return activities
    return await current_details(handle) or "..."
