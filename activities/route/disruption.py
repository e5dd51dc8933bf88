"""The disruption ledger: which routes are out, within the disruption budgets."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from activities import policies
from activities.execution import current_operation
from relight.domain.disruption import (
    Census,
    Group,
    TakeDisruptionInput,
    groups_named,
    groups_of,
)
from relight.domain.fault.error import DomainError
from relight.domain.names import RouteId
from relight.domain.rollout.admission import Admission
from relight.domain.rollout.strategy import Strategy
from relight.domain.route import Recorded, RouteOperationInput
from relight.engine.step import step
from relight.store.events import Operation
from relight.store.fleet_snapshot import FleetSnapshot
from relight.store.rollout_choice import Chosen
from relight.store.store import Store


class DisruptionRefusedError(DomainError):
    """The route may not be taken out now."""

    kind = "disruption-refused"


class DisruptionLedger:
    """Takes routes out within the budgets of one strategy."""

    def __init__(self, store: Store, strategy: Strategy) -> None:
        self._store = store
        self._strategy = strategy

    def take(
        self, route_id: RouteId, reason: str, operation: Operation, rollout: str | None = None
    ) -> None:
        """Take a route out until its operation releases it.

        Args:
            route_id: the route.
            reason: for a person.
            operation: its run becomes the holder.
            rollout: the workflow id of the rollout that started it, whose claim it takes over.

        Raises:
            DisruptionRefusedError: a budget is spent, or another operation has the route out.
        """
        refusal = self._store.disruptions.take(
            route_id, reason, operation, self._choose, rollout=rollout
        )
        if refusal is not None:
            raise DisruptionRefusedError(f"route {route_id} is not taken out now: {refusal}")

    def _choose(self, waiting: Sequence[RouteId], fleet: FleetSnapshot) -> Chosen:
        # Without freezes: they prevent swaps, which the planner checks, but never replacements.
        admission = Admission(census_of(fleet), self._strategy, (), fleet.under_way)
        admission.enter(waiting)
        starts = admission.start(datetime.now(UTC))
        return Chosen(starts, (), admission.limited_by, admission.thaws_at)


class DisruptionActivities:
    """Writes of the ledger. Each is one transaction with its event."""

    def __init__(self, store: Store, ledger: DisruptionLedger) -> None:
        self._store = store
        self._ledger = ledger

    @step(policies.STORE, lambda i: f"{i.route_id}: {i.reason}")
    def take_disruption(self, input: TakeDisruptionInput) -> Recorded:
        """Take the route out, or refuse."""
        self._ledger.take(input.route_id, input.reason, current_operation(input.origin))
        return Recorded()

    @step(policies.STORE, lambda i: i.route_id)
    def release_disruption(self, input: RouteOperationInput) -> Recorded:
        """Release the route: it is no longer out."""
        self._store.disruptions.release(input.route_id, current_operation(input.origin))
        return Recorded()


def census_of(fleet: FleetSnapshot) -> Census:
    """Return the counts that budgets are checked against, from a partial snapshot of the fleet."""
    groups = {route.route_id: groups_of(route) for route in fleet.routes}
    in_service: Counter[Group] = Counter()
    for (provider, region, track), routes in fleet.in_service.items():
        for group in groups_named(provider, region, track):
            in_service[group] += routes
    return Census(
        routes={route.route_id: route for route in fleet.routes},
        groups=groups,
        in_service=in_service,
        out=fleet.out,
    )
