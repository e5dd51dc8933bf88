"""How a rollout is cut into waves."""

from collections.abc import Sequence

from messages.names import RouteId
from messages.rollout import WaveSize
from messages.route import Route


def cut_waves(
    routes: Sequence[Route], sizes: Sequence[WaveSize]
) -> tuple[tuple[RouteId, ...], ...]:
    """Cut routes into waves, each route in exactly one, none of them empty.

    A size says how many routes have been reached when its wave ends; what is left after the
    last size makes a last wave. The order spreads every wave over tracks, providers and regions
    (each stratum's first route, then each one's second), so that a canary of n routes meets n
    strata; within that it is by route id, so that the same fleet always gives the same waves.
    """
    order = _spread(routes)
    waves: list[tuple[RouteId, ...]] = []
    reached = 0
    for size in (*sizes, "100%"):
        goal = min(_count(size, len(order)), len(order))
        if goal > reached:
            waves.append(tuple(order[reached:goal]))
            reached = goal
    return tuple(waves)


def _count(size: WaveSize, routes: int) -> int:
    """Return how many of `routes` a size stands for; a share is rounded up."""
    if size.endswith("%"):
        return -(-routes * int(size[:-1]) // 100)
    return int(size)


def _spread(routes: Sequence[Route]) -> list[RouteId]:
    seen: dict[tuple[str, str, str], int] = {}
    ranked: list[tuple[int, RouteId]] = []
    for route in sorted(routes, key=lambda route: route.route_id):
        stratum = (route.track, route.provider, route.region)
        rank = seen.get(stratum, 0)
        seen[stratum] = rank + 1
        ranked.append((rank, route.route_id))
    return [route_id for _, route_id in sorted(ranked)]
