"""Provision: a new route with its first machine."""

from temporalio import workflow
from temporalio.common import VersioningBehavior

from relight.domain.fault.fault import Fault
from relight.domain.machine import (
    CheckNewKeyInput,
    DescribeRegionInput,
    MachineImage,
    MachinePlan,
    Region,
)
from relight.domain.proof import ProveReleaseInput
from relight.domain.release import Release, ResolveReleaseInput
from relight.domain.route import (
    CheckVacantInput,
    OpenRouteInput,
    ProvisionRouteInput,
    RecordFaultInput,
    RecordProofInput,
    RouteOpened,
    RouteProvisioned,
)
from relight.domain.track import DesiredReleaseInput
from workflows.machine.make import choose_image, make_machine
from workflows.machine.remove import undo_creation, undo_request
from workflows.reporting import report_fault, report_release
from workflows.route.steps import (
    MachineActivities,
    NewKeyActivities,
    ProofActivities,
    ReleaseActivities,
    RouteActivities,
)
from workflows.shield import run_shielded
from workflows.undo import UndoStack


# It takes minutes, so a run stays on the worker version that started it.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class ProvisionRoute:
    """Create a machine for a new route, and prove the release of its track on it.

    A failure or a cancellation before the machine is proven destroys it if this run has created it,
    and leaves the route `failed` with the fault. The proof is recorded even if the operation is
    cancelled meanwhile.
    """

    @workflow.init
    def __init__(self, input: ProvisionRouteInput) -> None:
        self._input = input
        self._is_vacant = False
        self._opened: RouteOpened | None = None
        self._release_tag: str | None = None
        self._destroyed = False

    @workflow.run
    async def run(self, input: ProvisionRouteInput) -> RouteProvisioned:
        """Resolve the release, open the route, create and boot the machine, prove it, record it."""
        async with UndoStack() as undo:
            undo.on_fault(self._record, lambda fault: fault)
            await RouteActivities.check_vacant.local(
                CheckVacantInput(
                    route_id=input.route_id,
                    provider=input.provider,
                    region=input.region,
                    origin=input.origin,
                )
            )
            self._is_vacant = True
            desired = await RouteActivities.desired_release(
                DesiredReleaseInput(track=input.track, route_id=input.route_id)
            )
            report_release(desired.tag)
            self._release_tag = desired.tag
            region = await MachineActivities.describe_region(
                DescribeRegionInput(provider=input.provider, region=input.region)
            )
            release = await ReleaseActivities.resolve_release(
                ResolveReleaseInput(tag=desired.tag, architectures=(region.architecture,))
            )
            image = await choose_image(region, release)
            await NewKeyActivities.check_new_key(
                CheckNewKeyInput(
                    provider=input.provider, region=input.region, route_id=input.route_id
                )
            )
            self._opened = await RouteActivities.open_route(
                OpenRouteInput(
                    route_id=input.route_id,
                    track=input.track,
                    provider=input.provider,
                    region=input.region,
                    release_tag=release.tag,
                    origin=input.origin,
                    instead_of=desired.instead_of,
                    instead_reason=desired.reason,
                )
            )
            plan = self._plan(self._opened, release, region, image)
            # Registered before the creation: an earlier run that was terminated may have created
            # a machine with the same key.
            undo.on_fault(lambda fault: self._destroy(plan, fault), lambda fault: fault)
            machine = await make_machine(plan, input.origin)
            proof = await ProofActivities.prove_release(
                ProveReleaseInput(machine=machine, release=release)
            )
            # A cancellation from here on would destroy a machine that serves.
            await run_shielded(
                RouteActivities.record_proof(
                    RecordProofInput(
                        route_id=input.route_id, machine=machine, proof=proof, origin=input.origin
                    )
                )
            )
            return RouteProvisioned(
                route_id=input.route_id,
                machine=machine,
                release_tag=release.tag,
                proof=proof,
                instead_of=desired.instead_of,
                instead_reason=desired.reason,
            )

    def _plan(
        self, opened: RouteOpened, release: Release, region: Region, image: MachineImage | None
    ) -> MachinePlan:
        return MachinePlan(
            key=opened.machine_key,
            route_id=self._input.route_id,
            track=self._input.track,
            provider=self._input.provider,
            region=self._input.region,
            release_version=release.version,
            deb_file=release.deb_file(region.architecture),
            configuration=release.configuration,
            image=image,
        )

    async def _destroy(self, plan: MachinePlan, cause: Fault) -> None:
        request = undo_request(plan, cause, self._input.origin)
        self._destroyed = await undo_creation(request, self._input.route_id)

    async def _record(self, cause: Fault) -> None:
        report_fault(cause)
        # A route that serves has no part in this fault, which would hide its own. A refusal changed
        # nothing.
        if self._is_vacant and not (cause.refused and self._opened is None):
            await RouteActivities.record_fault(self._fault_record(cause))

    def _fault_record(self, fault: Fault) -> RecordFaultInput:
        return RecordFaultInput(
            route_id=self._input.route_id,
            release_tag=self._release_tag,
            fault=fault,
            origin=self._input.origin,
            machine_key=self._opened.machine_key if self._opened else None,
            machine_destroyed=self._destroyed or self._opened is None,
        )
