"""A route looked at once more, and nothing changed there."""

from temporalio import workflow
from temporalio.common import VersioningBehavior

from relight.domain.fault.fault import Fault
from relight.domain.proof import ProveReleaseInput
from relight.domain.route import (
    LoadRouteInput,
    ProveRouteInput,
    RecordFaultInput,
    RecordProofInput,
    RouteProven,
)
from workflows.reporting import report_fault
from workflows.route.hot_swap import machine_of
from workflows.route.steps import ProofActivities, RouteActivities
from workflows.undo import UndoStack


# Minutes long: it ends on the code that it began with.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class ProveRoute:
    """See that a route still runs what it was brought to, and record that.

    A failure leaves the route `faulted`, with the fault.
    """

    @workflow.init
    def __init__(self, input: ProveRouteInput) -> None:
        self._input = input
        self._machine_key: str | None = None

    @workflow.run
    async def run(self, input: ProveRouteInput) -> RouteProven:
        """Look, record."""
        async with UndoStack() as undo:
            undo.on_fault(RouteActivities.record_fault, self._fault_record)
            route = await RouteActivities.load_route.local(LoadRouteInput(route_id=input.route_id))
            machine = machine_of(route)
            self._machine_key = machine.key
            proof = await ProofActivities.prove_release(
                ProveReleaseInput(machine=machine, release=input.release, rollout=input.rollout)
            )
            await RouteActivities.record_proof.local(
                RecordProofInput(
                    route_id=input.route_id, machine=machine, proof=proof, origin=input.origin
                )
            )
            return RouteProven(route_id=input.route_id, proof=proof)

    def _fault_record(self, ended_by: Fault) -> RecordFaultInput:
        report_fault(ended_by)
        return RecordFaultInput(
            route_id=self._input.route_id,
            release_tag=self._input.release.tag,
            fault=ended_by,
            origin=self._input.origin,
            machine_key=self._machine_key,
        )
