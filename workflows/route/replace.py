"""Replacement: another machine for a route, attached before the old machine is destroyed."""

from dataclasses import dataclass

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import ActivityError

from relight.domain.destruction import DestructionReason, RemoveMachineInput
from relight.domain.fault.fault import Fault
from relight.domain.machine import (
    DescribeRegionInput,
    Machine,
    MachinePlan,
    Region,
)
from relight.domain.names import ReleaseTag
from relight.domain.proof import Proof, ProveReleaseInput
from relight.domain.release import Release, ResolveReleaseInput
from relight.domain.replacement import (
    AttachMachineInput,
    AutoreplaceRouteInput,
    BeginReplacementInput,
    CheckReplacementInput,
    ClaimMachineInput,
    ReturnMachineInput,
    RouteReplaced,
    SaveEvidenceInput,
)
from relight.domain.route import (
    LoadRouteInput,
    RecordFaultInput,
    Route,
    RouteOperationInput,
)
from relight.domain.track import DesiredRelease
from workflows.failures import fault_of
from workflows.fleet.pool import start_pool_upkeep
from workflows.machine.make import choose_image, make_machine, swap_or_prove
from workflows.machine.remove import removal_request, start_removal, undo_creation, undo_request
from workflows.reporting import report_fault, report_release
from workflows.route.steps import (
    DisruptionActivities,
    EvidenceActivities,
    MachineActivities,
    ProofActivities,
    ReleaseActivities,
    ReplacementActivities,
    ReplacementCheckActivities,
    RouteActivities,
)
from workflows.shield import retry_until_done, run_shielded
from workflows.undo import UndoStack


@dataclass(frozen=True)
class _Ready:
    """A machine that is ready to serve the route, with its proof."""

    machine: Machine
    proof: Proof
    from_pool: bool


# It takes minutes, so a run stays on the worker version that started it.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class AutoreplaceRoute:
    """Attach another machine to a route. One always serves the route.

    It ends without a change if the old machine was said to be gone or unreachable, and is there; or
    if the provider has a newer machine of the route than the record.

    The new machine gets the route's target, or if that is known as bad, what works there.

    A failure or a cancellation before the new machine is attached leaves the route on its old
    machine. A machine that this run created is destroyed; one claimed from the pool is returned.
    Once the new machine is attached, a cancellation has no effect. The old machine is then drained
    and destroyed by a workflow of its own (`RemoveMachine`), which may wait for the breaker: the
    route is free meanwhile.
    """

    @workflow.init
    def __init__(self, input: AutoreplaceRouteInput) -> None:
        self._input = input
        self._of_route = RouteOperationInput(route_id=input.route_id, origin=input.origin)
        self._release_tag: ReleaseTag | None = input.release_tag
        self._new_key: str | None = None
        self._destroyed = False

    @workflow.run
    async def run(self, input: AutoreplaceRouteInput) -> RouteReplaced:
        """Take the route out, save evidence, attach a new machine, start to remove the old one."""
        async with UndoStack() as undo:
            undo.on_fault(self._record, lambda fault: fault)
            await ReplacementCheckActivities.check_replacement(
                CheckReplacementInput(
                    route_id=input.route_id,
                    unreachable=input.unreachable,
                    gone=input.gone,
                    image_name=input.image_name,
                    origin=input.origin,
                )
            )
            undo.on_failure(DisruptionActivities.release_disruption, self._of_route)
            begun = await ReplacementActivities.begin_replacement(
                BeginReplacementInput(
                    route_id=input.route_id,
                    release_tag=input.release_tag,
                    reason=input.reason,
                    origin=input.origin,
                    rollout=input.rollout,
                )
            )
            route, old = begun.route, begun.route.machine
            if old is not None:
                await self._save_evidence(old)
            region = await MachineActivities.describe_region(
                DescribeRegionInput(provider=route.provider, region=route.region)
            )
            release = await self._resolve(begun.release.tag, region)
            undo.on_fault(lambda fault: self._return_machine(route, fault), lambda fault: fault)
            ready = await self._claim(release, region)
            if ready is None:
                ready = await self._make(undo, route, release, region)
            await run_shielded(self._attach(ready, begun.release))
        await run_shielded(self._hand_over(route, old))
        return RouteReplaced(
            route_id=input.route_id,
            machine=ready.machine,
            release_tag=release.tag,
            proof=ready.proof,
            from_pool=ready.from_pool,
            previous_machine_key=old.key if old else None,
            instead_of=begun.release.instead_of,
            instead_reason=begun.release.reason,
        )

    async def _save_evidence(self, old: Machine) -> None:
        save = SaveEvidenceInput(
            route_id=self._input.route_id, machine=old, origin=self._input.origin
        )
        try:
            await EvidenceActivities.save_evidence(save)
        except ActivityError as error:
            # Missing evidence must not delay the replacement.
            workflow.logger.warning("no evidence was saved: %s", fault_of(error).summary)

    async def _resolve(self, tag: ReleaseTag, region: Region) -> Release:
        self._release_tag = tag
        report_release(tag)
        return await ReleaseActivities.resolve_release(
            ResolveReleaseInput(tag=tag, architectures=(region.architecture,))
        )

    async def _claim(self, release: Release, region: Region) -> _Ready | None:
        """Claim a machine of the pool and make it ready; None if the pool has none."""
        claimed = await ReplacementActivities.claim_machine(
            ClaimMachineInput(
                route_id=self._input.route_id,
                release_tag=release.tag,
                architecture=region.architecture,
                origin=self._input.origin,
                image_name=self._input.image_name,
            )
        )
        machine = claimed.machine
        if machine is None:
            return None
        self._new_key = machine.key
        proof = await swap_or_prove(
            release, machine, claimed.release_tag, self._input.origin, self._input.route_id
        )
        return _Ready(machine, proof, from_pool=True)

    async def _make(
        self, undo: UndoStack, route: Route, release: Release, region: Region
    ) -> _Ready:
        """Create a machine for the route, as provisioning does."""
        image = await choose_image(region, release, self._input.image_name)
        planned = await ReplacementActivities.plan_replacement_machine(self._of_route)
        self._new_key = planned.machine_key
        plan = MachinePlan(
            key=planned.machine_key,
            route_id=route.route_id,
            track=route.track,
            provider=route.provider,
            region=route.region,
            release_version=release.version,
            deb_file=release.deb_file(region.architecture),
            configuration=release.configuration,
            image=image,
        )
        # Registered before the creation: an earlier run that was terminated may have created a
        # machine with the same key.
        undo.on_fault(lambda fault: self._destroy(plan, fault), lambda fault: fault)
        machine = await make_machine(plan, self._input.origin)
        proof = await ProofActivities.prove_release(
            ProveReleaseInput(machine=machine, release=release)
        )
        return _Ready(machine, proof, from_pool=False)

    async def _attach(self, ready: _Ready, release: DesiredRelease) -> None:
        """Attach the new machine to the route in one write. This is never undone."""
        try:
            await ReplacementActivities.attach_machine(
                AttachMachineInput(
                    route_id=self._input.route_id,
                    machine=ready.machine,
                    proof=ready.proof,
                    unreachable=self._input.unreachable,
                    requested=self._input.requested,
                    origin=self._input.origin,
                    instead_of=release.instead_of,
                    instead_reason=release.reason,
                )
            )
        except ActivityError:
            # The write may have succeeded before the failure; then the machine serves the route.
            route = await RouteActivities.load_route(LoadRouteInput(route_id=self._input.route_id))
            if route.machine is None or route.machine.key != ready.machine.key:
                raise

    async def _hand_over(self, route: Route, old: Machine | None) -> None:
        """Release the route, and start the removal of its old machine and the pool's upkeep."""
        if old is not None:
            await start_removal(
                RemoveMachineInput(
                    route_id=route.route_id,
                    machine=old,
                    reason=self._input.reason,
                    origin=self._input.origin,
                    request=removal_request(
                        old,
                        self._cause,
                        self._input.origin,
                        text=self._input.reason,
                        track=route.track,
                        unreachable=self._input.unreachable,
                    ),
                )
            )
        await retry_until_done(DisruptionActivities.release_disruption, self._of_route)
        await start_pool_upkeep(route.provider, route.region, self._input.origin)

    @property
    def _cause(self) -> DestructionReason:
        """Why the old machine is destroyed."""
        if self._input.requested:
            return DestructionReason.REQUESTED
        if self._input.unreachable:
            return DestructionReason.UNREACHABLE
        return DestructionReason.FAULTY

    async def _destroy(self, plan: MachinePlan, cause: Fault) -> None:
        request = undo_request(plan, cause, self._input.origin)
        self._destroyed = await undo_creation(request, self._input.route_id)

    async def _return_machine(self, route: Route, cause: Fault) -> None:
        returned = await ReplacementActivities.return_machine(
            ReturnMachineInput(
                route_id=self._input.route_id, fault=cause, origin=self._input.origin
            )
        )
        if returned.machine_key is not None:
            await start_pool_upkeep(route.provider, route.region, self._input.origin)

    async def _record(self, cause: Fault) -> None:
        report_fault(cause)
        # A refusal changed nothing. Its record would replace the route's latest fault, and hide
        # the reason for a replacement.
        if not (cause.refused and self._new_key is None):
            await RouteActivities.record_fault(self._fault_record(cause, self._new_key))

    def _fault_record(self, fault: Fault, machine_key: str | None) -> RecordFaultInput:
        return RecordFaultInput(
            route_id=self._input.route_id,
            release_tag=self._release_tag,
            fault=fault,
            origin=self._input.origin,
            machine_key=machine_key,
            machine_destroyed=self._destroyed or machine_key is None,
        )
