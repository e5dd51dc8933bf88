"""What a pass of reconciliation does about single routes: replace, repair, swap, look again."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from relight.domain.breaker.breaker import MachineObservation
from relight.domain.breaker.decisions import machines_to_observe
from relight.domain.hold import freezes_of, thaws_at
from relight.domain.names import ReleaseTag, RouteId
from relight.domain.reconcile.builder import PlanBuilder, observations_of
from relight.domain.reconcile.plan import ActionKind
from relight.domain.remediation import Remediation
from relight.domain.rollout.admission import Admission
from relight.domain.rollout.planner import spread
from relight.domain.route import Route, RouteStatus


def quarantine(builder: PlanBuilder) -> None:
    """Take routes out of the machinery's hands, and tell of those that are."""
    for route in builder.needing(Remediation.QUARANTINE):
        history = builder.view.histories.get(route.route_id)
        reason = builder.decisions[route.route_id].reason
        if history is not None and history.quarantined:
            builder.leave(f"route {route.route_id}", reason)
        elif builder.closed is not None:
            builder.leave(f"route {route.route_id}", f"{reason}, but {builder.closed}")
        else:
            builder.begin(ActionKind.QUARANTINE, route, reason)


def replace(builder: PlanBuilder) -> None:
    """Give routes other machines: first those that a person asked about, then by id."""
    asked = {route_id for route_id, history in builder.view.histories.items() if history.asked_by}
    wanted: list[RouteId] = []
    for route in builder.needing(Remediation.REPLACE):
        reason = _kept_from_replacing(builder, route, asked=route.route_id in asked)
        if reason is None:
            wanted.append(route.route_id)
        else:
            said = builder.decisions[route.route_id].reason
            builder.leave(f"route {route.route_id}", f"{said}, but {reason}")
    window = Admission(builder.census, builder.policy.strategy, (), builder.busy)
    window.enter(sorted(wanted, key=lambda route_id: (route_id not in asked, route_id)))
    admitted = window.start(builder.now)
    room = builder.policy.max_replacements
    for route_id in admitted:
        route, decision = builder.routes[route_id], builder.decisions[route_id]
        why_not = builder.allowance.why_not(route.provider, route.region, route.track)
        if why_not is None and room == 0:
            why_not = "this pass replaces no more"
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
        )
    builder.leave_waiting(set(wanted) - set(admitted), window)


def repair_and_swap(builder: PlanBuilder) -> None:
    """Repair what is broken, then bring what has drifted to what is declared."""
    repairs: dict[RouteId, str] = {}
    for route in builder.needing(Remediation.REPAIR):
        said = builder.decisions[route.route_id].reason
        if reason := _kept_from_repair(builder, route):
            builder.leave(f"route {route.route_id}", f"{said}, but {reason}")
        else:
            repairs[route.route_id] = said
    sound = {route.route_id for route in builder.needing(Remediation.LEAVE_ALONE)}
    drifted = {
        route.route_id: f"it runs {route.current_release_tag}, and should run {drift.tag}"
        for drift in builder.drifts
        if drift.hands_off is None and not drift.takes_rollout
        for route in drift.behind
        if route.route_id in sound
    }
    order = [*repairs, *spread([builder.routes[route_id] for route_id in drifted])]
    reasons = {**drifted, **repairs}
    if builder.closed is not None:
        for route_id in order:
            builder.leave(f"route {route_id}", f"{reasons[route_id]}, but {builder.closed}")
        return
    window, room = _window(builder)
    window.enter(order)
    started = window.start(builder.now) if room else ()
    for route_id in started:
        route = builder.routes[route_id]
        if route_id in repairs:
            builder.begin(ActionKind.REPAIR, route, reasons[route_id], builder.should_run(route))
        else:
            builder.begin(ActionKind.SWAP, route, reasons[route_id], builder.drift_of(route).tag)
    builder.leave_waiting(set(order) - set(started), window)


def prove(builder: PlanBuilder) -> None:
    """Look again at what failed, at what the breaker is unsure of, at what was proven long ago."""
    wanted = _looked_at_again(builder)
    for route_id, reason in _long_unproven(builder):
        wanted.setdefault(route_id, reason)
    room = builder.policy.max_verifications
    for route_id, reason in wanted.items():
        route, tag = builder.routes[route_id], _runs(builder, builder.routes[route_id])
        if room > 0 and route_id not in builder.taken and tag is not None and route.machine:
            room -= 1
            builder.begin(ActionKind.PROVE, route, reason, tag)


def _looked_at_again(builder: PlanBuilder) -> dict[RouteId, str]:
    """Return the routes that were not reached, or stand beside such, each with its reason."""
    looks = {look.key: look for look in observations_of(builder.view)}
    wanted: dict[RouteId, str] = {}
    for route in builder.needing(Remediation.VERIFY):
        wanted[route.route_id] = builder.decisions[route.route_id].reason
    for route in builder.needing(Remediation.REPLACE):
        decision = builder.decisions[route.route_id]
        # Held up by the breaker, say, which closes only when somebody gets through again.
        if decision.unreachable and _is_due(builder, route, looks):
            wanted[route.route_id] = decision.reason
    if builder.closed or any(decision.unreachable for decision in builder.decisions.values()):
        for route_id in _peers(builder, looks):
            wanted.setdefault(route_id, "machines beside it cannot be reached")
    return wanted


def _long_unproven(builder: PlanBuilder) -> Iterable[tuple[RouteId, str]]:
    """Yield the routes that serve by an old proof, or by none; the oldest proof first."""
    serving = [
        route
        for route_id in builder.decisions
        if (route := builder.routes[route_id]).status is RouteStatus.SERVING
    ]
    for route in sorted(serving, key=_proven_longest_ago_first):
        if route.proven_at is None:
            yield route.route_id, "it has no proof"
        elif builder.now - route.proven_at > builder.policy.proof_lasts:
            yield route.route_id, f"it was last proven at {route.proven_at:%Y-%m-%d %H:%M} UTC"


def _kept_from_replacing(builder: PlanBuilder, route: Route, *, asked: bool) -> str | None:
    """Return why a route is not given another machine now, budgets apart; None if it may be."""
    if builder.should_run(route) is None:
        return "nothing says which release it should run"
    exclusion = builder.exclusion_of(route)
    if exclusion is not None and exclusion.pinned_to is None and not asked:
        return f"{exclusion.owner} excluded it: {exclusion.reason}"
    if route.status is not RouteStatus.SERVING:
        return None  # It is out already: nobody is taken out by it, which is what a freeze is for.
    thaw = thaws_at(freezes_of(route, builder.view.freezes), builder.now)
    return f"it is frozen until {thaw:%Y-%m-%d %H:%M} UTC" if thaw else None


def _kept_from_repair(builder: PlanBuilder, route: Route) -> str | None:
    """Return why a route is not swapped once more, budgets and freezes apart; None if it may be."""
    if builder.should_run(route) is None:
        return "nothing says which release it should run"
    exclusion = builder.exclusion_of(route)
    if exclusion is not None and exclusion.pinned_to is None:
        return f"{exclusion.owner} excluded it: {exclusion.reason}"
    return builder.drift_of(route).hands_off


def _window(builder: PlanBuilder) -> tuple[Admission, int]:
    """Return the window for swaps, behind what is under way, and how many it lets go at most."""
    in_flight = [*builder.busy, *(each for each in builder.taken if each not in builder.view.busy)]
    most = builder.policy.strategy.max_concurrent
    room = min(max(0, most - len(in_flight)), builder.policy.max_swaps)
    strategy = builder.policy.strategy.model_copy(update={"max_concurrent": len(in_flight) + room})
    return Admission(builder.census, strategy, builder.view.freezes, in_flight), room


def _is_due(builder: PlanBuilder, route: Route, looks: Mapping[str, MachineObservation]) -> bool:
    """Say whether a machine may be looked at once more by now."""
    look = looks.get(route.machine.key) if route.machine else None
    if look is None:
        return False
    pause = builder.policy.replacement.verify_after
    return look.observed_at is None or builder.now - look.observed_at >= pause


def _peers(builder: PlanBuilder, looks: Mapping[str, MachineObservation]) -> Iterable[RouteId]:
    """Return the routes whose look tells the breaker what it is unsure of."""
    idle = {
        route.machine.key: route_id
        for route_id, route in builder.routes.items()
        if route.machine is not None and route_id not in builder.view.busy
    }
    keys = machines_to_observe(
        builder.view.breaker,
        [look for look in looks.values() if look.key in idle],
        builder.view.limits,
        builder.now,
        builder.policy.max_verifications,
    )
    return [idle[key] for key in keys]


def _runs(builder: PlanBuilder, route: Route) -> ReleaseTag | None:
    """Return what a look is about: what a route was proven at, or what it should run by now."""
    if route.status is RouteStatus.SERVING and route.current_release_tag:
        return route.current_release_tag
    return builder.should_run(route)


def _proven_longest_ago_first(route: Route) -> tuple[bool, datetime | None, RouteId]:
    return route.proven_at is not None, route.proven_at, route.route_id
