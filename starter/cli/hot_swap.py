"""Hot swap of one route: started, and reported at its end."""

from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import WorkflowAlreadyStartedError

from relight.domain.fault.advice import FaultSubject
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
from starter.cli.waiting import Patience, print_started, within
from workflows.route.hot_swap import HotSwapRoute


async def hot_swap(
    client: Client,
    task_queue: str,
    input: HotSwapRouteInput,
    patience: Patience,
    *,
    as_json: bool,
) -> None:
    """Bring a route to a release, or back to the last one that it was proven at.

    Raises:
        CliError: it was refused, or was not proven there.
    """
    await require_worker(client, task_queue)
    route_id = input.route_id
    note(f"{route_id}: swapping to {input.release_tag or 'its last proven release'}")
    try:
        handle = await client.start_workflow(
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
    later = f"relight route show {route_id}"
    if not patience.waits:
        print_started(handle.id, f"the swap of {route_id}", later, as_json=as_json)
        return
    try:
        swapped = await within(patience, handle.result(), handle.id, later)
    except WorkflowFailureError as error:
        fault, subject = failure_fault(error), FaultSubject(route_id, input.release_tag)
        # What a host refused has its command, its output and the advice in the panel.
        if not fault.refused or fault.host is not None:
            stderr.print(fault_panel(subject, fault))
        raise cli_error(fault, subject) from None
    if as_json:
        print_json(swapped)
    else:
        print_line(
            f"{route_id}: proven at {swapped.release_tag} on {swapped.machine_key}; "
            f"{swapped.proof.probe}"
        )
