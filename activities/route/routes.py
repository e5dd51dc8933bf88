"""Activities on a route's records: its declared release, its machine, its target, its proof."""

from activities import policies
from activities.execution import current_operation
from activities.route.known_good import given_up, release_for_machine
from relight.breaker_evaluation import BreakerEvaluation
from relight.domain.recovery import rollback_release
from relight.domain.route import (
    CheckVacantInput,
    LoadRouteInput,
    OpenRouteInput,
    PreviousRelease,
    Recorded,
    RecordFaultInput,
    RecordMachineInput,
    RecordProofInput,
    Route,
    RouteOpened,
    RouteOperationInput,
    RouteRetired,
    Vacant,
)
from relight.domain.route_history import means_unreachable
from relight.domain.track import DesiredRelease, DesiredReleaseInput
from relight.engine.step import step
from relight.store.errors import UnknownRouteError
from relight.store.store import Store


class RouteActivities:
    """Reads and writes of the store. Each write is one transaction with its event."""

    def __init__(self, store: Store, breaker: BreakerEvaluation) -> None:
        self._store = store
        self._breaker = breaker

    @step(policies.STORE, lambda i: i.route_id, lasting=True)
    def retire_route(self, input: RouteOperationInput) -> RouteRetired:
        """Retire a route; its machines are draining from now on."""
        return self._store.retirements.retire(input.route_id, current_operation(input.origin))

    @step(policies.STORE, lambda i: f"track {i.track}")
    def desired_release(self, input: DesiredReleaseInput) -> DesiredRelease:
        """Return the tag that the routes of a track should run; refuse if none is declared.

        For a route that gets a machine, another one if that is known as bad there.
        """
        route = self._store.routes.get(input.route_id) if input.route_id else None
        return release_for_machine(self._store, input.track, route)

    @step(policies.STORE, lambda i: i.route_id)
    def load_route(self, input: LoadRouteInput) -> Route:
        """Return a route with its machine; refuse an unknown route."""
        route = self._store.routes.get(input.route_id)
        if route is None:
            raise UnknownRouteError(f"there is no route {input.route_id}")
        return route

    @step(policies.STORE, lambda i: i.route_id)
    def previous_release(self, input: LoadRouteInput) -> PreviousRelease:
        """Return the release for a rollback of the route; refuse if there is none."""
        route = self.load_route(input)
        history = self._store.release_histories.get(route.route_id)
        return PreviousRelease(
            tag=rollback_release(route, history, given_up(self._store, route.track))
        )

    @step(policies.STORE, lambda i: i.route_id)
    def check_vacant(self, input: CheckVacantInput) -> Vacant:
        """Refuse a route that has a machine, or may have one elsewhere."""
        self._store.routes.require_vacant(input, current_operation(input.origin))
        return Vacant()

    @step(policies.STORE, lambda i: f"{i.route_id}: {i.release_tag}", lasting=True)
    def open_route(self, input: OpenRouteInput) -> RouteOpened:
        """Record the route and the key of its next machine."""
        return self._store.routes.open(input, current_operation(input.origin))

    @step(policies.STORE, lambda i: i.machine.key)
    def record_machine(self, input: RecordMachineInput) -> Recorded:
        """Record the machine that the provider created."""
        self._store.routes.record_machine(input, current_operation(input.origin))
        return Recorded()

    @step(policies.STORE, lambda i: f"{i.route_id}: {i.proof.release_tag}")
    def record_proof(self, input: RecordProofInput) -> Recorded:
        """Record what a route was proven to run."""
        self._store.routes.record_proof(input, current_operation(input.origin))
        return Recorded()

    @step(policies.STORE, lambda i: f"{i.route_id}: {i.fault.kind}")
    def record_fault(self, input: RecordFaultInput) -> Recorded:
        """Record the fault that ended an operation; evaluate the breaker if no work is possible."""
        operation = current_operation(input.origin)
        self._store.routes.record_fault(input, operation)
        if means_unreachable(input.fault.kind):
            self._breaker.after_fault(operation)
        return Recorded()
