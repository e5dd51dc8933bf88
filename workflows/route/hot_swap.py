"""Hot swap: another release on the machine of a route, in place."""

import asyncio

from temporalio import workflow
from temporalio.common import VersioningBehavior

from relight.domain.disruption import TakeDisruptionInput
from relight.domain.fault.fault import Fault
from relight.domain.fault.table import fault
from relight.domain.machine import Machine
from relight.domain.names import ReleaseTag
from relight.domain.release import Release, ResolveReleaseInput
from relight.domain.route import (
    HotSwapRouteInput,
    LoadRouteInput,
    RecordFaultInput,
    Route,
    RouteOperationInput,
    RouteSwapped,
    RouteWithoutMachineError,
    SwapRouteInput,
    require_machine,
)
from workflows.failures import failure
from workflows.machine.make import stop_unfinished
from workflows.reporting import report_fault, report_release
from workflows.route.steps import (
    DisruptionActivities,
    ReleaseActivities,
    RouteActivities,
    SwapRouteActivities,
)
from workflows.shield import run_shielded, run_unless_cancelled_before
from workflows.undo import UndoStack


# It takes minutes, so a run stays on the worker version that started it.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class HotSwapRoute:
    """Replace the package on the machine of a route over SSH, and prove what runs.

    A healthy route is not taken to an older release, unless that is allowed; this refusal changes
    nothing. A failure or a cancellation leaves the route `faulted` with the fault. Its current
    release stays as it was last proven. The host may run either release. A cancellation stops the
    change there, and the next swap repairs what it left.
    Once the release is proven, a cancellation has no effect: the proof is recorded.
    """

    @workflow.init
    def __init__(self, input: HotSwapRouteInput) -> None:
        self._input = input
        self._release_tag = input.release_tag
        self._of_route = RouteOperationInput(route_id=input.route_id, origin=input.origin)

    @workflow.run
    async def run(self, input: HotSwapRouteInput) -> RouteSwapped:
        """Resolve the release if nobody has, and swap the route to it in one activity."""
        async with UndoStack() as undo:
            if input.within_budget:
                await self._take_disruption(undo)
            undo.on_fault(self._record, lambda fault: fault)
            swap = SwapRouteInput(
                route_id=input.route_id,
                release=input.release or await self._resolve(),
                origin=input.origin,
                allow_downgrade=input.allow_downgrade or input.release_tag is None,
                rollout=input.rollout,
            )
            stop_unfinished(undo, SwapRouteActivities.stop_route_swap, swap)
            return await self._swap(swap)

    async def _swap(self, swap: SwapRouteInput) -> RouteSwapped:
        """Swap the route; wait for the store where it is unreachable.

        Whatever has to be done again has the same activity id: it writes what is not written yet.
        """
        activity_id = str(workflow.uuid4())
        while True:
            # A proven release is always recorded: the workflow may learn of a cancellation later.
            ended = await run_unless_cancelled_before(
                SwapRouteActivities.swap_route(swap, activity_id)
            )
            if ended.swapped is not None:
                break
            if workflow.cancellation_reason() is not None:
                raise asyncio.CancelledError
            await SwapRouteActivities.begin_swap(swap, activity_id)
        if ended.unrecorded is not None:
            await run_shielded(RouteActivities.record_proof(ended.unrecorded, activity_id))
        return ended.swapped

    async def _take_disruption(self, undo: UndoStack) -> None:
        """Take the route out. A refusal changes nothing and is not a fault of the route."""
        undo.on_failure(DisruptionActivities.release_disruption, self._of_route)
        await DisruptionActivities.take_disruption.local(
            TakeDisruptionInput(
                route_id=self._input.route_id,
                reason=self._input.origin.reason,
                origin=self._input.origin,
            )
        )

    async def _resolve(self) -> Release:
        """Return the release to install: that of the input's tag, or the previous release."""
        route = await RouteActivities.load_route.local(
            LoadRouteInput(route_id=self._input.route_id)
        )
        machine = machine_of(route)
        tag = self._release_tag or await self._previous_release()
        return await ReleaseActivities.resolve_release(
            ResolveReleaseInput(tag=tag, architectures=(machine.architecture,))
        )

    async def _previous_release(self) -> ReleaseTag:
        previous = await RouteActivities.previous_release.local(
            LoadRouteInput(route_id=self._input.route_id)
        )
        self._release_tag = previous.tag
        report_release(previous.tag)
        return previous.tag

    async def _record(self, cause: Fault) -> None:
        report_fault(cause)
        await RouteActivities.record_fault(
            RecordFaultInput(
                route_id=self._input.route_id,
                release_tag=self._release_tag,
                fault=cause,
                origin=self._input.origin,
                of_swap=True,
            )
        )


def machine_of(route: Route) -> Machine:
    """Return the machine that serves a route.

    Raises:
        ApplicationError: the route has no machine.
    """
    try:
        return require_machine(route)
    except RouteWithoutMachineError as error:
        raise failure(fault(error.kind, str(error))) from error
