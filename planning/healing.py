"""What a pass of reconciliation does about single routes: replace, repair, swap, look again."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from messages.breaker import MachineLook
from messages.names import ReleaseTag, RouteId
from messages.reconcile import ActionKind
from messages.replacement import Treatment
from messages.route import Route, RouteStatus
from planning.breaker import machines_to_look_at
from planning.draft import Draft, looks_of
from planning.restraints import freezes_of, thaws_at
from planning.waves import spread
from planning.window import Window


def quarantine(draft: Draft) -> None:
    """Take routes out of the machinery's hands, and tell of those that are."""
    for route in draft.needing(Treatment.QUARANTINE):
        history = draft.view.histories.get(route.route_id)
        reason = draft.decisions[route.route_id].reason
        if history is not None and history.quarantined:
            draft.leave(f"route {route.route_id}", reason)
        elif draft.closed is not None:
            draft.leave(f"route {route.route_id}", f"{reason}, but {draft.closed}")
        else:
            draft.begin(ActionKind.QUARANTINE, route, reason)


def replace(draft: Draft) -> None:
    """Give routes other machines: first those that a person asked about, then by id."""
    asked = {route_id for route_id, history in draft.view.histories.items() if history.asked_by}
    wanted: list[RouteId] = []
    for route in draft.needing(Treatment.REPLACE):
        reason = _kept_from_replacing(draft, route, asked=route.route_id in asked)
        if reason is None:
            wanted.append(route.route_id)
        else:
            said = draft.decisions[route.route_id].reason
            draft.leave(f"route {route.route_id}", f"{said}, but {reason}")
    window = Window(draft.census, draft.policy.strategy, (), draft.busy)
    window.enter(sorted(wanted, key=lambda route_id: (route_id not in asked, route_id)))
    admitted = window.start(draft.now)
    room = draft.policy.replacements_at_most
    for route_id in admitted:
        route, decision = draft.routes[route_id], draft.decisions[route_id]
        why_not = draft.allowance.why_not(route.provider, route.region, route.track)
        if why_not is None and room == 0:
            why_not = "this pass replaces no more"
        if why_not is not None:
            draft.leave(f"route {route_id}", f"{decision.reason}, but {why_not}")
            continue
        room -= 1
        draft.allowance.take(route.provider, route.region)
        draft.begin(
            ActionKind.REPLACE,
            route,
            decision.reason,
            draft.should_run(route),
            unreachable=decision.unreachable,
        )
    draft.leave_waiting(set(wanted) - set(admitted), window)


def repair_and_swap(draft: Draft) -> None:
    """Repair what is broken, then bring what has drifted to what is declared."""
    repairs: dict[RouteId, str] = {}
    for route in draft.needing(Treatment.REPAIR):
        said = draft.decisions[route.route_id].reason
        if reason := _kept_from_repair(draft, route):
            draft.leave(f"route {route.route_id}", f"{said}, but {reason}")
        else:
            repairs[route.route_id] = said
    sound = {route.route_id for route in draft.needing(Treatment.LEAVE_ALONE)}
    drifted = {
        route.route_id: f"it runs {route.current_release_tag}, and should run {drift.tag}"
        for drift in draft.drifts
        if drift.hands_off is None and not drift.takes_rollout
        for route in drift.behind
        if route.route_id in sound
    }
    order = [*repairs, *spread([draft.routes[route_id] for route_id in drifted])]
    reasons = {**drifted, **repairs}
    if draft.closed is not None:
        for route_id in order:
            draft.leave(f"route {route_id}", f"{reasons[route_id]}, but {draft.closed}")
        return
    window, room = _window(draft)
    window.enter(order)
    started = window.start(draft.now) if room else ()
    for route_id in started:
        route = draft.routes[route_id]
        if route_id in repairs:
            draft.begin(ActionKind.REPAIR, route, reasons[route_id], draft.should_run(route))
        else:
            draft.begin(ActionKind.SWAP, route, reasons[route_id], draft.drift_of(route).tag)
    draft.leave_waiting(set(order) - set(started), window)


def prove(draft: Draft) -> None:
    """Look again at what failed, at what the breaker is unsure of, at what was proven long ago."""
    wanted = _looked_at_again(draft)
    for route_id, reason in _long_unproven(draft):
        wanted.setdefault(route_id, reason)
    room = draft.policy.proofs_at_most
    for route_id, reason in wanted.items():
        route, tag = draft.routes[route_id], _runs(draft, draft.routes[route_id])
        if room > 0 and route_id not in draft.taken and tag is not None and route.machine:
            room -= 1
            draft.begin(ActionKind.PROVE, route, reason, tag)


def _looked_at_again(draft: Draft) -> dict[RouteId, str]:
    """Return the routes that were not reached, or stand beside such, each with its reason."""
    looks = {look.key: look for look in looks_of(draft.view)}
    wanted: dict[RouteId, str] = {}
    for route in draft.needing(Treatment.LOOK_AGAIN):
        wanted[route.route_id] = draft.decisions[route.route_id].reason
    for route in draft.needing(Treatment.REPLACE):
        decision = draft.decisions[route.route_id]
        # Held up by the breaker, say, which closes only when somebody gets through again.
        if decision.unreachable and _is_due(draft, route, looks):
            wanted[route.route_id] = decision.reason
    if draft.closed or any(decision.unreachable for decision in draft.decisions.values()):
        for route_id in _peers(draft, looks):
            wanted.setdefault(route_id, "machines beside it cannot be reached")
    return wanted


def _long_unproven(draft: Draft) -> Iterable[tuple[RouteId, str]]:
    """Yield the routes that serve by an old proof, or by none; the oldest proof first."""
    serving = [
        route
        for route_id in draft.decisions
        if (route := draft.routes[route_id]).status is RouteStatus.SERVING
    ]
    for route in sorted(serving, key=_proven_longest_ago_first):
        if route.proven_at is None:
            yield route.route_id, "it has no proof"
        elif draft.now - route.proven_at > draft.policy.proof_lasts:
            yield route.route_id, f"it was last proven at {route.proven_at:%Y-%m-%d %H:%M} UTC"


def _kept_from_replacing(draft: Draft, route: Route, *, asked: bool) -> str | None:
    """Return why a route is not given another machine now, budgets apart; None if it may be."""
    if draft.should_run(route) is None:
        return "nothing says which release it should run"
    exclusion = draft.exclusion_of(route)
    if exclusion is not None and exclusion.pinned_to is None and not asked:
        return f"{exclusion.owner} excluded it: {exclusion.reason}"
    if route.status is not RouteStatus.SERVING:
        return None  # It is out already: nobody is taken out by it, which is what a freeze is for.
    thaw = thaws_at(freezes_of(route, draft.view.freezes), draft.now)
    return f"it is frozen until {thaw:%Y-%m-%d %H:%M} UTC" if thaw else None


def _kept_from_repair(draft: Draft, route: Route) -> str | None:
    """Return why a route is not swapped once more, budgets and freezes apart; None if it may be."""
    if draft.should_run(route) is None:
        return "nothing says which release it should run"
    exclusion = draft.exclusion_of(route)
    if exclusion is not None and exclusion.pinned_to is None:
        return f"{exclusion.owner} excluded it: {exclusion.reason}"
    return draft.drift_of(route).hands_off


def _window(draft: Draft) -> tuple[Window, int]:
    """Return the window for swaps, behind what is under way, and how many it lets go at most."""
    in_flight = [*draft.busy, *(each for each in draft.taken if each not in draft.view.busy)]
    most = draft.policy.strategy.max_concurrent
    room = min(max(0, most - len(in_flight)), draft.policy.swaps_at_most)
    strategy = draft.policy.strategy.model_copy(update={"max_concurrent": len(in_flight) + room})
    return Window(draft.census, strategy, draft.view.freezes, in_flight), room


def _is_due(draft: Draft, route: Route, looks: Mapping[str, MachineLook]) -> bool:
    """Say whether a machine may be looked at once more by now."""
    look = looks.get(route.machine.key) if route.machine else None
    if look is None:
        return False
    pause = draft.policy.replacement.look_again_after
    return look.looked_at is None or draft.now - look.looked_at >= pause


def _peers(draft: Draft, looks: Mapping[str, MachineLook]) -> Iterable[RouteId]:
    """Return the routes whose look tells the breaker what it is unsure of."""
    idle = {
        route.machine.key: route_id
        for route_id, route in draft.routes.items()
        if route.machine is not None and route_id not in draft.view.busy
    }
    keys = machines_to_look_at(
        draft.view.breaker,
        [look for look in looks.values() if look.key in idle],
        draft.view.limits,
        draft.now,
        draft.policy.proofs_at_most,
    )
    return [idle[key] for key in keys]


def _runs(draft: Draft, route: Route) -> ReleaseTag | None:
    """Return what a look is about: what a route was proven at, or what it should run by now."""
    if route.status is RouteStatus.SERVING and route.current_release_tag:
        return route.current_release_tag
    return draft.should_run(route)


def _proven_longest_ago_first(route: Route) -> tuple[bool, datetime | None, RouteId]:
    return route.proven_at is not None, route.proven_at, route.route_id
