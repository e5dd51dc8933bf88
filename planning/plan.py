"""What a rollout will do with each route of its scope."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from messages.names import ReleaseTag, RouteId
from messages.plan import FrozenRoute, LeftOut, PlannedRollout
from messages.restraints import Exclusion, FreezeWindow
from messages.rollout import CanaryRule, Strategy
from planning.candidates import Candidate
from planning.restraints import active_freeze, exclusion_of, freezes_of, thaws_at
from planning.strata import representatives, strata_of
from planning.waves import cut, spread


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
