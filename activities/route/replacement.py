"""Another machine for a route, as the store is told of it: held, claimed, attached, given back."""

from activities import policies
from activities.operation import current_operation
from activities.route.disruption import Ledger
from relight.domain.pool.pool import claimable
from relight.domain.replacement import (
    AttachMachineInput,
    BeginReplacementInput,
    ClaimMachineInput,
    GiveBackInput,
    GivenBack,
    MachineClaimed,
    OfRouteInput,
    ReplacementBegun,
)
from relight.domain.route import Recorded, RouteOpened
from relight.engine.step import step
from relight.store.errors import UnknownRouteError
from relight.store.store import Store


class ReplacementActivities:
    """Each write is one transaction with its event."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger

    @step(policies.BOOKKEEPING, lambda i: f"{i.route_id}: {i.reason}")
    def begin_replacement(self, input: BeginReplacementInput) -> ReplacementBegun:
        """Hold the route within the budgets that reconciliation keeps, or refuse."""
        operation = current_operation(input.origin)
        self._ledger.take(input.route_id, input.reason, operation)
        self._store.remediations.replacement_begun(input.route_id, operation)
        route = self._store.routes.get(input.route_id)
        if route is None:
            raise UnknownRouteError(f"there is no route {input.route_id}")
        return ReplacementBegun(route=route)

    @step(policies.BOOKKEEPING, lambda i: f"for {i.route_id}")
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

    @step(policies.BOOKKEEPING, lambda i: f"for {i.route_id}")
    def plan_replacement_machine(self, input: OfRouteInput) -> RouteOpened:
        """Write the key of the route's next machine down, beside the one that serves."""
        return self._store.replacements.plan(input.route_id, current_operation(input.origin))

    @step(policies.BOOKKEEPING, lambda i: f"{i.machine.key} to {i.route_id}")
    def attach_machine(self, input: AttachMachineInput) -> Recorded:
        """Have the route be served by its new machine; the old one is draining."""
        self._store.replacements.attach(
            input.route_id,
            input.machine,
            input.proof,
            current_operation(input.origin),
            unreachable=input.unreachable,
        )
        return Recorded()

    @step(policies.BOOKKEEPING, lambda i: f"what {i.route_id} claimed")
    def give_back(self, input: GiveBackInput) -> GivenBack:
        """Give a claimed machine that does not serve the route back to the pool."""
        operation = current_operation(input.origin)
        return GivenBack(
            machine_key=self._store.pool.give_back(input.route_id, input.fault, operation)
        )
