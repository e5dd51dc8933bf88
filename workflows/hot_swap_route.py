"""Another release on a route's machine, in place."""

from temporalio import workflow

from messages.fault_table import fault
from messages.faults import Fault
from messages.machine import Machine
from messages.names import ReleaseTag
from messages.package import InstallReleaseInput, ProveReleaseInput, RestartServiceInput
from messages.release import ResolveReleaseInput
from messages.route import (
    HotSwapRouteInput,
    LoadRouteInput,
    RecordFaultInput,
    RecordProofInput,
    Route,
    RouteSwapped,
    SetTargetInput,
)
from workflows import steps
from workflows.failures import failure
from workflows.reporting import report_fault, report_release
from workflows.undo import UndoStack


@workflow.defn
class HotSwapRoute:
    """Replace the package on a route's machine over SSH, and prove what runs.

    A failure leaves the route `faulted`, with the fault, and its current release as it was last
    proven: only a proof changes that.
    """

    @workflow.init
    def __init__(self, input: HotSwapRouteInput) -> None:
        self._input = input
        self._machine_key: str | None = None
        self._release_tag = input.release_tag

    @workflow.run
    async def run(self, input: HotSwapRouteInput) -> RouteSwapped:
        """Install, restart, prove, record."""
        async with UndoStack() as undo:
            undo.on_fault(steps.record_fault, self._fault_record)
            route = await steps.load_route(LoadRouteInput(route_id=input.route_id))
            machine = _machine_of(route)
            self._machine_key = machine.key
            self._release_tag = input.release_tag or await self._release_before()
            release = await steps.resolve_release(
                ResolveReleaseInput(tag=self._release_tag, architectures=(machine.architecture,))
            )
            await steps.set_target(
                SetTargetInput(
                    route_id=input.route_id, release_tag=release.tag, origin=input.origin
                )
            )
            await steps.install_release(
                InstallReleaseInput(
                    machine=machine, release=release, allow_downgrade=input.release_tag is None
                )
            )
            await steps.restart_service(RestartServiceInput(machine=machine, release=release))
            proof = await steps.prove_release(ProveReleaseInput(machine=machine, release=release))
            await steps.record_proof(
                RecordProofInput(
                    route_id=input.route_id, machine=machine, proof=proof, origin=input.origin
                )
            )
            return RouteSwapped(
                route_id=input.route_id,
                machine_key=machine.key,
                release_tag=release.tag,
                previous_release_tag=route.current_release_tag,
                proof=proof,
            )

    async def _release_before(self) -> ReleaseTag:
        before = await steps.release_before(LoadRouteInput(route_id=self._input.route_id))
        report_release(before.tag)
        return before.tag

    def _fault_record(self, ended_by: Fault) -> RecordFaultInput:
        report_fault(ended_by)
        return RecordFaultInput(
            route_id=self._input.route_id,
            release_tag=self._release_tag,
            fault=ended_by,
            origin=self._input.origin,
            machine_key=self._machine_key,
        )


def _machine_of(route: Route) -> Machine:
    if route.machine is None or route.machine.address is None:
        raise failure(
            fault(
                "route-without-machine",
                f"route {route.route_id} is {route.status} and has no machine to swap on",
            )
        )
    return route.machine
