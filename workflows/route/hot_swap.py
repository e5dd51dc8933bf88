"""Hot swap: another release on the machine of a route, in place."""

from temporalio import workflow
from temporalio.common import VersioningBehavior

from relight.domain.disruption import TakeDisruptionInput
from relight.domain.fault.fault import Fault
from relight.domain.fault.table import fault
from relight.domain.machine import Machine
from relight.domain.names import ReleaseTag
from relight.domain.proof import Proof, SwapReleaseInput
from relight.domain.release import Release, ResolveReleaseInput
from relight.domain.route import (
    HotSwapRouteInput,
    LoadRouteInput,
    RecordFaultInput,
    RecordProofInput,
    Route,
    RouteOperationInput,
    RouteSwapped,
    SetTargetInput,
)
from workflows.failures import failure
from workflows.machine.make import swap
from workflows.reporting import report_fault, report_release
from workflows.route.steps import (
    DisruptionActivities,
    ReleaseActivities,
    RouteActivities,
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
        self._machine_key: str | None = None
        self._release_tag = input.release_tag
        self._target_set = False
        self._of_route = RouteOperationInput(route_id=input.route_id, origin=input.origin)

    @workflow.run
    async def run(self, input: HotSwapRouteInput) -> RouteSwapped:
        """Load the route, set its target, swap and prove the release, and record the proof."""
        async with UndoStack() as undo:
            if input.within_budget:
                await self._take_disruption(undo)
            undo.on_fault(self._record, lambda fault: fault)
            route = await RouteActivities.load_route.local(LoadRouteInput(route_id=input.route_id))
            machine = machine_of(route)
            self._machine_key = machine.key
            release = input.release or await self._resolve(machine)
            target = await RouteActivities.set_target.local(
                SetTargetInput(
                    route_id=input.route_id,
                    release_tag=release.tag,
                    version=release.version,
                    allow_downgrade=input.allow_downgrade or input.release_tag is None,
                    origin=input.origin,
                )
            )
            self._target_set = True
            # A local activity runs ahead of the history: the proof may be recorded before the
            # workflow learns that it was cancelled. So a proven release is always recorded.
            swapped = await run_unless_cancelled_before(
                swap(
                    SwapReleaseInput(
                        route_id=input.route_id,
                        machine=machine,
                        release=release,
                        origin=input.origin,
                        allow_downgrade=target.allow_downgrade,
                        rollout=input.rollout,
                    )
                )
            )
            await run_shielded(self._record_proof(machine, swapped.proof))
            return RouteSwapped(
                route_id=input.route_id,
                machine_key=machine.key,
                release_tag=release.tag,
                previous_release_tag=route.current_release_tag,
                proof=swapped.proof,
            )

    async def _record_proof(self, machine: Machine, proof: Proof) -> None:
        await RouteActivities.record_proof.local(
            RecordProofInput(
                route_id=self._input.route_id,
                machine=machine,
                proof=proof,
                origin=self._input.origin,
            )
        )

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

    async def _resolve(self, machine: Machine) -> Release:
        """Return the release to install: that of the input's tag, or the previous release."""
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
        # A refusal changed nothing. Its record would hide the route's own fault.
        if self._target_set or not cause.refused:
            await RouteActivities.record_fault(self._fault_record(cause))

    def _fault_record(self, cause: Fault) -> RecordFaultInput:
        return RecordFaultInput(
            route_id=self._input.route_id,
            release_tag=self._release_tag,
            fault=cause,
            origin=self._input.origin,
            machine_key=self._machine_key,
        )


def machine_of(route: Route) -> Machine:
    """Return the machine that serves a route.

    Raises:
        ApplicationError: the route has no machine.
    """
    if route.machine is None or route.machine.address is None:
        raise failure(
            fault(
                "route-without-machine",
                f"route {route.route_id} is {route.status} and has no machine to swap on: "
                f"`relight route provision {route.route_id} --track {route.track} "
                f"--provider {route.provider} --region {route.region}` gives it one",
            )
        )
    return route.machine
