"""Views of fleets for the tests of reconcile plans."""

from datetime import timedelta

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerIncident,
    BreakerLimits,
    ConnectivityResult,
)
from relight.domain.breaker.decisions import count_reach, update_breaker
from relight.domain.drift import Declarations
from relight.domain.machine import MachineAtProvider, MachineStatus
from relight.domain.reconcile.builder import FleetView, observations_of
from relight.domain.reconcile.plan import ReconcilePolicy
from relight.domain.reconcile.planner import plan_reconcile
from relight.domain.rollout.rollout import Rollout, RolloutPhase
from relight.domain.route import Route, RouteStatus
from relight.domain.route_history import ObservedFault, RouteHistory
from relight.domain.sweep.sweep import SweepAction, SweepStep
from tests.domain.fleets import (
    HOUR,
    NOW,
    many,
    route,
)

OLD_TAG, TAG = "v0.0.73", "v0.0.74"
MINUTE = timedelta(minutes=1)
LIMITS = BreakerLimits()
POLICY = ReconcilePolicy()
CHECK = ConnectivityResult(name="mirror", observed_at=NOW, reached=True)
INCIDENT = BreakerIncident(opened_at=NOW, last_observed_at=NOW, summary="east is down")
OPEN = Breaker(incident=INCIDENT)


def at(tag: str | None, each: Route, proven_ago: timedelta | None = HOUR, target=TAG) -> Route:
    """Return the route, proven at a release some time ago."""
    proven_at = None if proven_ago is None or each.machine is None else NOW - proven_ago
    facts = {"current_release_tag": tag, "target_release_tag": target, "proven_at": proven_at}
    return each.model_copy(update=facts)


def sound(count: int, **fields) -> list[Route]:
    return [at(TAG, each) for each in many(count, **fields)]


def faulted(name: str = "f", **fields) -> Route:
    return at(TAG, route(name, status=RouteStatus.FAULTED, **fields), 2 * HOUR)


def ill(route_id: str, kind: str, *ago: float, **fields) -> RouteHistory:
    """Return a history with faults of a kind, minutes ago, each on a fresh connection."""
    faults = tuple(
        ObservedFault(at=NOW - each * MINUTE, kind=kind, machine_key=f"{route_id}-g1")
        for each in ago
    )
    return RouteHistory(route_id=route_id, machine_key=f"{route_id}-g1", faults=faults, **fields)


def dead(route_id: str, **fields) -> RouteHistory:
    return ill(route_id, "host-unreachable", 30, 20, 10, **fields)


def view(routes, *histories, tag=TAG, tracks=(), rollouts=(), **fields) -> FleetView:
    facts = {"breaker": Breaker(), **fields}
    return FleetView(
        routes=routes,
        declarations=Declarations(tracks=tracks, fleet_default=tag, rollouts=rollouts),
        histories={each.route_id: each for each in histories},
        **facts,
    )


def act(fleet: FleetView, policy: ReconcilePolicy = POLICY):
    return [
        (each.kind, each.route_id or each.scope)
        for each in plan_reconcile(fleet, policy, NOW).actions
    ]


def left(fleet: FleetView, policy: ReconcilePolicy = POLICY) -> dict[str, str]:
    return {each.about: each.reason for each in plan_reconcile(fleet, policy, NOW).left_alone}


def rollout(phase: RolloutPhase, tag: str = TAG, scope: str = "fleet") -> Rollout:
    ended = phase is not RolloutPhase.RUNNING
    return Rollout(
        workflow_id=f"rollout/{tag}/{scope}",
        run_id="r",
        release_tag=tag,
        scope=scope,
        phase=phase,
        detail="",
        opened_at=NOW - HOUR,
        closed_at=NOW if ended else None,
    )


def destroy(key: str, region: str = "east") -> SweepAction:
    machine = MachineAtProvider(
        key=key,
        provider="linode",
        provider_id=key,
        region=region,
        architecture="amd64",
        status=MachineStatus.RUNNING,
    )
    return SweepAction(step=SweepStep.DESTROY, reason="left over", key=key, machine=machine)


def breaker_of(fleet: FleetView, before: Breaker | None = None, now=NOW) -> Breaker:
    reach = count_reach(observations_of(fleet), fleet.destructions, LIMITS, now)
    check = CHECK.model_copy(update={"observed_at": now})
    return update_breaker(before or Breaker(), reach, [check], LIMITS, now)
