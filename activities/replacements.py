"""Another machine for a route, as the store is told of it: held, claimed, attached, given back."""

from collections.abc import Sequence
from datetime import UTC, datetime

from temporalio import activity

from activities.operation import current_operation
from activities.rollouts import census_of
from fleet.errors import UnknownRouteError
from fleet.rollout_routes import Chosen, FleetSeen
from fleet.store import Store
from messages.autoreplace import (
    AttachMachineInput,
    BeginReplacementInput,
    ClaimMachineInput,
    GiveBackInput,
    GivenBack,
    MachineClaimed,
    OfRouteInput,
    ReplacementBegun,
)
from messages.errors import DomainError
from messages.names import RouteId
from messages.reconcile import ReconcilePolicy
from messages.route import Recorded, RouteOpened
from planning.pool import claimable
from planning.window import Window


class DisruptionRefusedError(DomainError):
    """The route may not be taken out now."""

    kind = "disruption-refused"


class ReplacementActivities:
    """Each write is one transaction with its event."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @activity.defn
    def begin_replacement(self, input: BeginReplacementInput) -> ReplacementBegun:
        """Hold the route within the budgets that reconciliation keeps, or refuse."""
        operation = current_operation(input.origin)
        why_not = self._store.disruptions.take(
            input.route_id, input.reason, operation, within_budgets
        )
        if why_not is not None:
            raise DisruptionRefusedError(f"route {input.route_id} is not replaced now: {why_not}")
        self._store.care.replacement_begun(input.route_id, operation)
        route = self._store.routes.get(input.route_id)
        if route is None:
            raise UnknownRouteError(f"there is no route {input.route_id}")
        return ReplacementBegun(route=route)

    @activity.defn
    def claim_machine(self, input: ClaimMachineInput) -> MachineClaimed:
        """Give the route a proven machine of its region's pool."""
        claim = self._store.pool.claim(
            input.route_id,
            input.release_tag,
            current_operation(input.origin),
            claimable,
            input.architecture,
        )
        if claim is None:
            return MachineClaimed()
        return MachineClaimed(machine=claim.machine, release_tag=claim.release_tag)

    @activity.defn
    def plan_successor(self, input: OfRouteInput) -> RouteOpened:
        """Write the key of the route's next machine down, beside the one that serves."""
        return self._store.successors.plan(input.route_id, current_operation(input.origin))

    @activity.defn
    def attach_machine(self, input: AttachMachineInput) -> Recorded:
        """Have the route be served by its new machine; the old one is draining."""
        self._store.successors.attach(
            input.route_id,
            input.machine,
            input.proof,
            current_operation(input.origin),
            unreachable=input.unreachable,
        )
        return Recorded()

    @activity.defn
    def give_back(self, input: GiveBackInput) -> GivenBack:
        """Give a claimed machine that does not serve the route back to the pool."""
        operation = current_operation(input.origin)
        return GivenBack(
            machine_key=self._store.pool.give_back(input.route_id, input.fault, operation)
        )

    @activity.defn
    def release_disruption(self, input: OfRouteInput) -> Recorded:
        """Let the route go."""
        self._store.disruptions.release(input.route_id, current_operation(input.origin))
        return Recorded()


def within_budgets(waiting: Sequence[RouteId], seen: FleetSeen) -> Chosen:
    """Let routes start within reconciliation's budgets. A freeze holds no replacement up."""
    window = Window(census_of(seen), ReconcilePolicy().strategy, (), seen.under_way)
    window.enter(waiting)
    starts = window.start(datetime.now(UTC))
    return Chosen(starts, (), window.held_up_by, window.thaws_at)
