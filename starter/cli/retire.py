"""Retirement of a route: started, and reported once its machines are being removed."""

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import WorkflowAlreadyStartedError

from relight.domain.fault.advice import FaultSubject
from relight.domain.names import route_workflow_id
from relight.domain.route import RetireRouteInput, RouteRetired
from relight.engine import search_attributes
from starter.cli.errors import RefusedError
from starter.cli.operations import (
    busy_text,
    cli_error,
    failure_fault,
    require_worker,
)
from starter.cli.output import print_json, print_line
from starter.cli.route_table import removal_text
from starter.cli.waiting import Patience, print_started, within
from workflows.route.retire import RetireRoute


async def retire(
    client: Client, task_queue: str, input: RetireRouteInput, patience: Patience, *, as_json: bool
) -> None:
    """Retire a route.

    Raises:
        CliError: it was refused.
    """
    await require_worker(client, task_queue)
    route_id = input.route_id
    handle = await start_retirement(client, task_queue, input)
    later = f"relight route show {route_id}"
    if not patience.waits:
        print_started(handle.id, f"the retirement of {route_id}", later, as_json=as_json)
        return
    try:
        retired = await within(patience, handle.result(), handle.id, later)
    except WorkflowFailureError as error:
        raise cli_error(failure_fault(error), FaultSubject(route_id)) from None
    if as_json:
        print_json(retired)
        return
    print_line(f"{route_id} is retired; its history stays")
    for machine in retired.machines:
        print_line(removal_text(machine.key))


async def start_retirement(
    client: Client, task_queue: str, input: RetireRouteInput
) -> WorkflowHandle[RetireRoute, RouteRetired]:
    """Start the retirement of a route.

    Raises:
        RefusedError: another operation on the route runs.
    """
    route_id = input.route_id
    try:
        return await client.start_workflow(
            RetireRoute.run,
            input,
            id=route_workflow_id(route_id),
            task_queue=task_queue,
            search_attributes=search_attributes.attributes({search_attributes.ROUTE: route_id}),
            static_summary=f"retire {route_id}",
        )
    except WorkflowAlreadyStartedError:
        raise RefusedError(busy_text(route_id)) from None
