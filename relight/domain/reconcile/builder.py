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
from relight.domain.destruction import Allowance
from relight.domain.disruption import take_census
from relight.domain.drift import (
    Declarations,
    ScopeDrift,
    drift_of,
)
from relight.domain.hold import Hold, exclusion_of
from relight.domain.names import ReleaseTag, RouteId
from relight.domain.pool.pool import PoolMachine, PoolTarget
from relight.domain.reconcile.plan import (
    Action,
    ActionKind,
    LeftAlone,
    ReconcilePlan,
    ReconcilePolicy,
)
from relight.domain.remediation import (
    Remediation,
    RemediationDecision,
    RouteHistory,
    decide_remediation,
    observation_of,
)
from relight.domain.rollout.admission import Admission
from relight.domain.route import Route, RouteStatus
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
    found = (observation_of(route, history_of(route, view.histories)) for route in view.routes)
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
        blocked: why nothing may be changed: the breaker is open, so observations are not reliable.
            None while it is closed.
        taken: the routes with an action.
    """

    def __init__(self, view: FleetView, policy: ReconcilePolicy, now: datetime) -> None:
        self.view, self.policy, self.now = view, policy, now
        self.routes = {
            route.route_id: route for route in sorted(view.routes, key=lambda each: each.route_id)
        }
        self.census = take_census(self.routes.values())
        self.busy = [route_id for route_id in self.routes if route_id in view.busy]
        scopes, self.drifts = drift_of(
            tuple(self.routes.values()), view.declarations, view.exclusions, policy.drift, now
        )
        by_scope = {drift.scope: drift for drift in self.drifts}
        self._drift = {route_id: by_scope[scope] for route_id, scope in scopes.items()}
        self.decisions: Mapping[RouteId, RemediationDecision] = {
            route_id: decide_remediation(history_of(route, view.histories), policy.replacement, now)
            for route_id, route in self.routes.items()
            if route_id not in view.busy
            and (view.page is None or route_id in view.page)
            and route.status is not RouteStatus.PROVISIONING
        }
        self.allowance = Allowance(view.breaker, view.destructions, view.limits, now)
        self.blocked = self.allowance.why_open()
        self.taken: dict[RouteId, None] = {}
        self._actions: list[Action] = []
        self._left: dict[str, str] = {}

    def needing(self, remediation: Remediation) -> list[Route]:
        """Return the routes that need a remediation, sorted by id."""
        return [
            self.routes[route_id]
            for route_id, decision in self.decisions.items()
            if decision.remediation is remediation
        ]

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

    def begin(
        self,
        kind: ActionKind,
        route: Route,
        reason: str,
        release_tag: ReleaseTag | None = None,
        *,
        unreachable: bool = False,
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
                pinned=pinned,
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
        )
