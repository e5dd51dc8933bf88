"""Another machine for a route: made ready and attached first; then the one before goes."""

from dataclasses import dataclass

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import ActivityError, FailureError

from relight.domain.fault.fault import Fault
from relight.domain.machine import (
    DescribeRegionInput,
    DestroyMachineInput,
    Machine,
    MachinePlan,
    Region,
)
from relight.domain.names import ReleaseTag
from relight.domain.proof import Proof, ProveReleaseInput
from relight.domain.release import (
    DesiredReleaseInput,
    Release,
    ResolveReleaseInput,
)
from relight.domain.replacement import (
    AttachMachineInput,
    AutoreplaceRouteInput,
    BeginReplacementInput,
    ClaimMachineInput,
    DrainMachineInput,
    GiveBackInput,
    OfRouteInput,
    Removal,
    RouteReplaced,
    SaveEvidenceInput,
)
from relight.domain.route import (
    LoadRouteInput,
    RecordFaultInput,
    Route,
)
from workflows.failures import failure, fault_of
from workflows.fleet.pool import begin_keeping
from workflows.machine.make import bring_to, make_machine
from workflows.machine.remove import remove
from workflows.reporting import report_fault, report_release
from workflows.route.steps import (
    DisruptionActivities,
    DrainActivities,
    EvidenceActivities,
    MachineActivities,
    ProofActivities,
    ReleaseActivities,
    ReplacementActivities,
    RouteActivities,
)
from workflows.shield import retry_until_done, run_shielded
from workflows.undo import UndoStack


@dataclass(frozen=True)
class _Ready:
    """A machine that could serve the route, as it was proven."""

    machine: Machine
    proof: Proof
    from_pool: bool


# Once another machine is attached it may wait for hours until the old one may go; even so it ends
# on the code that it began with.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class AutoreplaceRoute:
    """Create before destroy: the route is served all the while by one machine or the other.

    A failure, or a cancel, before the new machine is attached leaves the route on the old one,
    untouched, and no other machine. Nothing undoes it from then on: the old machine is destroyed
    as soon as the breaker lets it go, whatever is cancelled meanwhile.
    """

    @workflow.init
    def __init__(self, input: AutoreplaceRouteInput) -> None:
        self._input = input
        self._of_route = OfRouteInput(route_id=input.route_id, origin=input.origin)
        self._release_tag: ReleaseTag | None = input.release_tag
        self._new_key: str | None = None
        self._destroyed = False

    @workflow.run
    async def run(self, input: AutoreplaceRouteInput) -> RouteReplaced:
        """Hold the route, keep the evidence, make ready, attach; then drain, destroy, let go."""
        async with UndoStack() as undo:
            undo.on_fault(self._record, lambda fault: fault)
            undo.on_failure(DisruptionActivities.release_disruption, self._of_route)
            begun = await ReplacementActivities.begin_replacement(
                BeginReplacementInput(
                    route_id=input.route_id, reason=input.reason, origin=input.origin
                )
            )
            route, old = begun.route, begun.route.machine
            if old is not None:
                await self._save_evidence(old)
            region = await MachineActivities.describe_region(
                DescribeRegionInput(provider=route.provider, region=route.region)
            )
            release = await self._resolve(route, region)
            undo.on_fault(lambda fault: self._give_back(route, fault), lambda fault: fault)
            ready = await self._claim(release, region)
            if ready is None:
                ready = await self._make(undo, route, release, region)
            await run_shielded(self._attach(ready))
        await run_shielded(self._finish(route, old))
        return RouteReplaced(
            route_id=input.route_id,
            machine=ready.machine,
            release_tag=release.tag,
            proof=ready.proof,
            from_pool=ready.from_pool,
            previous_machine_key=old.key if old else None,
        )

    async def _save_evidence(self, old: Machine) -> None:
        asked = SaveEvidenceInput(
            route_id=self._input.route_id, machine=old, origin=self._input.origin
        )
        try:
            await EvidenceActivities.save_evidence(asked)
        except ActivityError as error:
            # A route does not wait for another machine because nobody can say why.
            workflow.logger.warning("no evidence was kept: %s", fault_of(error).summary)

    async def _resolve(self, route: Route, region: Region) -> Release:
        tag = self._release_tag or route.target_release_tag
        if tag is None:
            desired = await RouteActivities.desired_release(DesiredReleaseInput(track=route.track))
            tag = desired.tag
        self._release_tag = tag
        report_release(tag)
        return await ReleaseActivities.resolve_release(
            ResolveReleaseInput(tag=tag, architectures=(region.architecture,))
        )

    async def _claim(self, release: Release, region: Region) -> _Ready | None:
        """Make a machine of the pool ready; None where there is none."""
        claimed = await ReplacementActivities.claim_machine(
            ClaimMachineInput(
                route_id=self._input.route_id,
                release_tag=release.tag,
                architecture=region.architecture,
                origin=self._input.origin,
            )
        )
        machine = claimed.machine
        if machine is None:
            return None
        self._new_key = machine.key
        proof = await bring_to(
            release, machine, claimed.release_tag, self._input.origin, self._input.route_id
        )
        return _Ready(machine, proof, from_pool=True)

    async def _make(
        self, undo: UndoStack, route: Route, release: Release, region: Region
    ) -> _Ready:
        """Make a machine for the route, as when it was provisioned."""
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
        )
        # Before anything is created: an earlier run that ended without a word may have created
        # the machine of this very key.
        undo.on_failure(self._destroy, DestroyMachineInput(provider=plan.provider, key=plan.key))
        machine = await make_machine(plan, self._input.origin)
        proof = await ProofActivities.prove_release(
            ProveReleaseInput(machine=machine, release=release)
        )
        return _Ready(machine, proof, from_pool=False)

    async def _attach(self, ready: _Ready) -> None:
        """Have the route be served by the new machine, in one write; there is no way back."""
        try:
            await ReplacementActivities.attach_machine(
                AttachMachineInput(
                    route_id=self._input.route_id,
                    machine=ready.machine,
                    proof=ready.proof,
                    unreachable=self._input.unreachable,
                    origin=self._input.origin,
                )
            )
        except ActivityError:
            # It may have been done before it failed, and what serves a route is not undone.
            route = await RouteActivities.load_route(LoadRouteInput(route_id=self._input.route_id))
            if route.machine is None or route.machine.key != ready.machine.key:
                raise

    async def _finish(self, route: Route, old: Machine | None) -> None:
        """Drain and destroy the old machine, let the route go, and have the pool be filled again.

        Raises:
            ApplicationError: what has the old machine's key is not known to be ours.
        """
        left = None if old is None else await self._remove(route, old)
        await retry_until_done(DisruptionActivities.release_disruption, self._of_route)
        await begin_keeping(route.provider, route.region, self._input.origin)
        if left is not None:
            raise failure(left)

    async def _remove(self, route: Route, old: Machine) -> Fault | None:
        """Drain and destroy the old machine; return why that is left to a person, if it is."""
        try:
            await DrainActivities.drain_machine(
                DrainMachineInput(route_id=route.route_id, machine=old)
            )
        except ActivityError as error:
            workflow.logger.warning("%s is not drained: %s", old.key, fault_of(error).summary)
        removal = Removal(
            key=old.key,
            provider=old.provider,
            region=old.region,
            provider_id=old.provider_id,
            track=route.track,
            reason=self._input.reason,
            unreachable=self._input.unreachable,
            origin=self._input.origin,
        )
        try:
            await remove(removal)
        except FailureError as error:
            left = fault_of(error)
            report_fault(left)
            await retry_until_done(RouteActivities.record_fault, self._fault_record(left, old.key))
            return left
        return None

    async def _destroy(self, input: DestroyMachineInput) -> None:
        await MachineActivities.destroy_machine(input)
        self._destroyed = True

    async def _give_back(self, route: Route, ended_by: Fault) -> None:
        given = await ReplacementActivities.give_back(
            GiveBackInput(route_id=self._input.route_id, fault=ended_by, origin=self._input.origin)
        )
        if given.machine_key is not None:
            await begin_keeping(route.provider, route.region, self._input.origin)

    async def _record(self, ended_by: Fault) -> None:
        report_fault(ended_by)
        # A refusal changed nothing. On record it would be the last that is known of the route,
        # and hide what speaks for another machine.
        if not (ended_by.refused and self._new_key is None):
            await RouteActivities.record_fault(self._fault_record(ended_by, self._new_key))

    def _fault_record(self, fault: Fault, machine_key: str | None) -> RecordFaultInput:
        return RecordFaultInput(
            route_id=self._input.route_id,
            release_tag=self._release_tag,
            fault=fault,
            origin=self._input.origin,
            machine_key=machine_key,
            machine_destroyed=self._destroyed or machine_key is None,
        )
