"""What the store says and is told."""

from activities import policies
from activities.operation import current_operation
from relight.domain.names import DEFAULT_RELEASE_SETTING
from relight.domain.release import (
    DesiredRelease,
    DesiredReleaseInput,
    desired_release,
    release_before,
)
from relight.domain.route import (
    LoadRouteInput,
    OpenRouteInput,
    Recorded,
    RecordFaultInput,
    RecordMachineInput,
    RecordProofInput,
    ReleaseBefore,
    Route,
    RouteOpened,
    SetTargetInput,
)
from relight.engine.step import step
from relight.store.errors import UnknownRouteError, UnknownTrackError
from relight.store.store import Store


class RouteActivities:
    """Reads and writes of the store; each write is one transaction with its event."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @step(policies.BOOKKEEPING, lambda i: f"for track {i.track}")
    def desired_release(self, input: DesiredReleaseInput) -> DesiredRelease:
        """Return the tag that a track's routes should run; refuse when nothing declares one."""
        track = self._store.tracks.get(input.track)
        if track is None:
            raise UnknownTrackError(f"there is no track {input.track}")
        return desired_release(
            track.name, track.release_override, self._store.settings.get(DEFAULT_RELEASE_SETTING)
        )

    @step(policies.BOOKKEEPING, lambda i: i.route_id)
    def load_route(self, input: LoadRouteInput) -> Route:
        """Return a route with its machine."""
        route = self._store.routes.get(input.route_id)
        if route is None:
            raise UnknownRouteError(f"there is no route {input.route_id}")
        return route

    @step(policies.BOOKKEEPING, lambda i: i.route_id)
    def release_before(self, input: LoadRouteInput) -> ReleaseBefore:
        """Return the release that the route goes back to; refuse where there is none."""
        route = self.load_route(input)
        proven = self._store.routes.proven_tags(route.route_id)
        return ReleaseBefore(tag=release_before(route.route_id, route.target_release_tag, proven))

    @step(policies.BOOKKEEPING, lambda i: f"{i.route_id}: {i.release_tag}")
    def open_route(self, input: OpenRouteInput) -> RouteOpened:
        """Write the route and its next machine's key down."""
        return self._store.routes.open(input, current_operation(input.origin))

    @step(policies.BOOKKEEPING, lambda i: i.machine.key)
    def record_machine(self, input: RecordMachineInput) -> Recorded:
        """Write down what the provider created."""
        self._store.routes.record_machine(input, current_operation(input.origin))
        return Recorded()

    @step(policies.BOOKKEEPING, lambda i: f"{i.route_id}: {i.release_tag}")
    def set_target(self, input: SetTargetInput) -> Recorded:
        """Write down what a route should run."""
        self._store.routes.set_target(input, current_operation(input.origin))
        return Recorded()

    @step(policies.BOOKKEEPING, lambda i: f"{i.route_id}: {i.proof.release_tag}")
    def record_proof(self, input: RecordProofInput) -> Recorded:
        """Write down what a route was proven to run."""
        self._store.routes.record_proof(input, current_operation(input.origin))
        return Recorded()

    @step(policies.BOOKKEEPING, lambda i: f"{i.route_id}: {i.fault.kind}")
    def record_fault(self, input: RecordFaultInput) -> Recorded:
        """Write down why an operation on a route failed."""
        self._store.routes.record_fault(input, current_operation(input.origin))
        return Recorded()
