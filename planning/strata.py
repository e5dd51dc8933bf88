"""The kinds of routes on which a release may behave each in its own way."""

from collections.abc import Iterable, Set

from messages.names import RouteId
from messages.plan import Stratum
from messages.route import RouteStatus
from planning.candidates import Candidate

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
