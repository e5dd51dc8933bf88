"""Planning of a rollout: which route is in which wave, and which are left out."""

from collections.abc import Iterable, Sequence, Set
from datetime import datetime

from relight.domain.hold import (
    Hold,
    active_freeze,
    exclusion_of,
    freezes_of,
    thaws_at,
)
from relight.domain.names import ReleaseTag, RouteId
from relight.domain.rollout.plan import (
    FrozenRoute,
    LeftOut,
    PlannedRollout,
    Stratum,
)
from relight.domain.rollout.strategy import CanaryRule, Strategy, WaveSize, routes_reached
from relight.domain.route import Candidate, Located, RouteStatus


def plan_rollout(
    routes: Sequence[Candidate],
    strategy: Strategy,
    exclusions: Sequence[Hold],
    freezes: Sequence[Hold],
    now: datetime,
    release_tag: ReleaseTag | None = None,
) -> PlannedRollout:
    """Assign every route to a wave, or leave it out with a reason.

    The plan does not depend on the order of the input. A frozen route is not left out: its wave
    waits for it. It is placed as late as the canary's strata allow.

    Args:
        routes: the routes of the scope.
        strategy: the sizes of the waves and the canary rule.
        exclusions: exclusions and pins; expired ones do not count.
        freezes: freeze windows, past and future ones included.
        now: the time of the plan, with its time zone.
        release_tag: the rollout's release; a pin to it does not leave a route out.
    """
    planned, left_out = _separate(routes, exclusions, now, release_tag)
    frozen = _frozen(planned, freezes, now)
    waiting = frozenset(route.route_id for route in frozen)
    first: list[Candidate] = []
    if strategy.canary is CanaryRule.STRATA:
        first = representatives(planned, waiting)
    chosen = {route.route_id for route in first}
    others = [route for route in planned if route.route_id not in chosen]
    waves = cut_waves(
        [*spread(first), *spread(others, last=waiting)], strategy.waves, canary=len(first)
    )
    canary = set(waves[0]) if waves else set()
    strata = strata_of(route for route in planned if route.route_id in canary)
    return PlannedRollout(
        waves=waves,
        left_out=left_out,
        frozen=frozen,
        strata=strata,
        unmet_strata=tuple(each for each in strata_of(planned) if each not in strata),
    )


def late_joiners(
    newcomers: Sequence[Candidate],
    exclusions: Sequence[Hold],
    now: datetime,
    release_tag: ReleaseTag | None = None,
) -> tuple[RouteId, ...]:
    """Return the routes that may join a running rollout, in the order of their start.

    They joined the scope or got a machine after it was planned, or their exclusion has ended.

    Args:
        newcomers: the scope's current routes that are in no wave.
        exclusions: the current exclusions and pins.
        now: the current time, with its time zone.
        release_tag: the rollout's release.
    """
    joined, _ = _separate(newcomers, exclusions, now, release_tag)
    return tuple(spread(joined))


def _separate(
    routes: Iterable[Candidate],
    exclusions: Sequence[Hold],
    now: datetime,
    release_tag: ReleaseTag | None,
) -> tuple[list[Candidate], tuple[LeftOut, ...]]:
    """Return the routes to change and those that are left out, both sorted by id."""
    planned: list[Candidate] = []
    left_out: list[LeftOut] = []
    for route in sorted(routes, key=lambda route: route.route_id):
        if exclusion := exclusion_of(route, exclusions, now, release_tag):
            left_out.append(
                LeftOut(
                    route_id=route.route_id,
                    reason=exclusion.reason,
                    owner=exclusion.owner,
                    expires_at=exclusion.ends_at,
                    pinned_to=exclusion.pinned_to,
                )
            )
        elif route.architecture is None:
            reason = f"it is {route.status}, and has no machine to change"
            left_out.append(LeftOut(route_id=route.route_id, reason=reason))
        else:
            planned.append(route)
    return planned, tuple(left_out)


def _frozen(
    routes: Iterable[Candidate], freezes: Sequence[Hold], now: datetime
) -> tuple[FrozenRoute, ...]:
    found: list[FrozenRoute] = []
    for route in routes:
        windows = freezes_of(route, freezes)
        freeze = active_freeze(windows, now)
        thaw = thaws_at(windows, now)
        if freeze and thaw:
            found.append(
                FrozenRoute(
                    route_id=route.route_id,
                    reason=freeze.reason,
                    owner=freeze.owner,
                    thaws_at=thaw,
                )
            )
    return tuple(found)


UNKNOWN_ARCHITECTURE = "unknown"
"""The architecture of a route without a machine."""


def stratum_key(route: Candidate) -> tuple[str, str, str]:
    """Return a route's provider, architecture and track."""
    return route.provider, route.architecture or UNKNOWN_ARCHITECTURE, route.track


def strata_of(routes: Iterable[Candidate]) -> tuple[Stratum, ...]:
    """Return the strata of the routes, each once, sorted."""
    return tuple(
        Stratum(provider=provider, architecture=architecture, track=track)
        for provider, architecture, track in sorted({stratum_key(route) for route in routes})
    )


def representatives(
    routes: Iterable[Candidate], frozen: Set[RouteId] = frozenset()
) -> list[Candidate]:
    """Return one route of each stratum, sorted by id.

    Preferred is a route that is not frozen, so that the canary need not wait; then one that serves,
    because a faulted one may fail for a reason of its own; then the first by id.
    """
    chosen: dict[tuple[str, str, str], tuple[bool, bool, RouteId]] = {}
    by_id: dict[RouteId, Candidate] = {}
    for route in routes:
        by_id[route.route_id] = route
        key = stratum_key(route)
        rank = (
            route.route_id in frozen,
            route.status is not RouteStatus.SERVING,
            route.route_id,
        )
        chosen[key] = min(chosen.get(key, rank), rank)
    return [by_id[route_id] for route_id in sorted(rank[-1] for rank in chosen.values())]


Waves = tuple[tuple[RouteId, ...], ...]


def cut_waves(order: Sequence[RouteId], sizes: Sequence[WaveSize], canary: int = 0) -> Waves:
    """Cut routes into waves, in their order. No wave is empty.

    Args:
        order: the routes in the order of their start.
        sizes: the number of routes that are changed when each wave ends.
        canary: the minimum size of the first wave. Smaller sizes make no wave of their own.
    """
    waves: Waves = ()
    reached = 0
    for size in (*sizes, "100%"):
        goal = routes_reached(size, len(order))
        if not waves:
            goal = max(goal, min(canary, len(order)))
        if goal > reached:
            waves += (tuple(order[reached:goal]),)
            reached = goal
    return waves


def spread(routes: Sequence[Located], last: Set[RouteId] = frozenset()) -> list[RouteId]:
    """Return the routes in an order that covers many tracks, providers and regions early.

    Args:
        routes: the routes, in any order.
        last: the routes that come after all others.
    """
    counts: dict[tuple[str, str, str], int] = {}
    ranked: list[tuple[bool, int, RouteId]] = []
    for route in sorted(routes, key=lambda route: route.route_id):
        key = (route.track, route.provider, route.region)
        rank = counts.get(key, 0)
        counts[key] = rank + 1
        ranked.append((route.route_id in last, rank, route.route_id))
    return [route_id for _, _, route_id in sorted(ranked)]


def widen(waves: Waves, taken: int, by: int) -> Waves:
    """Return the waves with the next one split: its first `by` routes become a wave of their own.

    No route starts earlier than planned. A next wave with at most `by` routes stays as it is.

    Args:
        waves: all waves, including those that were taken.
        taken: how many waves were taken.
        by: size of the new wave, 1 or more.
    """
    following = waves[taken:]
    if not following or len(following[0]) <= by:
        return waves
    return (*waves[:taken], following[0][:by], following[0][by:], *following[1:])
