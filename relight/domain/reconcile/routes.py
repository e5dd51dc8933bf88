"""Actions of a reconcile run on single routes: replace, repair, swap, verify, quarantine."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from relight.domain.breaker.breaker import MachineObservation
from relight.domain.breaker.decisions import machines_to_observe
from relight.domain.hold import freezes_of, thaws_at
from relight.domain.names import ReleaseTag, RouteId
from relight.domain.reconcile.builder import PlanBuilder, observations_of
from relight.domain.reconcile.plan import MAX_VERIFICATIONS, ActionKind
from relight.domain.remediation import Remediation
from relight.domain.rollout.admission import Admission
from relight.domain.rollout.planner import spread
from relight.domain.route import Route, RouteStatus


def quarantine(builder: PlanBuilder) -> None:
    """Quarantine routes, and report those that are in quarantine."""
    for route in builder.needing(Remediation.QUARANTINE):
        history = builder.view.histories.get(route.route_id)
        reason = builder.decisions[route.route_id].reason
        if history is not None and history.quarantined:
            builder.leave(f"route {route.route_id}", reason)
        elif builder.blocked is not None:
            builder.leave(f"route {route.route_id}", f"{reason}, but {builder.blocked}")
        else:
            builder.begin(ActionKind.QUARANTINE, route, reason)


def replace(builder: PlanBuilder) -> None:
    """Replace machines: first those that a person requested, then by route id."""
    requested = {
        route_id
        for route_id, history in builder.view.histories.items()
        if history.replacement_requested_by
    }
    candidates: list[RouteId] = []
    for route in builder.needing(Remediation.REPLACE):
        why_not = _why_not_replace(builder, route, requested=route.route_id in requested)
        if why_not is None:
            candidates.append(route.route_id)
        else:
            reason = builder.decisions[route.route_id].reason
            builder.leave(f"route {route.route_id}", f"{reason}, but {why_not}")
    admission = Admission(builder.census, builder.policy.strategy, (), builder.busy)
    admission.enter(sorted(candidates, key=lambda route_id: (route_id not in requested, route_id)))
    admitted = admission.start(builder.now)
    room = builder.policy.max_replacements
    for route_id in admitted:
        route, decision = builder.routes[route_id], builder.decisions[route_id]
        why_not = builder.why_not_destroy(route.provider, route.region, route.track)
        if why_not is None and room == 0:
            why_not = "this run replaces no more machines"
        if why_not is not None:
            builder.leave(f"route {route_id}", f"{decision.reason}, but {why_not}")
            continue
        room -= 1
        builder.allowance.take(route.provider, route.region)
        builder.begin(
            ActionKind.REPLACE,
            route,
            decision.reason,
            builder.should_run(route),
            unreachable=decision.unreachable,
            requested=decision.requested,
            gone=decision.gone,
            pinned=builder.pin_of(route) is not None,
        )
    builder.leave_waiting(set(candidates) - set(admitted), admission)


def repair_and_swap(builder: PlanBuilder) -> None:
    """Repair faulty routes, then swap drifted routes to the declared release."""
    repairs: dict[RouteId, str] = {}
    for route in builder.needing(Remediation.REPAIR):
        reason = builder.decisions[route.route_id].reason
        if why_not := _why_not_repair(builder, route):
            builder.leave(f"route {route.route_id}", f"{reason}, but {why_not}")
        else:
            repairs[route.route_id] = reason
    healthy = {route.route_id for route in builder.needing(Remediation.LEAVE_ALONE)}
    drifted = {
        route.route_id: f"it runs {route.current_release_tag}, and should run {drift.tag}"
        for drift in builder.drifts
        if drift.blocked_reason is None and not drift.needs_rollout
        for route in drift.behind
        if route.route_id in healthy
    }
    # A route that serves, as with other settings, waits for those that do not.
    serving = {
        route_id: builder.routes[route_id]
        for route_id in (*repairs, *drifted)
        if builder.routes[route_id].status is RouteStatus.SERVING
    }
    order = [*(each for each in repairs if each not in serving), *spread([*serving.values()])]
    reasons = {**drifted, **repairs}
    if builder.blocked is not None:
        for route_id in order:
            builder.leave(f"route {route_id}", f"{reasons[route_id]}, but {builder.blocked}")
        return
    admission, room = _swap_admission(builder)
    admission.enter(order)
    admitted = admission.start(builder.now) if room else ()
    for route_id in admitted:
        route = builder.routes[route_id]
        if route_id in repairs:
            builder.begin(ActionKind.REPAIR, route, reasons[route_id], builder.should_run(route))
        else:
            builder.begin(ActionKind.SWAP, route, reasons[route_id], builder.drift_of(route).tag)
    builder.leave_waiting(set(order) - set(admitted), admission)


def verify(builder: PlanBuilder) -> None:
    """Verify faulty routes, routes in groups that the breaker does not know, and old proofs."""
    reasons = _due_for_verification(builder)
    for route_id, reason in _proof_expired(builder):
        reasons.setdefault(route_id, reason)
    room = min(builder.policy.max_verifications, MAX_VERIFICATIONS)
    for route_id, reason in reasons.items():
        route = builder.routes[route_id]
        tag = _release_to_verify(builder, route)
        if room > 0 and route_id not in builder.taken and tag is not None and route.machine:
            room -= 1
            builder.begin(ActionKind.VERIFY, route, reason, tag)


def _due_for_verification(builder: PlanBuilder) -> dict[RouteId, str]:
    """Return faulty routes and, if machines are unreachable, their neighbours; with reasons.

    Machines that lock the control plane out come first, the longest unobserved before the others:
    a run that finds that they let it in again goes on with the rest of them.
    """
    observations = {each.key: each for each in observations_of(builder.view)}
    reasons: dict[RouteId, str] = {}
    locked_out = [
        builder.routes[route_id]
        for route_id, decision in builder.decisions.items()
        if builder.is_locked_out(builder.routes[route_id]) and decision.unreachable
    ]
    for route in sorted(locked_out, key=lambda route: _last_observed(route, observations)):
        reasons[route.route_id] = builder.decisions[route.route_id].reason
    # By their last login: were it by their ids, the first ones would be verified again and again.
    for route in sorted(builder.needing(Remediation.VERIFY), key=builder.last_login):
        reasons[route.route_id] = builder.decisions[route.route_id].reason
    for route in builder.needing(Remediation.REPLACE):
        decision = builder.decisions[route.route_id]
        # The replacement may be blocked by the breaker, which needs new observations to close.
        if decision.unreachable and _may_be_observed(builder, route, observations):
            reasons[route.route_id] = decision.reason
    if builder.blocked or any(decision.unreachable for decision in builder.decisions.values()):
        for route_id in _unknown_neighbours(builder, observations):
            reasons.setdefault(route_id, "machines in its group cannot be reached")
    return reasons


def _proof_expired(builder: PlanBuilder) -> Iterable[tuple[RouteId, str]]:
    """Yield the serving routes with an old proof or none, the oldest proof first; with reasons."""
    serving = [
        route
        for route_id in builder.decisions
        if (route := builder.routes[route_id]).status is RouteStatus.SERVING
    ]
    doubted = {each.route_id for each in builder.doubts}
    serving.sort(key=_oldest_proof_first)
    # Those in doubt keep their old proof, and must not keep the others from being verified.
    for route in sorted(serving, key=lambda route: route.route_id in doubted):
        if route.proven_at is None:
            yield route.route_id, "it has no proof"
        elif builder.now - route.proven_at > builder.policy.proof_lasts:
            yield route.route_id, f"it was last proven at {route.proven_at:%Y-%m-%d %H:%M} UTC"


def _why_not_replace(builder: PlanBuilder, route: Route, *, requested: bool) -> str | None:
    """Return why a route's machine is not replaced now, budgets apart; None if it may be."""
    if builder.should_run(route) is None:
        return "no release is declared for it"
    exclusion = builder.exclusion_of(route)
    if exclusion is not None and exclusion.pinned_to is None and not requested:
        return f"{exclusion.owner} excluded it: {exclusion.reason}"
    if route.status is not RouteStatus.SERVING:
        return None  # It is already out. A freeze only forbids taking a route out.
    thaw = thaws_at(freezes_of(route, builder.view.freezes), builder.now)
    return f"it is frozen until {thaw:%Y-%m-%d %H:%M} UTC" if thaw else None


def _why_not_repair(builder: PlanBuilder, route: Route) -> str | None:
    """Return why a route is not repaired, budgets and freezes apart; None if it may be."""
    if builder.should_run(route) is None:
        return "no release is declared for it"
    exclusion = builder.exclusion_of(route)
    if exclusion is not None and exclusion.pinned_to is None:
        return f"{exclusion.owner} excluded it: {exclusion.reason}"
    return builder.drift_of(route).blocked_reason


def _swap_admission(builder: PlanBuilder) -> tuple[Admission, int]:
    """Return the admission for swaps, with all routes in flight, and how many swaps may start.

    A repair of a route that is out takes out no further one. But if all of many repairs do harm,
    as where our records are wrong, then no more than the budget at once.
    """
    in_flight = [*builder.busy, *(each for each in builder.taken if each not in builder.view.busy)]
    limit = builder.policy.strategy.max_concurrent
    room = min(max(0, limit - len(in_flight)), builder.policy.max_swaps)
    strategy = builder.policy.strategy.model_copy(update={"max_concurrent": len(in_flight) + room})
    admission = Admission(
        builder.census, strategy, builder.view.freezes, in_flight, limits_under_way=True
    )
    return admission, room


def _may_be_observed(
    builder: PlanBuilder, route: Route, observations: Mapping[str, MachineObservation]
) -> bool:
    """Return whether the last observation of a route's machine is old enough for another."""
    last = observations.get(route.machine.key) if route.machine else None
    if last is None:
        return False
    pause = builder.policy.replacement.verify_after
    return last.observed_at is None or builder.now - last.observed_at >= pause


def _unknown_neighbours(
    builder: PlanBuilder, observations: Mapping[str, MachineObservation]
) -> Iterable[RouteId]:
    """Return the routes to observe so that the breaker's unknown groups become known."""
    idle = {
        route.machine.key: route_id
        for route_id, route in builder.routes.items()
        if route.machine is not None and route_id not in builder.view.busy
    }
    keys = machines_to_observe(
        builder.view.breaker,
        [each for each in observations.values() if each.key in idle],
        builder.view.limits,
        builder.now,
        builder.policy.max_verifications,
        builder.stale_before,
    )
    return [idle[key] for key in keys]


def _release_to_verify(builder: PlanBuilder, route: Route) -> ReleaseTag | None:
    """Return the release that a route should be observed to run."""
    if route.status is RouteStatus.SERVING and route.current_release_tag:
        return route.current_release_tag
    return builder.should_run(route)


def _last_observed(
    route: Route, observations: Mapping[str, MachineObservation]
) -> tuple[datetime, RouteId]:
    assert route.machine is not None
    last = observations[route.machine.key].observed_at
    assert last is not None  # Of a machine that locked the control plane out.
    return last, route.route_id


def _oldest_proof_first(route: Route) -> tuple[bool, datetime | None, RouteId]:
    return route.proven_at is not None, route.proven_at, route.route_id
