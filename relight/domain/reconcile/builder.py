"""A pass of reconciliation while it is being planned: the fleet, and what was decided so far."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerLimits,
    Destruction,
    MachineObservation,
)
from relight.domain.breaker.decisions import Allowance
from relight.domain.disruption import take_census
from relight.domain.drift import (
    Declarations,
    ScopeDrift,
    drift_of,
)
from relight.domain.hold import Exclusion, FreezeWindow, exclusion_of
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
    """The fleet as it stands.

    Attributes:
        routes: all of them: budgets count the whole fleet.
        declarations: what they should run, and the rollouts that change that.
        breaker: where it stands after a look at this very fleet.
        limits: the breaker's.
        histories: what happened lately to the routes that anything happened to.
        busy: routes on which an operation is under way.
        exclusions, freezes: those on record, past and future ones too.
        destructions: those of the last hour, and one for each replacement that is under way.
        pools: what each region's pool should be, and its machines.
        sweep: what a sweep of this very fleet would do.
        page: the routes that this pass is about; None for all.
    """

    routes: Sequence[Route]
    declarations: Declarations
    breaker: Breaker
    limits: BreakerLimits = field(default_factory=BreakerLimits)
    histories: Mapping[RouteId, RouteHistory] = field(default_factory=dict)
    busy: Set[RouteId] = frozenset()
    exclusions: Sequence[Exclusion] = ()
    freezes: Sequence[FreezeWindow] = ()
    destructions: Sequence[Destruction] = ()
    pools: Sequence[tuple[PoolTarget, Sequence[PoolMachine]]] = ()
    sweep: SweepPlan = field(default_factory=lambda: SweepPlan(actions=()))
    page: Set[RouteId] | None = None


def observations_of(view: FleetView) -> tuple[MachineObservation, ...]:
    """Return the last look at each route's machine, as the breaker counts them."""
    looks = (observation_of(route, history_of(route, view.histories)) for route in view.routes)
    return tuple(look for look in looks if look is not None)


def history_of(route: Route, histories: Mapping[RouteId, RouteHistory]) -> RouteHistory:
    """Return what happened to a route, with its machine, proof and status as the route has them."""
    known = histories.get(route.route_id) or RouteHistory(route_id=route.route_id, machine_key=None)
    return known.model_copy(
        update={
            "machine_key": route.machine.key if route.machine else None,
            "proven_at": route.proven_at,
            "faulted": route.status is RouteStatus.FAULTED,
        }
    )


class PlanBuilder:
    """What a pass begins and leaves alone, so far.

    Attributes:
        routes: all of the fleet, by id, in the order of their ids.
        decisions: what each route of this pass needs that nobody works on.
        drifts: how far each scope has drifted.
        allowance: how many machines may still be destroyed.
        closed: why nothing may be changed; None while the breaker is closed. What is seen while it
            is open is not to be trusted.
        taken: the routes on which something is begun.
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
        incident = view.breaker.incident
        self.closed = f"the breaker is open: {incident.summary}" if incident else None
        self.taken: dict[RouteId, None] = {}
        self._actions: list[Action] = []
        self._left: dict[str, str] = {}

    def needing(self, remediation: Remediation) -> list[Route]:
        """Return the routes that need a remediation, by id."""
        return [
            self.routes[route_id]
            for route_id, decision in self.decisions.items()
            if decision.remediation is remediation
        ]

    def drift_of(self, route: Route) -> ScopeDrift:
        """Return how far the scope has drifted that governs a route."""
        return self._drift[route.route_id]

    def exclusion_of(self, route: Route) -> Exclusion | None:
        """Return what keeps releases from a route: one that keeps all of them before a pin."""
        whole = [each for each in self.view.exclusions if each.pinned_to is None]
        return exclusion_of(route, whole, self.now, None) or exclusion_of(
            route, self.view.exclusions, self.now, None
        )

    def should_run(self, route: Route) -> ReleaseTag | None:
        """Return what a route is mended to: its pin, its own target, or what is declared."""
        exclusion = self.exclusion_of(route)
        pinned = exclusion.pinned_to if exclusion else None
        return pinned or route.target_release_tag or self.drift_of(route).tag

    def begin(
        self,
        kind: ActionKind,
        route: Route,
        reason: str,
        release_tag: ReleaseTag | None = None,
        *,
        unreachable: bool = False,
    ) -> None:
        """Begin something on a route, on which nothing else is begun."""
        self.taken[route.route_id] = None
        self.add(
            Action(
                kind=kind,
                route_id=route.route_id,
                reason=reason,
                release_tag=release_tag,
                unreachable=unreachable,
            )
        )

    def add(self, action: Action) -> None:
        """Begin something."""
        self._actions.append(action)

    def leave(self, about: str, reason: str) -> None:
        """Say why something is left as it is. The first reason is told."""
        self._left.setdefault(about, reason)

    def leave_waiting(self, routes: Iterable[RouteId], window: Admission) -> None:
        """Say of routes that a window did not let go what it is that held them up."""
        held_up_by = [*window.held_up_by]
        if window.thaws_at is not None:
            held_up_by.append(f"a freeze until {window.thaws_at:%Y-%m-%d %H:%M} UTC")
        reason = "; ".join(held_up_by) or "as much is under way as may be"
        for route_id in routes:
            self.leave(f"route {route_id}", f"it waits: {reason}")

    def plan(self) -> ReconcilePlan:
        """Return what was decided."""
        left = tuple(
            LeftAlone(about=about, reason=reason) for about, reason in sorted(self._left.items())
        )
        return ReconcilePlan(
            actions=tuple(self._actions),
            left_alone=left[: self.policy.max_reported],
            left_alone_count=len(left),
            incident=self.view.breaker.incident,
        )
