"""Prove a route again. Nothing is changed on its host."""

from temporalio import workflow
from temporalio.common import VersioningBehavior

from relight.domain.fault.fault import Fault
from relight.domain.fault.table import fault
from relight.domain.machine import Machine
from relight.domain.proof import ProveReleaseInput
from relight.domain.release import Release, ResolveReleaseInput
from relight.domain.route import (
    LoadRouteInput,
    ProveRouteInput,
    RecordFaultInput,
    RecordProofInput,
    Route,
    RouteProven,
)
from workflows.failures import failure
from workflows.reporting import report_fault
from workflows.route.hot_swap import machine_of
from workflows.route.steps import ProofActivities, ReleaseActivities, RouteActivities
from workflows.shield import run_shielded, run_unless_cancelled_before
from workflows.undo import UndoStack


# It takes minutes, so a run stays on the worker version that started it.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class ProveRoute:
    """Prove that a route still runs its release, and record the proof.

    A failure or a cancellation leaves the route `faulted` with the fault. The host is not changed.
    """

    @workflow.init
    def __init__(self, input: ProveRouteInput) -> None:
        self._input = input
        self._machine_key: str | None = None
        self._release = input.release

    @workflow.run
    async def run(self, input: ProveRouteInput) -> RouteProven:
        """Load the route, prove the release on its machine, and record the proof."""
        async with UndoStack() as undo:
            undo.on_fault(self._record, lambda fault: fault)
            route = await RouteActivities.load_route.local(LoadRouteInput(route_id=input.route_id))
            machine = machine_of(route)
            self._machine_key = machine.key
            release = self._release or await self._resolve(route, machine)
            # A proven release is always recorded, as in `HotSwapRoute`.
            proof = await run_unless_cancelled_before(
                ProofActivities.prove_release(
                    ProveReleaseInput(machine=machine, release=release, rollout=input.rollout)
                )
            )
            await run_shielded(
                RouteActivities.record_proof.local(
                    RecordProofInput(
                        route_id=input.route_id, machine=machine, proof=proof, origin=input.origin
                    )
                )
            )
            return RouteProven(route_id=input.route_id, proof=proof)

    async def _resolve(self, route: Route, machine: Machine) -> Release:
        """Return the release that the route was last proven to run."""
        tag = route.current_release_tag
        if tag is None:
            raise failure(fault("no-release-before", f"route {route.route_id} was never proven"))
        self._release = await ReleaseActivities.resolve_release(
            ResolveReleaseInput(tag=tag, architectures=(machine.architecture,))
        )
        return self._release

    async def _record(self, cause: Fault) -> None:
        report_fault(cause)
        # A refusal changed nothing. Its record would hide the route's own fault.
        if self._machine_key is not None or not cause.refused:
            await RouteActivities.record_fault(self._fault_record(cause))

    def _fault_record(self, cause: Fault) -> RecordFaultInput:
        return RecordFaultInput(
            route_id=self._input.route_id,
            release_tag=self._release.tag if self._release else None,
            fault=cause,
            origin=self._input.origin,
            machine_key=self._machine_key,
        )
