"""Activities of an undo: which route goes back to which release."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

from activities import policies
from activities.rollout.rollouts import listed_plan, operation_of
from relight.domain.names import ReleaseTag, RouteId, ScopeName, rollout_workflow_id
from relight.domain.recovery import previous_release
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
        """Return the releases that routes would go back to. Nothing is changed.

        A running rollout may reach any route of its scope before the undo supersedes it.
        """
        targets = self._targets(input.scope, input.release_tag)
        tags = Counter(targets.values())
        rollout = self._store.rollouts.get(rollout_workflow_id(input.release_tag, input.scope))
        if rollout is not None and rollout.closed_at is None:
            tags.update(self._store.routes.current_releases(input.scope))
            del tags[input.release_tag]
        return UndoFound(
            tags=tuple(tag for tag, _ in tags.most_common()),
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
        self._store.rollout_routes.plan_undo(input.rollout_run_id, planned.waves, targets)
        self._store.declarations.take_back(
            input.scope, input.undone, input.release.tag, operation_of(input)
        )
        return listed_plan(input, planned)

    def _targets(self, scope: ScopeName, undone: ReleaseTag) -> Mapping[RouteId, ReleaseTag]:
        """Return the release from before of each route that the release has reached.

        A route that no rollout brought there goes back to the last other release that it was
        proven at, and a route that was never proven at another one to the declaration from before.
        """
        recorded = self._store.release_histories.before_rollout(undone)
        declared = self._store.declarations.before(scope, undone)
        in_scope = {route.route_id for route in self._store.routes.in_scope(scope)}
        routes = sorted({*self._store.routes.targeting(scope, undone), *recorded} & in_scope)
        unrecorded = [route_id for route_id in routes if route_id not in recorded]
        proven = {
            route_id: previous_release(history, undone)
            for route_id, history in self._store.release_histories.list(unrecorded)
        }
        found = {
            route_id: recorded.get(route_id) or proven.get(route_id) or declared
            for route_id in routes
        }
        return {route_id: tag for route_id, tag in found.items() if tag is not None}
