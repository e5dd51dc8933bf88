"""Repeated hot swaps of a route; each result is compared with its host and its record."""

import asyncio
from datetime import timedelta

from temporalio.client import WorkflowFailureError

from devkit.chaos.environment import ChaosEnvironment
from devkit.chaos.operations import (
    AFTER,
    BEFORE,
    ORIGIN,
    Results,
    dpkg_state,
    expected_dpkg_state,
    route_record,
    run_once,
)
from relight.domain.names import RouteId, route_workflow_id
from relight.domain.route import HotSwapRouteInput, RouteStatus, RouteSwapped
from workflows.failures import fault_of
from workflows.route.hot_swap import HotSwapRoute

ENDS_WITHIN = timedelta(minutes=8)
"""Time for eight attempts of a step, each ended by a heartbeat timeout, and the retry intervals."""

_COUNT_INSTALLS = r"grep -cE ' (install|upgrade) lantern-box:' /var/log/dpkg.log || true"


async def swap_until(
    environment: ChaosEnvironment,
    route_id: RouteId,
    machine_id: str,
    done: asyncio.Event,
    results: Results,
) -> None:
    """Swap a route between two releases until `done`, and check each swap."""
    while not done.is_set():
        installs_before = int(await environment.on_host(machine_id, _COUNT_INSTALLS))
        proofs_before = _count_proofs(environment, route_id)
        try:
            async with asyncio.timeout(ENDS_WITHIN.total_seconds()):
                swapped = await _swap(environment, route_id)
        except TimeoutError:
            results.violations.append(f"{route_id}: a swap has not ended after {ENDS_WITHIN}")
            return
        except WorkflowFailureError as error:
            results.faulted[fault_of(error.cause).kind] += 1
            _check_failed(environment, route_id, results)
        else:
            results.done["swaps"] += 1
            await _check_swapped(environment, route_id, machine_id, swapped, results)
            proofs = _count_proofs(environment, route_id) - proofs_before
            if proofs != 1:
                results.violations.append(f"{route_id}: one swap recorded {proofs} proofs")
        installs = int(await environment.on_host(machine_id, _COUNT_INSTALLS)) - installs_before
        if installs > 1:
            results.violations.append(f"{route_id}: one swap installed {installs} times")


async def _swap(environment: ChaosEnvironment, route_id: RouteId) -> RouteSwapped:
    """Swap the route to the release that it does not run; to the older one by a rollback."""
    forward = route_record(environment, route_id).current_release_tag == BEFORE
    swap = HotSwapRouteInput(
        route_id=route_id, release_tag=AFTER if forward else None, origin=ORIGIN
    )
    swapped: RouteSwapped = await run_once(
        environment, HotSwapRoute.run, swap, route_workflow_id(route_id)
    )
    return swapped


def _count_proofs(environment: ChaosEnvironment, route_id: RouteId) -> int:
    return len(environment.store.events.list(route_id=route_id, kind="route-proven"))


async def _check_swapped(
    environment: ChaosEnvironment,
    route_id: RouteId,
    machine_id: str,
    swapped: RouteSwapped,
    results: Results,
) -> None:
    proven = f"{route_id}: proven at {swapped.release_tag}"
    state = await dpkg_state(environment, machine_id)
    if state != expected_dpkg_state(swapped.release_tag):
        results.violations.append(f"{proven}, but dpkg says {state}")
    route = route_record(environment, route_id)
    if route.current_release_tag != swapped.release_tag or route.status is not RouteStatus.SERVING:
        results.violations.append(
            f"{proven}, but recorded as {route.status} at {route.current_release_tag}"
        )


def _check_failed(environment: ChaosEnvironment, route_id: RouteId, results: Results) -> None:
    route = route_record(environment, route_id)
    if route.status is not RouteStatus.FAULTED or route.fault is None:
        results.violations.append(f"{route_id}: its swap failed, but recorded as {route.status}")
