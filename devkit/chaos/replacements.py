"""One machine after the other for a route, each judged by what the provider has and the host says.

Beside the replacements run passes of reconciliation, which keep the pool and sweep what is lost.
"""

import asyncio
from datetime import timedelta

from temporalio.client import WorkflowFailureError

from devkit.chaos.patience import run_once
from devkit.chaos.swaps import ORIGIN, state_of
from devkit.chaos.verdicts import Verdicts
from devkit.chaos.world import World
from relight.domain.names import RouteId, route_workflow_id
from relight.domain.reconcile.run import RECONCILE_WORKFLOW_ID, ReconcileRun
from relight.domain.replacement import AutoreplaceRouteInput, RouteReplaced
from relight.domain.route import (
    ProvisionRouteInput,
    Route,
    RouteStatus,
)
from relight.store.write import Operation
from starter.local.children import wait_until
from starter.schedules import reconcile_input
from workflows.failures import fault_of
from workflows.fleet.reconcile import ReconcileFleet
from workflows.route.replace import AutoreplaceRoute

IMPATIENCE = {
    "RELIGHT_SWEEP_GRACE": "PT20S",
    "RELIGHT_RECONCILE__STRATEGY__DISRUPTION_BUDGET__PROVIDER": "99",
    "RELIGHT_RECONCILE__STRATEGY__DISRUPTION_BUDGET__REGION": "99",
    "RELIGHT_RECONCILE__STRATEGY__DISRUPTION_BUDGET__TRACK": "99",
    "RELIGHT_BREAKER__CALM_FOR": "PT1S",
    "RELIGHT_BREAKER__DESTROYED_PER_HOUR": "9999",
    "RELIGHT_BREAKER__DESTROYED_PER_HOUR_IN_REGION": "9999",
}
"""Settings under which nothing waits for long: what is tried is that nothing is lost."""

PROVIDER, REGION = "lab", "lab-east"
IN_POOL = 2

ENDS_WITHIN = timedelta(minutes=12)
"""A creation that meets every trouble, a first boot, and a worker found dead at each step."""

SETTLES_WITHIN = timedelta(minutes=8)
RUN_EVERY = timedelta(seconds=5)


def provision_input(route_id: RouteId) -> ProvisionRouteInput:
    """Return what brings a route up."""
    return ProvisionRouteInput(
        route_id=route_id, track="chaos", provider=PROVIDER, region=REGION, origin=ORIGIN
    )


def keep_a_pool(world: World) -> None:
    """Have passes keep machines ready."""
    world.store.pool_sizes.set(PROVIDER, REGION, IN_POOL, Operation(origin=ORIGIN))


async def replace_until(
    world: World, route_id: RouteId, done: asyncio.Event, verdicts: Verdicts
) -> None:
    """Give a route one machine after the other until `done`, and judge each time."""
    while not done.is_set():
        before = _route(world, route_id)
        asked = AutoreplaceRouteInput(route_id=route_id, reason="chaos asks", origin=ORIGIN)
        try:
            async with asyncio.timeout(ENDS_WITHIN.total_seconds()):
                replaced: RouteReplaced = await run_once(
                    world, AutoreplaceRoute.run, asked, route_workflow_id(route_id)
                )
        except TimeoutError:
            verdicts.wrong.append(f"{route_id}: a replacement has not ended after {ENDS_WITHIN}")
            return
        except WorkflowFailureError as error:
            verdicts.faulted[fault_of(error.cause).kind] += 1
            await _judge_failure(world, before, verdicts)
        else:
            verdicts.done[
                "replacements from the pool" if replaced.from_pool else "replacements"
            ] += 1
            await _judge(world, before, replaced, verdicts)


async def runs_until(world: World, done: asyncio.Event, verdicts: Verdicts) -> None:
    """Run passes of reconciliation until `done`."""
    while not done.is_set():
        if await one_run(world) is not None:
            verdicts.done["passes"] += 1
        try:
            await asyncio.wait_for(done.wait(), RUN_EVERY.total_seconds())
        except TimeoutError:
            continue


async def one_run(world: World) -> ReconcileRun | None:
    """Run a pass; None where it failed, which the next one makes good."""
    try:
        came: ReconcileRun = await run_once(
            world,
            ReconcileFleet.run,
            reconcile_input(world.settings, ORIGIN),
            RECONCILE_WORKFLOW_ID,
        )
    except WorkflowFailureError:
        return None
    return came


async def judge_the_end(world: World, verdicts: Verdicts) -> None:
    """Let all come to rest, and see that the provider has what is on record, and nothing else."""

    async def at_rest() -> bool:
        await one_run(world)
        assert world.client is not None
        running = world.client.list_workflows("ExecutionStatus = 'Running'")
        if any([each.id.startswith(("route/", "pool/")) async for each in running]):
            return False
        return set(await world.machines()) == _on_record(world)

    try:
        await wait_until(at_rest, SETTLES_WITHIN)
    except TimeoutError:
        there, recorded = set(await world.machines()), _on_record(world)
        verdicts.wrong += [f"machine {key} is nobody's" for key in sorted(there - recorded)]
        verdicts.wrong += [f"machine {key} is not there" for key in sorted(recorded - there)]
        if there == recorded:
            verdicts.wrong.append(f"an operation has not ended after {SETTLES_WITHIN}")
    for route in world.store.routes.list():
        await judge_route(world, route.route_id, verdicts)
    destroyed = [event.machine_key for event in world.store.events.list(kind="machine-destroyed")]
    for key in sorted({str(key) for key in destroyed if destroyed.count(key) > 1}):
        verdicts.wrong.append(f"machine {key} is on record as destroyed more than once")
    wanted = sum(each.size for each in world.store.pool_sizes.list())
    if len(world.store.pool.list()) != wanted:
        verdicts.wrong.append(f"the pool has {len(world.store.pool.list())} of {wanted} machines")


def _on_record(world: World) -> set[str]:
    serving = {route.machine.key for route in world.store.routes.list() if route.machine}
    return serving | {machine.key for machine in world.store.pool.list()}


async def _judge(world: World, before: Route, replaced: RouteReplaced, verdicts: Verdicts) -> None:
    route = _route(world, before.route_id)
    if route.machine is None or route.machine.key != replaced.machine.key:
        verdicts.wrong.append(f"{route.route_id}: replaced, but it points at {route.machine}")
    if replaced.previous_machine_key in await world.machines():
        verdicts.wrong.append(f"{replaced.previous_machine_key} is gone, but its provider has it")
    await judge_route(world, route.route_id, verdicts)


async def _judge_failure(world: World, before: Route, verdicts: Verdicts) -> None:
    """A replacement that fails leaves the route on a machine that is there."""
    route = _route(world, before.route_id)
    if route.machine is None or route.machine.key not in await world.machines():
        verdicts.wrong.append(f"{route.route_id} points at nothing after a failure")


async def judge_route(world: World, route_id: RouteId, verdicts: Verdicts) -> None:
    """See that a route points at a machine that is there, and runs what is on record."""
    route = _route(world, route_id)
    machines = await world.machines()
    if route.machine is None or route.machine.key not in machines:
        verdicts.wrong.append(f"{route.route_id} points at nothing")
    elif route.status is RouteStatus.SERVING and route.current_release_tag is not None:
        state = await state_of(world, machines[route.machine.key])
        if state != f"ii |{route.current_release_tag.removeprefix('v')}":
            verdicts.wrong.append(
                f"{route.route_id}: proven at {route.current_release_tag}, but dpkg says {state}"
            )


def _route(world: World, route_id: RouteId) -> Route:
    route = world.store.routes.get(route_id)
    assert route is not None
    return route
