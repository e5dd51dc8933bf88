"""A route is taken out within the budgets that reconciliation keeps, and let go again."""

from collections.abc import Sequence
from datetime import UTC, datetime

from activities import policies
from activities.operation import current_operation
from activities.rollout.rollouts import census_of
from relight.domain.disruption import TakeDisruptionInput
from relight.domain.fault.error import DomainError
from relight.domain.names import RouteId
from relight.domain.replacement import OfRouteInput
from relight.domain.rollout.admission import Admission
from relight.domain.rollout.rollout import Strategy
from relight.domain.route import Recorded
from relight.engine.step import step
from relight.store.rollout_routes import Chosen, FleetSnapshot
from relight.store.store import Store
from relight.store.write import Operation


class DisruptionRefusedError(DomainError):
    """The route may not be taken out now."""

    kind = "disruption-refused"


class Ledger:
    """What is out, counted against the budgets of one strategy."""

    def __init__(self, store: Store, strategy: Strategy) -> None:
        self._store = store
        self._strategy = strategy

    def take(self, route_id: RouteId, reason: str, operation: Operation) -> None:
        """Hold a route until its operation lets it go.

        Raises:
            DisruptionRefusedError: as much is out as may be, or somebody else has it out.
        """
        why_not = self._store.disruptions.take(route_id, reason, operation, self._choose)
        if why_not is not None:
            raise DisruptionRefusedError(f"route {route_id} is not taken out now: {why_not}")

    def _choose(self, waiting: Sequence[RouteId], seen: FleetSnapshot) -> Chosen:
        # A freeze holds a swap up where that is planned; it holds no replacement up.
        window = Admission(census_of(seen), self._strategy, (), seen.under_way)
        window.enter(waiting)
        starts = window.start(datetime.now(UTC))
        return Chosen(starts, (), window.held_up_by, window.thaws_at)


class DisruptionActivities:
    """Each write is one transaction with its event."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger

    @step(policies.BOOKKEEPING, lambda i: f"{i.route_id}: {i.reason}")
    def take_disruption(self, input: TakeDisruptionInput) -> Recorded:
        """Hold the route, or refuse."""
        self._ledger.take(input.route_id, input.reason, current_operation(input.origin))
        return Recorded()

    @step(policies.BOOKKEEPING, lambda i: i.route_id)
    def release_disruption(self, input: OfRouteInput) -> Recorded:
        """Let the route go."""
        self._store.disruptions.release(input.route_id, current_operation(input.origin))
        return Recorded()
