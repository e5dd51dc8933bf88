"""What a rollout will do with each route of its scope."""

from collections.abc import Iterable, Sequence, Set
from datetime import datetime

from relight.domain.hold import (
    Exclusion,
    FreezeWindow,
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
from relight.domain.rollout.rollout import CanaryRule, Strategy, WaveSize
from relight.domain.route import Candidate, Located, RouteStatus


def plan_rollout(
    routes: Sequence[Candidate],
    strategy: Strategy,
    exclusions: Sequence[Exclusion],
    freezes: Sequence[FreezeWindow],
    now: datetime,
    release_tag: ReleaseTag | None = None,
) -> PlannedRollout:
    """Put every route into one wave, or leave it out and say why.

    The same routes give the same plan in whatever order they are listed. A frozen route is not
    left out: it keeps its place in a wave, which waits for it, and comes as late as the canary's
    strata allow.

    Args:
        routes: those of the scope.
        strategy: sizes of the waves, and what the canary has to meet.
        exclusions: exclusions and pins; those that have expired do not count.
        freezes: freeze windows, whenever they are.
        now: the instant that the plan is made for, with its time zone.
        release_tag: the release that is to come, so that a pin to it lets it pass.
    """
    planned, left_out = _separate(routes, exclusions, now, release_tag)
    frozen = _frozen(planned, freezes, now)
    waiting = frozenset(route.route_id for route in frozen)
    first: list[Candidate] = []
    if strategy.canary is CanaryRule.STRATA:
        first = representatives(planned, waiting)
    chosen = {route.route_id for route in first}
    others = [route for route in planned if route.route_id not in chosen]
    waves = cut([*spread(first), *spread(others, last=waiting)], strategy.waves, canary=len(first))
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
    exclusions: Sequence[Exclusion],
    now: datetime,
    release_tag: ReleaseTag | None = None,
) -> tuple[RouteId, ...]:
    """Return those of the routes that no wave has which nothing keeps out, in their turn's order.

    They have come into the scope since, have a machine since, or their exclusion has ended.

    Args:
        newcomers: the scope's routes as they are now, that no wave of the rollout has.
        exclusions: exclusions and pins as they are now.
        now: the instant that is asked about, with its time zone.
        release_tag: the release that is on its way.
    """
    joined, _ = _separate(newcomers, exclusions, now, release_tag)
    return tuple(spread(joined))


def _separate(
    routes: Iterable[Candidate],
    exclusions: Sequence[Exclusion],
    now: datetime,
    release_tag: ReleaseTag | None,
) -> tuple[list[Candidate], tuple[LeftOut, ...]]:
    """Return the routes that can be changed, and those that are left out, both by id."""
    planned: list[Candidate] = []
    left_out: list[LeftOut] = []
    for route in sorted(routes, key=lambda route: route.route_id):
        if exclusion := exclusion_of(route, exclusions, now, release_tag):
            left_out.append(
                LeftOut(
                    route_id=route.route_id,
                    reason=exclusion.reason,
                    owner=exclusion.owner,
                    expires_at=exclusion.expires_at,
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
    routes: Iterable[Candidate], freezes: Sequence[FreezeWindow], now: datetime
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
    """Return the strata that the routes belong to, each once, sorted."""
    return tuple(
        Stratum(provider=provider, architecture=architecture, track=track)
        for provider, architecture, track in sorted({stratum_key(route) for route in routes})
    )


def representatives(
    routes: Iterable[Candidate], frozen: Set[RouteId] = frozenset()
) -> list[Candidate]:
    """Return one route of each stratum, by id.

    Of a stratum's routes, one that may be changed now comes before one that is frozen, so that a
    canary need not wait; then one that serves before one that is faulted, which might fail for a
    reason of its own and be held against the release; then the first by id.
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


def cut(order: Sequence[RouteId], sizes: Sequence[WaveSize], canary: int = 0) -> Waves:
    """Cut routes into waves without changing their order, none of the waves empty.

    Args:
        order: the routes, first come first.
        sizes: how many routes have been reached when each wave ends.
        canary: how many routes the first wave has at the least. A size that it goes beyond makes
            no wave.
    """
    waves: Waves = ()
    reached = 0
    for size in (*sizes, "100%"):
        goal = min(_count(size, len(order)), len(order))
        if not waves:
            goal = max(goal, min(canary, len(order)))
        if goal > reached:
            waves += (tuple(order[reached:goal]),)
            reached = goal
    return waves


def spread(routes: Sequence[Located], last: Set[RouteId] = frozenset()) -> list[RouteId]:
    """Return the routes in an order that meets many tracks, providers and regions early.

    Args:
        routes: the routes, in any order.
        last: those of them that come after all others.
    """
    seen: dict[tuple[str, str, str], int] = {}
    ranked: list[tuple[bool, int, RouteId]] = []
    for route in sorted(routes, key=lambda route: route.route_id):
        place = (route.track, route.provider, route.region)
        rank = seen.get(place, 0)
        seen[place] = rank + 1
        ranked.append((route.route_id in last, rank, route.route_id))
    return [route_id for _, _, route_id in sorted(ranked)]


def widen(waves: Waves, taken: int, by: int) -> Waves:
    """Return the waves with a smaller one after those that were taken.

    Its routes are the first of the next wave, which keeps the others: no route comes sooner than
    planned. A next wave of no more routes than `by` stays as it is.

    Args:
        waves: all waves, those that were taken too.
        taken: how many were taken.
        by: how many routes the smaller wave has, 1 or more.
    """
    following = waves[taken:]
    if not following or len(following[0]) <= by:
        return waves
    return (*waves[:taken], following[0][:by], following[0][by:], *following[1:])


def _count(size: WaveSize, routes: int) -> int:
    """Return how many of `routes` a size stands for; a share is rounded up."""
    if size.endswith("%"):
        return -(-routes * int(size[:-1]) // 100)
    return int(size)


# MERGEDOC """The kinds of routes on which a release may behave each in its own way."""
# MERGEDOC """How a rollout is cut into waves."""
