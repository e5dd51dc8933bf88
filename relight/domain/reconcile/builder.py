"""The plan builder: the fleet, and the actions that were decided so far."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerLimits,
    Destruction,
    MachineObservation,
)
from relight.domain.breaker.decisions import (
    last_locked_out,
    locked_out,
    machines_to_observe,
)
from relight.domain.destruction import Allowance
from relight.domain.disruption import take_census
from relight.domain.doubt import doubts_about, is_whole, outdated
from relight.domain.drift import (
    Declarations,
    ScopeDrift,
    drift_of,
)
from relight.domain.hold import Hold, exclusion_of
from relight.domain.names import ReleaseTag, RouteId
from relight.domain.pool.pool import PoolMachine, PoolTarget
from relight.domain.pool.remediation import observation_of_pool
from relight.domain.reconcile.plan import (
    Action,
    ActionKind,
    LeftAlone,
    ReconcilePlan,
    ReconcilePolicy,
)
from relight.domain.remediation import Remediation, RemediationDecision, decide_remediation
from relight.domain.rollout.admission import Admission
from relight.domain.route import Route, RouteStatus
from relight.domain.route_history import RouteHistory, observation_of
from relight.domain.sweep.sweep import SweepPlan


@dataclass(frozen=True)
class FleetView:
    """The current state of the fleet.

    Attributes:
        routes: all routes, because budgets count the whole fleet.
        declarations: what they should run, and the rollouts that may change that.
        breaker: its state, computed from this fleet.
        limits: the breaker's.
        histories: the recent histories of routes, where there are any.
        busy: routes with an operation in progress.
        exclusions, freezes: all on record, past and future ones included.
        destructions: those of the last hour, and one for each replacement in progress.
        pools: each region's pool target and machines.
        sweep: the sweep plan for this fleet.
        page: the routes of this run; None for all.
    """

    routes: Sequence[Route]
    declarations: Declarations
    breaker: Breaker
    limits: BreakerLimits = field(default_factory=BreakerLimits)
    histories: Mapping[RouteId, RouteHistory] = field(default_factory=dict)
    busy: Set[RouteId] = frozenset()
    exclusions: Sequence[Hold] = ()
    freezes: Sequence[Hold] = ()
    destructions: Sequence[Destruction] = ()
    pools: Sequence[tuple[PoolTarget, Sequence[PoolMachine]]] = ()
    sweep: SweepPlan = field(default_factory=lambda: SweepPlan(actions=()))
    page: Set[RouteId] | None = None


def observations_of(view: FleetView) -> tuple[MachineObservation, ...]:
    """Return the last observation of each route's machine, as the breaker counts them."""
    return observations_of_routes(view.routes, view.histories)


def observations_of_routes(
    routes: Iterable[Route], histories: Mapping[RouteId, RouteHistory]
) -> tuple[MachineObservation, ...]:
    """Return the last observation of each machine that serves one of these routes."""
    found = (observation_of(route, history_of(route, histories)) for route in routes)
    return tuple(observation for observation in found if observation is not None)


def history_of(route: Route, histories: Mapping[RouteId, RouteHistory]) -> RouteHistory:
    """Return the history of a route, with machine, proof and status from its current record."""
    known = histories.get(route.route_id) or RouteHistory(route_id=route.route_id, machine_key=None)
    return known.model_copy(
        update={
            "machine_key": route.machine.key if route.machine else None,
            "proven_at": route.proven_at,
            "faulted": route.status is RouteStatus.FAULTED,
        }
    )


class PlanBuilder:
    """Collects the actions of a reconcile run, and what it leaves alone.

    Attributes:
        routes: the whole fleet by id, in the order of the ids.
        decisions: the remediation of each route of this run that is not busy.
        drifts: the drift of each scope.
        allowance: how many machines may still be destroyed.
        doubts: the evidence that our records are old.
        blocked: why nothing may be changed: the breaker is open, so observations are not reliable,
            or our records as a whole are in doubt. None if neither is so.
        taken: the routes with an action.
        locked_out: the machines that lock the control plane out, if they are several.
        stale_before: reachable observations from before do not count.
        pool_to_observe: machines of pools to observe so that the breaker's groups become known.
    """

    def __init__(self, view: FleetView, policy: ReconcilePolicy, now: datetime) -> None:
        self.view, self.policy, self.now = view, policy, now
        self.routes = {
            route.route_id: route for route in sorted(view.routes, key=lambda each: each.route_id)
        }
        self.census = take_census(self.routes.values())
        self.busy = [route_id for route_id in self.routes if route_id in view.busy]
        routes = tuple(self.routes.values())
        self.doubts = doubts_about(
            routes, view.histories, (*view.sweep.actions, *view.sweep.left), policy.doubtful
        )
        scopes, self.drifts = drift_of(
            routes,
            view.declarations,
            view.exclusions,
            policy.drift,
            now,
            in_doubt={each.route_id for each in self.doubts if each.route_id},
        )
        in_pool = [each for _, machines in view.pools for each in machines]
        pool = tuple(map(observation_of_pool, in_pool))
        observations = (*observations_of(view), *pool)
        self.locked_out = locked_out(observations, view.breaker, view.limits)
        self.stale_before = last_locked_out(observations)
        room = policy.max_pool_steps
        self.pool_to_observe = machines_to_observe(
            view.breaker, pool, view.limits, now, room, self.stale_before
        )
        by_scope = {drift.scope: drift for drift in self.drifts}
        self._drift = {route_id: by_scope[scope] for route_id, scope in scopes.items()}
        doubted = {each.route_id: each.reason for each in self.doubts}
        self.decisions: Mapping[RouteId, RemediationDecision] = {
            route_id: decide_remediation(
                history_of(route, view.histories).model_copy(
                    update={"doubt": doubted.get(route_id)}
                ),
                policy.replacement,
                now,
                several_locked_out=self.is_locked_out(route),
            )
            for route_id, route in self.routes.items()
            if route_id not in view.busy
            and (view.page is None or route_id in view.page)
            and route.status is not RouteStatus.PROVISIONING
        }
        self.allowance = Allowance(view.breaker, view.destructions, view.limits, now)
        self._incident = outdated(self.doubts)
        self._in_doubt = (
            self._incident.summary
            if self._incident and is_whole(self.doubts, routes, policy.doubtful)
            else None
        )
        self.blocked = self.allowance.why_open() or self._in_doubt
        self.taken: dict[RouteId, None] = {}
        self._actions: list[Action] = []
        self._left: dict[str, str] = {}

    def is_locked_out(self, route: Route) -> bool:
        """Return whether a route's machine locks the control plane out, as others do."""
        return route.machine is not None and route.machine.key in self.locked_out

    def needing(self, remediation: Remediation) -> list[Route]:
        """Return the routes that need a remediation, sorted by id."""
        return [
            self.routes[route_id]
            for route_id, decision in self.decisions.items()
            if decision.remediation is remediation
        ]

    def last_login(self, route: Route) -> tuple[bool, datetime | None, RouteId]:
        """Return a key that sorts routes by the last login on record, proven or failed."""
        history = history_of(route, self.view.histories)
        times = [fault.at for fault in history.faults]
        times += [history.proven_at] if history.proven_at else []
        last = max(times, default=None)
        return last is not None, last, route.route_id

    def why_not_destroy(self, provider: str, region: str, track: str | None = None) -> str | None:
        """Return why no machine of this location may be destroyed now; None if one may."""
        return self._in_doubt or self.allowance.why_not(provider, region, track)

    def drift_of(self, route: Route) -> ScopeDrift:
        """Return the drift of a route's scope."""
        return self._drift[route.route_id]

    def exclusion_of(self, route: Route) -> Hold | None:
        """Return the exclusion of a route; one of every release comes before a pin."""
        unpinned = [each for each in self.view.exclusions if each.pinned_to is None]
        return exclusion_of(route, unpinned, self.now, None) or exclusion_of(
            route, self.view.exclusions, self.now, None
        )

    def should_run(self, route: Route) -> ReleaseTag | None:
        """Return the release for a repair or replacement: pin, else target, else declaration."""
        return self.pin_of(route) or route.target_release_tag or self.drift_of(route).tag

    def pin_of(self, route: Route) -> ReleaseTag | None:
        """Return the release that a route is pinned to; None if it is not."""
        exclusion = self.exclusion_of(route)
        return exclusion.pinned_to if exclusion else None

    def begin(  # noqa: PLR0913 - the facts of an action
        self,
        kind: ActionKind,
        route: Route,
        reason: str,
        release_tag: ReleaseTag | None = None,
        *,
        unreachable: bool = False,
        requested: bool = False,
        gone: bool = False,
        pinned: bool = False,
    ) -> None:
        """Add an action on a route, which must have no other action."""
        self.taken[route.route_id] = None
        self.add(
            Action(
                kind=kind,
                route_id=route.route_id,
                reason=reason,
                release_tag=release_tag,
                machine_key=route.machine.key if route.machine else None,
                unreachable=unreachable,
                requested=requested,
                gone=gone,
                pinned=pinned,
                locked_out=kind is ActionKind.VERIFY and self.is_locked_out(route),
            )
        )

    def add(self, action: Action) -> None:
        """Add an action."""
        self._actions.append(action)

    def leave(self, about: str, reason: str) -> None:
        """Record why something is left as it is. Only its first reason is kept."""
        self._left.setdefault(about, reason)

    def leave_waiting(self, routes: Iterable[RouteId], admission: Admission) -> None:
        """Record the limits and freezes because of which routes were not admitted."""
        limited_by = [*admission.limited_by]
        if admission.thaws_at is not None:
            limited_by.append(f"a freeze until {admission.thaws_at:%Y-%m-%d %H:%M} UTC")
        reason = "; ".join(limited_by) or "the limit of concurrent operations is reached"
        for route_id in routes:
            self.leave(f"route {route_id}", f"it waits: {reason}")

    def plan(self) -> ReconcilePlan:
        """Return the plan."""
        left = tuple(
            LeftAlone(about=about, reason=reason) for about, reason in sorted(self._left.items())
        )
        return ReconcilePlan(
            actions=tuple(self._actions),
            left_alone=left[: self.policy.max_reported],
            left_alone_count=len(left),
            incident=self.view.breaker.incident,
            faults=(self._incident,) if self._incident else (),
        )
