"""Verification of one route by command: started, and reported at its end."""

from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy

from relight.domain.base import Origin
from relight.domain.fault.advice import FaultSubject, subject_of
from relight.domain.reconcile.run import (
    RouteToVerify,
    VerifyRoutesInput,
    verify_workflow_id,
)
from relight.domain.route import Route, RouteStatus
from relight.engine import search_attributes
from relight.store.errors import UnknownRouteError
from relight.store.store import Store
from relight.store.threads import in_thread
from starter.cli.errors import OperationFailedError, RefusedError
from starter.cli.fault_text import fault_panel
from starter.cli.known_routes import known_routes
from starter.cli.operations import cli_error, failure_fault, require_worker
from starter.cli.output import note, print_json, print_line, stderr
from starter.cli.waiting import Patience, print_started, within
from workflows.fleet.liveness import VerifyRoutes


async def verify(
    client: Client,
    task_queue: str,
    store: Store,
    route_id: str,
    origin: Origin,
    patience: Patience,
    *,
    as_json: bool,
) -> None:
    """Verify a route through a fresh login.

    Raises:
        UnknownRouteError: there is no such route.
        CliError: it was refused, or was not proven.
    """
    to_verify = _to_verify(await _route(store, route_id))
    await require_worker(client, task_queue)
    note(f"{route_id}: logging in on {to_verify.machine_key}")
    handle = await client.start_workflow(
        VerifyRoutes.run,
        VerifyRoutesInput(routes=(to_verify,), origin=origin),
        id=verify_workflow_id(route_id),
        task_queue=task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=search_attributes.attributes({search_attributes.ROUTE: route_id}),
        static_summary=f"verify {route_id}",
    )
    later = f"relight route show {route_id}"
    if not patience.waits:
        print_started(handle.id, f"the verification of {route_id}", later, as_json=as_json)
        return
    try:
        done = await within(patience, handle.result(), handle.id, later)
    except WorkflowFailureError as error:
        raise cli_error(failure_fault(error), FaultSubject(route_id)) from None
    [verified] = done.routes
    if verified.failed is not None:
        raise OperationFailedError(f"{route_id} was not verified: {verified.failed}")
    if verified.skipped is not None:
        raise RefusedError(f"{route_id} was not verified: {verified.skipped}")
    route = await _route(store, route_id)
    if verified.fault is not None:
        if route.fault is not None and route.fault.kind == verified.fault:
            stderr.print(fault_panel(subject_of(route), route.fault))
        raise OperationFailedError(f"{route_id} was not proven: {verified.fault}")
    if verified.newer_version is not None:
        raise OperationFailedError(
            f"{route_id} was not proven: {to_verify.machine_key} runs {verified.newer_version}, "
            f"which is newer than {to_verify.release_tag} on record, so our records may be old: "
            "`relight store check` compares them"
        )
    if as_json:
        [shown] = (await in_thread(known_routes, store, [route])).as_json()
        print_json(shown)
    else:
        print_line(
            f"{route_id}: proven at {route.current_release_tag} on {to_verify.machine_key}, "
            f"at {route.proven_at:%Y-%m-%d %H:%M:%S} UTC"
        )


async def _route(store: Store, route_id: str) -> Route:
    route = await in_thread(store.routes.get, route_id)
    if route is None:
        raise UnknownRouteError(f"there is no route {route_id}")
    return route


def _to_verify(route: Route) -> RouteToVerify:
    """Return what is verified: the proven release where the route serves, else its target.

    Raises:
        RefusedError: the route has no machine, or no release.
    """
    proven, target = route.current_release_tag, route.target_release_tag
    tag = (proven or target) if route.status is RouteStatus.SERVING else (target or proven)
    if route.machine is None or tag is None:
        lacks = "no machine" if route.machine is None else "no release"
        raise RefusedError(f"route {route.route_id} has {lacks}, so there is nothing to verify")
    return RouteToVerify(route_id=route.route_id, release_tag=tag, machine_key=route.machine.key)
