"""Provisioning of routes: started, followed step by step, reported at its end."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from rich.table import Table
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from relight.domain.fault import table
from relight.domain.fault.advice import FaultSubject
from relight.domain.fault.fault import Fault
from relight.domain.names import RouteId, route_workflow_id
from relight.domain.route import ProvisionRouteInput, RouteProvisioned
from relight.engine import search_attributes
from starter.cli.errors import BadInputError, OperationFailedError
from starter.cli.fault_text import fault_panel
from starter.cli.operations import (
    busy_text,
    failure_fault,
    refusal,
    require_worker,
    running_activities,
)
from starter.cli.output import (
    live_view,
    note,
    open_table,
    print_json,
    print_line,
    stderr,
)
from starter.cli.waiting import Patience, within
from workflows.route.provision import ProvisionRoute

POLL_EVERY = timedelta(milliseconds=500)

Handle = WorkflowHandle[ProvisionRoute, RouteProvisioned]


class Outcome(NamedTuple):
    """The result of one route's provisioning: the route as provisioned, or a fault.

    Both are None for a workflow that was started and is not waited for.
    """

    route_id: RouteId
    provisioned: RouteProvisioned | None
    fault: Fault | None


async def provision_all(
    client: Client,
    task_queue: str,
    inputs: Sequence[ProvisionRouteInput],
    patience: Patience,
    *,
    as_json: bool,
) -> None:
    """Start one workflow per route, and wait for the results if that is wanted.

    Raises:
        CliError: not every route was started, or of those waited for, proven.
    """
    await require_worker(client, task_queue)
    handles: dict[RouteId, Handle] = {}
    busy: list[Outcome] = []
    for each in inputs:
        try:
            handles[each.route_id] = await start_provisioning(client, task_queue, each)
        except WorkflowAlreadyStartedError:
            busy.append(_busy(each.route_id))
    if patience.waits or not handles:
        await _report_results(handles, busy, patience, as_json=as_json)
        return
    if as_json:
        print_json([{"route_id": route, "workflow_id": handles[route].id} for route in handles])
    else:
        for route_id in handles:
            print_line(f"{route_id} is being provisioned")
        print_line(f"wait for the result with `relight route wait {' '.join(handles)}`")
    _raise_faults([*(Outcome(route_id, None, None) for route_id in handles), *busy])


async def wait_for(
    client: Client, route_ids: Sequence[RouteId], patience: Patience, *, as_json: bool
) -> None:
    """Wait for the provisioning of routes that was started before.

    Raises:
        CliError: a route was never provisioned, or not every route was proven.
    """
    handles = {route_id: await _newest(client, route_id) for route_id in route_ids}
    await _report_results(handles, [], patience, as_json=as_json)


async def start_provisioning(client: Client, task_queue: str, input: ProvisionRouteInput) -> Handle:
    """Start the provisioning of one route.

    Raises:
        WorkflowAlreadyStartedError: another operation on the route runs.
    """
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


async def _newest(client: Client, route_id: RouteId) -> Handle:
    """Return the newest provisioning of a route."""
    workflow_id = route_workflow_id(route_id)
    handle = client.get_workflow_handle_for(ProvisionRoute.run, workflow_id)
    try:
        description = await handle.describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise _never_provisioned(route_id) from None
    if description.workflow_type == "ProvisionRoute":
        return client.get_workflow_handle_for(
            ProvisionRoute.run, description.id, run_id=description.run_id
        )
    # All operations on a route have the same workflow id: find the newest of this type.
    query = f"WorkflowType = 'ProvisionRoute' AND WorkflowId = '{workflow_id}'"
    async for execution in client.list_workflows(query, limit=1):
        return client.get_workflow_handle_for(
            ProvisionRoute.run, execution.id, run_id=execution.run_id
        )
    raise _never_provisioned(route_id)


def _never_provisioned(route_id: RouteId) -> BadInputError:
    return BadInputError(f"route {route_id} was never provisioned")


def _busy(route_id: RouteId) -> Outcome:
    busy = table.fault("route-busy", busy_text(route_id), "provision")
    # Nothing was started, so for the requester it is a refusal.
    return Outcome(route_id, None, busy.model_copy(update={"refused": True}))


async def _report_results(
    handles: dict[RouteId, Handle], busy: Sequence[Outcome], patience: Patience, *, as_json: bool
) -> None:
    later = f"relight route wait {' '.join(handles)}"
    followed = await within(patience, _follow(handles), "provisioning", later)
    outcomes = [*followed, *busy]
    if as_json:
        print_json([outcome._asdict() for outcome in outcomes])
    _raise_faults(outcomes)


async def _follow(handles: dict[RouteId, Handle]) -> list[Outcome]:
    pending = {
        asyncio.create_task(_result(route_id, handle)) for route_id, handle in handles.items()
    }
    outcomes: dict[RouteId, Outcome] = {}
    try:
        with live_view() as live:
            while pending:
                if live is not None:
                    live.update(await _progress_table(handles, outcomes), refresh=True)
                done, pending = await asyncio.wait(
                    pending,
                    timeout=POLL_EVERY.total_seconds(),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for each in done:
                    outcome = each.result()
                    outcomes[outcome.route_id] = outcome
                    note(_outcome_text(outcome))
    finally:
        for each in pending:
            each.cancel()
    return [outcomes[route_id] for route_id in handles]


async def _result(route_id: RouteId, handle: Handle) -> Outcome:
    try:
        return Outcome(route_id, await handle.result(), None)
    except WorkflowFailureError as error:
        return Outcome(route_id, None, failure_fault(error))


def _outcome_text(outcome: Outcome) -> str:
    if (provisioned := outcome.provisioned) is not None:
        instead = ""
        if provisioned.instead_of is not None:
            instead = f"; not at {provisioned.instead_of}: {provisioned.instead_reason}"
        return (
            f"{outcome.route_id}: proven at {provisioned.release_tag} on "
            f"{provisioned.machine.key} ({provisioned.machine.address}); {provisioned.proof.probe}"
            f"{instead}"
        )
    return f"{outcome.route_id}: not provisioned"


async def _progress_table(
    handles: dict[RouteId, Handle], outcomes: dict[RouteId, Outcome]
) -> Table:
    progress = open_table("route", "step")
    for route_id, handle in handles.items():
        if (outcome := outcomes.get(route_id)) is not None:
            progress.add_row(route_id, "proven" if outcome.provisioned else "failed")
        else:
            progress.add_row(route_id, await running_activities(handle) or "...")
    return progress


def _raise_faults(outcomes: Sequence[Outcome]) -> None:
    faults = [(outcome.route_id, outcome.fault) for outcome in outcomes if outcome.fault]
    if not faults:
        return
    if len(faults) == len(outcomes) and all(fault.refused for _, fault in faults):
        raise refusal([fault for _, fault in faults])
    for route_id, fault in faults:
        stderr.print(fault_panel(FaultSubject(route_id), fault))
    msg = f"{len(faults)} of {len(outcomes)} routes were not provisioned"
    raise OperationFailedError(msg)
