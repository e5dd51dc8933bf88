"""Repeated replacements of a route's machine; each result is compared with provider and host.

Reconcile runs take place at the same time: they keep the pool and sweep lost machines.
"""

import asyncio
from datetime import timedelta

from temporalio.client import WorkflowFailureError

from devkit.chaos.environment import ChaosEnvironment
from devkit.chaos.operations import (
    ORIGIN,
    Results,
    dpkg_state,
    expected_dpkg_state,
    route_record,
    run_once,
)
from relight.domain.names import RouteId, route_workflow_id
from relight.domain.reconcile.run import RECONCILE_WORKFLOW_ID, ReconcileRun
from relight.domain.replacement import AutoreplaceRouteInput, RouteReplaced
from relight.domain.route import ProvisionRouteInput, Route, RouteStatus
from relight.store.events import Operation
from starter.local.children import wait_until
from starter.schedules import reconcile_input
from workflows.failures import fault_of
from workflows.fleet.reconcile import ReconcileFleet
from workflows.route.replace import AutoreplaceRoute

FAST_SETTINGS = {
    "RELIGHT_SWEEP_GRACE": "PT20S",
    "RELIGHT_RECONCILE__STRATEGY__DISRUPTION_BUDGET__PROVIDER": "99",
    "RELIGHT_RECONCILE__STRATEGY__DISRUPTION_BUDGET__REGION": "99",
    "RELIGHT_RECONCILE__STRATEGY__DISRUPTION_BUDGET__TRACK": "99",
    "RELIGHT_BREAKER__CALM_FOR": "PT1S",
    "RELIGHT_BREAKER__DESTROYED_PER_HOUR": "9999",
    "RELIGHT_BREAKER__DESTROYED_PER_HOUR_IN_REGION": "9999",
}
"""Settings with short waits and high limits, so that many replacements fit into one run."""

PROVIDER, REGION = "lab", "lab-east"
POOL_SIZE = 2

ENDS_WITHIN = timedelta(minutes=12)
"""Time for a creation with every provider fault, a first boot, and a killed worker at each step."""

SETTLES_WITHIN = timedelta(minutes=8)
RECONCILE_INTERVAL = timedelta(seconds=5)


def provision_input(route_id: RouteId) -> ProvisionRouteInput:
    """Return the input that provisions a route in the lab."""
    return ProvisionRouteInput(
        route_id=route_id, track="chaos", provider=PROVIDER, region=REGION, origin=ORIGIN
    )


def replace_input(route_id: RouteId) -> AutoreplaceRouteInput:
    """Return the input that replaces a route's machine."""
    return AutoreplaceRouteInput(
        route_id=route_id, reason=ORIGIN.reason, requested=True, origin=ORIGIN
    )


def declare_pool(environment: ChaosEnvironment) -> None:
    """Declare a pool, which reconcile runs then fill."""
    environment.store.pool_sizes.set(PROVIDER, REGION, POOL_SIZE, Operation(origin=ORIGIN))


async def replace_until(
    environment: ChaosEnvironment, route_id: RouteId, done: asyncio.Event, results: Results
) -> None:
    """Replace a route's machine again and again until `done`, and check each replacement."""
    while not done.is_set():
        try:
            async with asyncio.timeout(ENDS_WITHIN.total_seconds()):
                replaced: RouteReplaced = await run_once(
                    environment,
                    AutoreplaceRoute.run,
                    replace_input(route_id),
                    route_workflow_id(route_id),
                )
        except TimeoutError:
            message = f"{route_id}: a replacement has not ended after {ENDS_WITHIN}"
            results.violations.append(message)
            return
        except WorkflowFailureError as error:
            results.faulted[fault_of(error.cause).kind] += 1
            await _check_failed(environment, route_id, results)
        else:
            from_pool = " from the pool" if replaced.from_pool else ""
            results.done[f"replacements{from_pool}"] += 1
            await _check_replaced(environment, route_id, replaced, results)


async def reconcile_until(
    environment: ChaosEnvironment, done: asyncio.Event, results: Results
) -> None:
    """Start reconcile runs one after another until `done`."""
    while not done.is_set():
        if await _reconcile(environment) is not None:
            results.done["reconcile runs"] += 1
        try:
            await asyncio.wait_for(done.wait(), RECONCILE_INTERVAL.total_seconds())
        except TimeoutError:
            continue


async def check_final_state(environment: ChaosEnvironment, results: Results) -> None:
    """Wait until no operation runs; check that the provider has exactly the recorded machines."""

    async def settled() -> bool:
        await _reconcile(environment)
        assert environment.client is not None
        running = environment.client.list_workflows("ExecutionStatus = 'Running'")
        if any([each.id.startswith(("route/", "machine/", "pool/")) async for each in running]):
            return False
        return set(await environment.machines()) == _recorded_machines(environment)

    violations = results.violations
    try:
        await wait_until(settled, SETTLES_WITHIN)
    except TimeoutError:
        present, recorded = set(await environment.machines()), _recorded_machines(environment)
        violations += [f"machine {key} has no record" for key in sorted(present - recorded)]
        violations += [f"machine {key} does not exist" for key in sorted(recorded - present)]
        if present == recorded:
            violations.append(f"an operation has not ended after {SETTLES_WITHIN}")
    for route in environment.store.routes.list():
        await check_route(environment, route.route_id, results)
    events = environment.store.events.list(kind="machine-destroyed")
    destroyed = [event.machine_key for event in events]
    for key in sorted({str(key) for key in destroyed if destroyed.count(key) > 1}):
        violations.append(f"machine {key} is recorded as destroyed more than once")
    declared = sum(each.size for each in environment.store.pool_sizes.list())
    in_pool = len(environment.store.pool.list())
    if in_pool != declared:
        violations.append(f"the pool has {in_pool} of {declared} machines")


async def check_route(environment: ChaosEnvironment, route_id: RouteId, results: Results) -> None:
    """Check that a route's machine exists, and that a serving one runs the recorded release."""
    route = route_record(environment, route_id)
    machines = await environment.machines()
    if not _has_machine(route, machines):
        results.violations.append(f"{route_id}: its machine does not exist")
    elif route.status is RouteStatus.SERVING and route.current_release_tag is not None:
        assert route.machine is not None
        state = await dpkg_state(environment, machines[route.machine.key])
        if state != expected_dpkg_state(route.current_release_tag):
            results.violations.append(
                f"{route_id}: proven at {route.current_release_tag}, but dpkg says {state}"
            )


async def _check_replaced(
    environment: ChaosEnvironment, route_id: RouteId, replaced: RouteReplaced, results: Results
) -> None:
    route = route_record(environment, route_id)
    if route.machine is None or route.machine.key != replaced.machine.key:
        message = f"{route_id}: replaced by {replaced.machine.key}, but recorded is {route.machine}"
        results.violations.append(message)
    await check_route(environment, route_id, results)


async def _check_failed(environment: ChaosEnvironment, route_id: RouteId, results: Results) -> None:
    """Check that the route still has a machine: a failed replacement must not take it away."""
    if not _has_machine(route_record(environment, route_id), await environment.machines()):
        results.violations.append(f"{route_id}: no machine after a failed replacement")


def _has_machine(route: Route, machines: dict[str, str]) -> bool:
    return route.machine is not None and route.machine.key in machines


async def _reconcile(environment: ChaosEnvironment) -> ReconcileRun | None:
    """Run one reconcile run and return its result; None when it failed: the next one retries."""
    try:
        run: ReconcileRun = await run_once(
            environment,
            ReconcileFleet.run,
            reconcile_input(environment.settings, ORIGIN),
            RECONCILE_WORKFLOW_ID,
        )
    except WorkflowFailureError:
        return None
    return run


def _recorded_machines(environment: ChaosEnvironment) -> set[str]:
    """Return the keys of all machines of routes and of the pool."""
    routes = environment.store.routes.list()
    of_routes = {route.machine.key for route in routes if route.machine}
    return of_routes | {machine.key for machine in environment.store.pool.list()}
