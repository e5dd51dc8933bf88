"""Activities of an undo: which route goes back to which release."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

from activities import policies
from activities.execution import current_operation, current_run_id
from activities.rollout.rollouts import listed_plan
from relight.domain.names import ReleaseTag, RouteId, ScopeName
from relight.domain.release import NoPreviousReleaseError, previous_release
from relight.domain.rollout.planner import plan_rollout
from relight.domain.rollout.rollout import (
    FindUndoInput,
    PlanUndoInput,
    RolloutPlan,
    UndoFound,
)
from relight.engine.step import step
from relight.store.store import Store


class UndoActivities:
    """Reads and writes of the store. Each write is one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @step(policies.STORE, lambda i: f"{i.release_tag}: {i.scope}")
    def find_undo(self, input: FindUndoInput) -> UndoFound:
        """Return the releases that routes would go back to. Nothing is changed."""
        targets = self._targets(input.scope, input.release_tag)
        return UndoFound(
            tags=tuple(tag for tag, _ in Counter(targets.values()).most_common()),
            architectures=tuple(self._store.routes.architectures(input.scope)),
        )

    @step(policies.STORE, lambda i: f"{i.undone}: {i.scope}")
    def plan_undo(self, input: PlanUndoInput) -> RolloutPlan:
        """Assign every route at the release to a wave, and take the release's declaration back.

        The declaration goes back before the routes: reconciliation would advance them again.
        """
        targets = self._targets(input.scope, input.undone)
        routes = self._store.routes.in_scope(input.scope)
        planned = plan_rollout(
            [route for route in routes if route.route_id in targets],
            input.strategy,
            exclusions=(),
            freezes=(),
            now=datetime.now(UTC),
        )
        self._store.rollout_routes.plan_undo(current_run_id(), planned.waves, targets)
        self._store.declarations.take_back(
            input.scope, input.undone, input.release.tag, current_operation(input.origin)
        )
        return listed_plan(input, planned)

    def _targets(self, scope: ScopeName, undone: ReleaseTag) -> Mapping[RouteId, ReleaseTag]:
        """Return the release from before of each route that the release has reached.

        A route that no rollout brought there goes back to the last other release that it was
        proven at, and a route that was never proven at another one to the declaration from before.
        """
        recorded = self._store.rollout_routes.releases_before(undone)
        declared = self._store.declarations.before(scope, undone)
        found: dict[RouteId, ReleaseTag] = {}
        for route_id in self._store.routes.targeting(scope, undone):
            tag = recorded.get(route_id) or self._proven_before(route_id, undone) or declared
            if tag is not None:
                found[route_id] = tag
        return found

    def _proven_before(self, route_id: RouteId, undone: ReleaseTag) -> ReleaseTag | None:
        try:
            return previous_release(route_id, undone, self._store.routes.proven_tags(route_id))
        except NoPreviousReleaseError:
            return None
