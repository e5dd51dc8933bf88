"""How a rollout is cut into waves."""

from collections.abc import Sequence, Set

from messages.names import RouteId
from messages.rollout import WaveSize
from planning.candidates import Placed

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


def spread(routes: Sequence[Placed], last: Set[RouteId] = frozenset()) -> list[RouteId]:
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
