"""Routes on their way up: started, followed step by step, told of at their end."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from rich.live import Live
from rich.table import Table
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from relight.domain.fault import table
from relight.domain.fault.fault import Fault
from relight.domain.names import RouteId, route_workflow_id
from relight.domain.route import ProvisionRouteInput, RouteProvisioned
from relight.engine import search_attributes
from starter.cli.errors import BadInputError, OperationFailedError
from starter.cli.fault_text import fault_panel
from starter.cli.operations import (
    failure_fault,
    refusal,
    require_worker,
)
from starter.cli.output import (
    note,
    open_table,
    print_json,
    print_line,
    stderr,
)
from workflows.route.provision import ProvisionRoute

POLL_EVERY = timedelta(milliseconds=500)

Handle = WorkflowHandle[ProvisionRoute, RouteProvisioned]


class Outcome(NamedTuple):
    """How one route's provisioning ended."""

    route_id: RouteId
    provisioned: RouteProvisioned | None
    fault: Fault | None


async def provision_all(
    client: Client,
    task_queue: str,
    inputs: Sequence[ProvisionRouteInput],
    *,
    wait: bool,
    as_json: bool,
) -> None:
    """Start one workflow a route, and see them to their ends.

    Raises:
        CliError: not every route was started, or proven.
    """
    await require_worker(client, task_queue)
    handles: dict[RouteId, Handle] = {}
    busy: list[Outcome] = []
    for each in inputs:
        try:
            handles[each.route_id] = await _start(client, task_queue, each)
        except WorkflowAlreadyStartedError:
            busy.append(_busy(each.route_id))
    if wait or not handles:
        await _see_to_the_end(handles, busy, as_json=as_json)
        return
    if as_json:
        print_json([{"route_id": route, "workflow_id": handles[route].id} for route in handles])
    else:
        for route_id in handles:
            print_line(f"{route_id} is being provisioned")
        print_line(f"wait for the end with `relight route wait {' '.join(handles)}`")
    _conclude([*(Outcome(route_id, None, None) for route_id in handles), *busy])


async def wait_for(client: Client, route_ids: Sequence[RouteId], *, as_json: bool) -> None:
    """See routes to the end of their provisioning that were started before.

    Raises:
        CliError: one was never provisioned, or not every one was proven.
    """
    handles = {route_id: await _started(client, route_id) for route_id in route_ids}
    await _see_to_the_end(handles, [], as_json=as_json)


async def _started(client: Client, route_id: RouteId) -> Handle:
    handle = client.get_workflow_handle_for(ProvisionRoute.run, route_workflow_id(route_id))
    try:
        description = await handle.describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        msg = f"route {route_id} was never provisioned"
        raise BadInputError(msg) from None
    if description.workflow_type == "ProvisionRoute":
        return client.get_workflow_handle_for(
            ProvisionRoute.run, description.id, run_id=description.run_id
        )
    # A route's workflow id is that of each of its operations: an older one is asked for.
    query = f"WorkflowType = 'ProvisionRoute' AND WorkflowId = '{route_workflow_id(route_id)}'"
    async for execution in client.list_workflows(query, limit=1):
        return client.get_workflow_handle_for(
            ProvisionRoute.run, execution.id, run_id=execution.run_id
        )
    msg = f"route {route_id} was never provisioned"
    raise BadInputError(msg)


async def _see_to_the_end(
    handles: dict[RouteId, Handle], busy: Sequence[Outcome], *, as_json: bool
) -> None:
    outcomes = [*(await _follow(handles)), *busy]
    if as_json:
        print_json([outcome._asdict() for outcome in outcomes])
    _conclude(outcomes)


async def _start(client: Client, task_queue: str, input: ProvisionRouteInput) -> Handle:
    return await client.start_workflow(
        ProvisionRoute.run,
        input,
        id=route_workflow_id(input.route_id),
        task_queue=task_queue,
        search_attributes=search_attributes.attributes(
            {
                search_attributes.ROUTE: input.route_id,
                search_attributes.TRACK: input.track,
                search_attributes.PROVIDER: input.provider,
                search_attributes.REGION: input.region,
            }
        ),
        static_summary=f"provision {input.route_id} at {input.provider}/{input.region}",
    )


def _busy(route_id: RouteId) -> Outcome:
    held = route_workflow_id(route_id)
    text = f"another operation runs on route {route_id}: in the Temporal UI it is {held}"
    busy = table.fault("route-busy", text, "provision")
    # Here nothing was begun: to whoever asked, it is a refusal.
    return Outcome(route_id, None, busy.model_copy(update={"refused": True}))


async def _follow(handles: dict[RouteId, Handle]) -> list[Outcome]:
    ends = {
        asyncio.create_task(_end(route_id, handle)): route_id
        for route_id, handle in handles.items()
    }
    outcomes: dict[RouteId, Outcome] = {}
    pending = set(ends)
    with Live(console=stderr, transient=True, auto_refresh=False) as live:
        while pending:
            if stderr.is_terminal:
                live.update(await _state(handles, outcomes), refresh=True)
            done, pending = await asyncio.wait(
                pending,
                timeout=POLL_EVERY.total_seconds(),
                return_when=asyncio.FIRST_COMPLETED,
            )
            for end in done:
                outcome = end.result()
                outcomes[outcome.route_id] = outcome
                note(_line(outcome))
    return [outcomes[route_id] for route_id in handles]


async def _end(route_id: RouteId, handle: Handle) -> Outcome:
    try:
        return Outcome(route_id, await handle.result(), None)
    except WorkflowFailureError as error:
        return Outcome(route_id, None, failure_fault(error))


def _line(outcome: Outcome) -> str:
    if (made := outcome.provisioned) is not None:
        return (
            f"{outcome.route_id}: proven at {made.release_tag} on {made.machine.key} "
            f"({made.machine.address}); {made.proof.probe}"
        )
    return f"{outcome.route_id}: not provisioned"


async def _state(handles: dict[RouteId, Handle], outcomes: dict[RouteId, Outcome]) -> Table:
    table = open_table("route", "step")
    for route_id, handle in handles.items():
        if (outcome := outcomes.get(route_id)) is not None:
            table.add_row(route_id, "proven" if outcome.provisioned else "failed")
        else:
            table.add_row(route_id, await _step_under_way(handle))
    return table


async def _step_under_way(handle: Handle) -> str:
    description = await handle.describe()
    steps = [
        pending.activity_type.name for pending in description.raw_description.pending_activities
    ]
    return ", ".join(steps).replace("_", " ") or "..."


def _conclude(outcomes: Sequence[Outcome]) -> None:
    faults = [(outcome.route_id, outcome.fault) for outcome in outcomes if outcome.fault]
    if not faults:
        return
    if len(faults) == len(outcomes) and all(fault.refused for _, fault in faults):
        raise refusal([fault for _, fault in faults])
    for route_id, fault in faults:
        stderr.print(fault_panel(f"route {route_id}", fault))
    msg = f"{len(faults)} of {len(outcomes)} routes were not provisioned"
    raise OperationFailedError(msg)
