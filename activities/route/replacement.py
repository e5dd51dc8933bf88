"""Records of a replacement: begin it, claim or plan a machine, attach or return it."""

from functools import partial

from activities import policies
from activities.execution import current_operation
from activities.route.disruption import DisruptionLedger
from activities.route.known_good import release_for_machine
from relight.domain.pool.pool import claimable
from relight.domain.replacement import (
    AttachMachineInput,
    BeginReplacementInput,
    ClaimMachineInput,
    MachineClaimed,
    MachineReturned,
    ReplacementBegun,
    ReturnMachineInput,
)
from relight.domain.route import Recorded, RouteOpened, RouteOperationInput
from relight.domain.track import DesiredRelease
from relight.engine.step import step
from relight.store.errors import UnknownRouteError
from relight.store.store import Store


class ReplacementActivities:
    """Writes of the store. Each is one transaction with its event."""

    def __init__(self, store: Store, ledger: DisruptionLedger) -> None:
        self._store = store
        self._ledger = ledger

    @step(policies.STORE, lambda i: f"{i.route_id}: {i.reason}")
    def begin_replacement(self, input: BeginReplacementInput) -> ReplacementBegun:
        """Take the route out within the disruption budgets, or refuse."""
        operation = current_operation(input.origin)
        route = self._store.routes.get(input.route_id)
        if route is None:
            raise UnknownRouteError(f"there is no route {input.route_id}")
        if input.release_tag is not None:
            release = DesiredRelease(tag=input.release_tag, declared_by=input.origin.requested_by)
        else:
            release = release_for_machine(self._store, route.track, route, route.target_release_tag)
        self._ledger.take(input.route_id, input.reason, operation, input.rollout)
        self._store.remediations.record_replacement(input.route_id, operation)
        return ReplacementBegun(route=route, release=release)

    @step(policies.STORE, lambda i: i.route_id)
    def claim_machine(self, input: ClaimMachineInput) -> MachineClaimed:
        """Claim a proven machine from the pool of the route's region; none if the pool has none."""
        pinned = {each.name for each in self._store.images.list() if each.pinned}
        stopped = self._store.rollouts.stopped_images() - pinned
        claim = self._store.pool.claim(
            input.route_id,
            input.release_tag,
            current_operation(input.origin),
            partial(claimable, image_name=input.image_name, stopped_images=stopped),
            input.architecture,
        )
        if claim is None:
            return MachineClaimed()
        return MachineClaimed(machine=claim.machine, release_tag=claim.release_tag)

    @step(policies.STORE, lambda i: i.route_id)
    def plan_replacement_machine(self, input: RouteOperationInput) -> RouteOpened:
        """Record the key of the route's next machine; the current machine still serves."""
        return self._store.replacements.plan(input.route_id, current_operation(input.origin))

    @step(policies.STORE, lambda i: f"{i.machine.key} to {i.route_id}", lasting=True)
    def attach_machine(self, input: AttachMachineInput) -> Recorded:
        """Attach the new machine to the route; the old machine is draining from now on."""
        self._store.replacements.attach(
            input.route_id,
            input.machine,
            input.proof,
            current_operation(input.origin),
            unreachable=input.unreachable,
            requested=input.requested,
            instead_of=input.instead_of,
            instead_reason=input.instead_reason,
        )
        return Recorded()

    @step(policies.STORE, lambda i: i.route_id)
    def return_machine(self, input: ReturnMachineInput) -> MachineReturned:
        """Return the machine that the route claimed, but does not use, to the pool."""
        operation = current_operation(input.origin)
        return MachineReturned(
            machine_key=self._store.pool.return_machine(input.route_id, input.fault, operation)
        )
