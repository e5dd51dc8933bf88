"""Rollback of one route to its previous release: started, and reported at its end."""

from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import WorkflowAlreadyStartedError

from relight.domain.base import Origin
from relight.domain.names import RouteId, route_workflow_id
from relight.domain.route import HotSwapRouteInput
from relight.engine import search_attributes
from starter.cli.errors import RefusedError
from starter.cli.fault_text import fault_panel
from starter.cli.operations import (
    busy_text,
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
from workflows.route.hot_swap import HotSwapRoute


async def roll_back(
    client: Client, task_queue: str, route_id: RouteId, origin: Origin, *, as_json: bool
) -> None:
    """Bring a route back to the last release that it was proven at before its target.

    Raises:
        CliError: it was refused, or was not proven there.
    """
    await require_worker(client, task_queue)
    note(f"{route_id}: rolling back to the previous release")
    try:
        swapped = await client.execute_workflow(
            HotSwapRoute.run,
            HotSwapRouteInput(route_id=route_id, release_tag=None, origin=origin),
            id=route_workflow_id(route_id),
            task_queue=task_queue,
            search_attributes=search_attributes.attributes({search_attributes.ROUTE: route_id}),
            static_summary=f"roll {route_id} back",
        )
    except WorkflowAlreadyStartedError:
        raise RefusedError(busy_text(route_id)) from None
    except WorkflowFailureError as error:
        fault = failure_fault(error)
        if not fault.refused:
            stderr.print(fault_panel(f"route {route_id}", fault))
        raise cli_error(fault) from None
    if as_json:
        print_json(swapped)
    else:
        print_line(
            f"{route_id}: proven at {swapped.release_tag} on {swapped.machine_key}; "
            f"{swapped.proof.probe}"
        )
