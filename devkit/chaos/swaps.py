"""One swap after the other on a route, each judged at its end by what its host says."""

import asyncio
from datetime import timedelta

from temporalio.client import WorkflowFailureError

from devkit.chaos.patience import run_once
from devkit.chaos.verdicts import Verdicts
from devkit.chaos.world import World
from relight.domain.base import Origin
from relight.domain.names import RouteId, route_workflow_id
from relight.domain.route import (
    HotSwapRouteInput,
    RouteStatus,
    RouteSwapped,
)
from workflows.failures import fault_of
from workflows.route.hot_swap import HotSwapRoute

ORIGIN = Origin(requested_by="chaos", reason="to see whether a swap can be lost")
BEFORE, AFTER = "v0.0.73", "v0.0.74"

ENDS_WITHIN = timedelta(minutes=8)
"""Eight attempts of a step, each found dead by its heartbeat, and the pauses between them."""

_INSTALLS = r"grep -cE ' (install|upgrade) lantern-box:' /var/log/dpkg.log || true"
_STATE = "dpkg-query --show --showformat '${db:Status-Abbrev}|${Version}' lantern-box"


async def swap_until(
    world: World, route_id: RouteId, machine_id: str, done: asyncio.Event, verdicts: Verdicts
) -> None:
    """Swap a route to and fro until `done`, and judge each swap."""
    while not done.is_set():
        installs_before = int(await world.on_host(machine_id, _INSTALLS))
        events_before = len(world.store.events.list(route_id=route_id, kind="route-proven"))
        try:
            async with asyncio.timeout(ENDS_WITHIN.total_seconds()):
                swapped = await _swap(world, route_id)
        except TimeoutError:
            verdicts.wrong.append(f"{route_id}: a swap has not ended after {ENDS_WITHIN}")
            return
        except WorkflowFailureError as error:
            kind = fault_of(error.cause).kind
            verdicts.faulted[kind] += 1
            _judge_fault(world, route_id, verdicts)
        else:
            verdicts.done["swaps"] += 1
            await _judge_swap(world, route_id, machine_id, swapped, verdicts)
            proofs = len(world.store.events.list(route_id=route_id, kind="route-proven"))
            if proofs != events_before + 1:
                verdicts.wrong.append(
                    f"{route_id}: one swap left {proofs - events_before} proofs on record"
                )
        installs = int(await world.on_host(machine_id, _INSTALLS)) - installs_before
        if installs > 1:
            verdicts.wrong.append(f"{route_id}: one swap installed {installs} times")


async def _swap(world: World, route_id: RouteId) -> RouteSwapped:
    """Swap the route to the release that it does not run; forward by a swap, back by a rollback."""
    route = world.store.routes.get(route_id)
    assert route is not None
    forward = route.current_release_tag == BEFORE
    asked = HotSwapRouteInput(
        route_id=route_id, release_tag=AFTER if forward else None, origin=ORIGIN
    )
    swapped: RouteSwapped = await run_once(
        world, HotSwapRoute.run, asked, route_workflow_id(route_id)
    )
    return swapped


async def state_of(world: World, machine_id: str) -> str:
    """Return what dpkg has on a host, as in `ii |0.0.74`."""
    return (await world.on_host(machine_id, _STATE)).strip()


async def _judge_swap(
    world: World, route_id: RouteId, machine_id: str, swapped: RouteSwapped, verdicts: Verdicts
) -> None:
    state = await state_of(world, machine_id)
    if state != f"ii |{swapped.release_tag.removeprefix('v')}":
        verdicts.wrong.append(f"{route_id}: proven at {swapped.release_tag}, but dpkg says {state}")
    route = world.store.routes.get(route_id)
    assert route is not None
    if route.current_release_tag != swapped.release_tag or route.status is not RouteStatus.SERVING:
        verdicts.wrong.append(
            f"{route_id}: proven at {swapped.release_tag}, but on record as {route.status} "
            f"at {route.current_release_tag}"
        )


def _judge_fault(world: World, route_id: RouteId, verdicts: Verdicts) -> None:
    route = world.store.routes.get(route_id)
    assert route is not None
    if route.status is not RouteStatus.FAULTED or route.fault is None:
        verdicts.wrong.append(f"{route_id}: its swap failed, but it is on record as {route.status}")
