"""The hot swap of a route in one activity: its target, the change on its host, its proof.

The store is written twice. The first write reads the route, decides, and sets the target. The
second has the event of the attempt and the proof. An attempt that finds the first write of an
earlier one goes on with its decision; one that finds the second returns its result.
"""

import asyncio

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from temporalio import activity

from activities import policies
from activities.execution import current_operation
from activities.route.hot_swap import HotSwapActivities
from activities.route.known_good import version_of
from relight.domain import names
from relight.domain.proof import Proof, SwapReleaseInput, SwapStopped
from relight.domain.recovery import DowngradeRefusedError, is_proven, is_recovery
from relight.domain.route import (
    RecordProofInput,
    Route,
    RouteSwapped,
    SwapBegun,
    SwapEnded,
    SwapRouteInput,
)
from relight.engine.step import step
from relight.releases.versions import is_older
from relight.store.store import Store
from relight.store.threads import in_thread_to_end


class SwapRouteActivities:
    """Swaps the release of a route on its machine. All attempts together write once."""

    def __init__(self, store: Store, swaps: HotSwapActivities) -> None:
        self._store = store
        self._swaps = swaps

    @step(
        policies.SWAP,
        lambda i: f"{i.release.package}={i.release.version} on {i.route_id}",
        lasting=True,
    )
    async def swap_route(self, input: SwapRouteInput) -> SwapEnded:
        """Set the target of a route, install and prove the release, and record the proof.

        A refusal changes nothing. It does not wait for a store that is away, or may only be read:
        the workflow does, with `begin_swap` before the change, and with `record_proof` after it.
        """
        try:
            begun = await in_thread_to_end(self._begin, input)
        except (DBAPIError, NoConnectionError):
            return SwapEnded(swapped=None)
        if begun.proof is not None:
            return SwapEnded(swapped=_swapped(input, begun, begun.proof))
        if activity.is_cancelled():
            raise asyncio.CancelledError
        machine = begun.machine
        structlog.contextvars.bind_contextvars(
            **{
                names.LOG_HOST: machine.key,
                names.LOG_ADDRESS: machine.address,
                names.LOG_PROVIDER: machine.provider,
                names.LOG_REGION: machine.region,
            }
        )
        swapped, attempt = await self._swaps.swap(
            SwapReleaseInput(
                route_id=input.route_id,
                machine=machine,
                release=input.release,
                origin=input.origin,
                allow_downgrade=begun.allow_downgrade,
                rollout=input.rollout,
            )
        )
        record = RecordProofInput(
            route_id=input.route_id,
            machine=machine,
            proof=swapped.proof,
            origin=input.origin,
            swap_attempt=attempt,
        )
        result = _swapped(input, begun, swapped.proof)
        try:
            await in_thread_to_end(
                self._store.routes.record_proof, record, current_operation(input.origin)
            )
        except (DBAPIError, NoConnectionError):
            return SwapEnded(swapped=result, unrecorded=record)
        return SwapEnded(swapped=result)

    @step(policies.STORE, lambda i: f"{i.route_id}: {i.release.tag}")
    def begin_swap(self, input: SwapRouteInput) -> SwapBegun:
        """Set the target of a route as `swap_route` does; waits for the store."""
        return self._begin(input)

    @step(policies.STOP_SWAP, lambda i: f"{i.release.version} on {i.route_id}", lasting=True)
    async def stop_route_swap(self, input: SwapRouteInput) -> SwapStopped:
        """Stop the change that `swap_route` of this workflow run started. Absent is success."""
        machine = await in_thread_to_end(
            self._store.routes.swapped_machine, current_operation(input.origin)
        )
        if machine is None:
            return SwapStopped(unit="")
        return await self._swaps.stop(machine, input.release)

    def _begin(self, input: SwapRouteInput) -> SwapBegun:
        return self._store.routes.begin_swap(
            input.route_id,
            input.release.tag,
            current_operation(input.origin),
            lambda route: self._may_downgrade(route, input),
        )

    def _may_downgrade(self, route: Route, input: SwapRouteInput) -> bool:
        """Return whether the release may replace a newer one on the host.

        Raises:
            DowngradeRefusedError: it would, and the route is healthy.
        """
        tag, current = input.release.tag, route.current_release_tag
        if input.allow_downgrade:
            return True
        if not is_proven(route):
            return is_recovery(route, tag, self._store.release_histories.get(route.route_id))
        if tag == current:
            # What the record says. Somebody may have installed a newer one on the host.
            return route.newer_version is None
        if current and is_older(input.release.version, version_of(self._store, current)):
            raise DowngradeRefusedError(
                f"route {route.route_id} is proven at {current}, which is newer than "
                f"{tag}: `relight route swap {route.route_id} {tag} "
                f"--allow-downgrade` brings it there, `relight rollout undo {current} --track "
                f"{route.track}` all routes of its track that have {current} to their own from "
                "before"
            )
        return False


def _swapped(input: SwapRouteInput, begun: SwapBegun, proof: Proof) -> RouteSwapped:
    return RouteSwapped(
        route_id=input.route_id,
        machine_key=begun.machine.key,
        release_tag=input.release.tag,
        previous_release_tag=begun.previous_release_tag,
        proof=proof,
    )
