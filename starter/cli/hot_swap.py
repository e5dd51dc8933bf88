"""Hot swap of one route: started, and reported at its end."""

from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import WorkflowAlreadyStartedError

from relight.domain.names import route_workflow_id
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


async def hot_swap(
    client: Client, task_queue: str, input: HotSwapRouteInput, *, as_json: bool
) -> None:
    """Bring a route to a release, or back to the last one that it was proven at.

    Raises:
        CliError: it was refused, or was not proven there.
    """
    await require_worker(client, task_queue)
    route_id = input.route_id
    note(f"{route_id}: swapping to {input.release_tag or 'its last proven release'}")
    try:
        swapped = await client.execute_workflow(
            HotSwapRoute.run,
            input,
            id=route_workflow_id(route_id),
            task_queue=task_queue,
            search_attributes=search_attributes.attributes({search_attributes.ROUTE: route_id}),
            static_summary=(
                f"swap {route_id} to {input.release_tag}"
                if input.release_tag
                else f"roll {route_id} back"
            ),
        )
    except WorkflowAlreadyStartedError:
        raise RefusedError(busy_text(route_id)) from None
    except WorkflowFailureError as error:
        fault = failure_fault(error)
        # What a host refused has its command, its output and the advice in the panel.
        if not fault.refused or fault.host is not None:
            stderr.print(fault_panel(f"route {route_id}", fault))
        raise cli_error(fault) from None
    if as_json:
        print_json(swapped)
    else:
        print_line(
            f"{route_id}: proven at {swapped.release_tag} on {swapped.machine_key}; "
            f"{swapped.proof.probe}"
        )
