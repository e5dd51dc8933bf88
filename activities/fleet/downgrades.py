"""Actions of a plan that would take healthy routes to an older release: only a person does that."""

from activities.route.known_good import newest_of, version_of
from relight.domain.drift import scope_of
from relight.domain.names import ReleaseTag, ScopeName, scope_track
from relight.domain.reconcile.builder import FleetView
from relight.domain.reconcile.plan import (
    Action,
    ActionKind,
    ReconcilePlan,
    ReconcilePolicy,
    drop,
)
from relight.domain.recovery import is_proven
from relight.domain.route import Route, RouteStatus
from relight.releases.versions import is_older
from relight.store.store import Store


def without_downgrades(
    store: Store, plan: ReconcilePlan, view: FleetView, policy: ReconcilePolicy
) -> ReconcilePlan:
    """Return a plan without swaps and rollouts that would be refused, in each run again.

    Args:
        store: has the versions of releases.
        plan: the plan.
        view: the fleet that it is for.
        policy: says how much is reported.
    """
    overrides = {track.name: track.release_override for track in view.declarations.tracks}
    routes = {route.route_id: route for route in view.routes}

    def is_newer(route: Route, tag: ReleaseTag) -> bool:
        current = route.current_release_tag
        if current is None or not is_proven(route):
            return False
        return is_older(version_of(store, tag), version_of(store, current))

    def why_not(action: Action) -> str | None:
        tag = action.release_tag
        if tag is None:
            return None
        if action.kind is ActionKind.SWAP and action.route_id is not None:
            route = routes[action.route_id]
            if not is_newer(route, tag):
                return None
            options = _options(scope_of(route.track, overrides.get(route.track)))
            return (
                f"{tag} is older than what it runs: "
                f"`relight route swap {route.route_id} {tag} --allow-downgrade` brings it there, "
                f"`relight rollout start {route.current_release_tag}{options}` brings the others "
                "to what it runs"
            )
        if action.kind is not ActionKind.START_ROLLOUT:
            return None
        behind = [
            route
            for route in view.routes
            if scope_of(route.track, overrides.get(route.track)) == action.scope
            and route.status is RouteStatus.SERVING
            and route.current_release_tag != tag
        ]
        if not behind or not all(is_newer(each, tag) for each in behind):
            return None
        options = _options(action.scope or "")
        found = {each.current_release_tag for each in behind if each.current_release_tag}
        newest = newest_of(store, found)
        return (
            f"they are proven at a newer release: `relight rollout undo {newest}{options}` takes "
            f"them back, `relight rollout start {newest}{options}` declares it"
        )

    return drop(plan, why_not, policy.max_reported)


def _options(scope: ScopeName) -> str:
    track = scope_track(scope)
    return f" --track {track}" if track else ""
