"""Which routes are behind what is declared, and whether that takes a rollout."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from relight.domain.disruption import NOT_YET_IN_SERVICE, BudgetSize, may_be_out
from relight.domain.event import Track
from relight.domain.hold import Exclusion, exclusion_of
from relight.domain.names import (
    FLEET_SCOPE,
    ReleaseTag,
    RouteId,
    ScopeName,
    TrackName,
    track_scope,
)
from relight.domain.release import NoDesiredReleaseError, desired_release
from relight.domain.rollout.rollout import Rollout, RolloutPhase
from relight.domain.route import Route, RouteStatus

UNDECIDED = frozenset({RolloutPhase.STOPPED, RolloutPhase.ABORTED})
"""Ends of a rollout after which a person has to say what its scope should run."""


@dataclass(frozen=True)
class Declarations:
    """What should run where, and who is about to change that.

    Attributes:
        tracks: each with its override; one that is not named here has none.
        fleet_default: the release of all others, None where there is none.
        rollouts: those that are open, and of each scope the last one that ended, or more.
        declared_at: when each scope's release was last declared, as far as that is known.
    """

    tracks: Sequence[Track]
    fleet_default: ReleaseTag | None
    rollouts: Sequence[Rollout] = ()
    declared_at: Mapping[ScopeName, datetime] | None = None


@dataclass(frozen=True)
class ScopeDrift:
    """How far the routes of a scope are from its release.

    Attributes:
        tag: the declared release; None where there is none.
        behind: routes that serve, and were last proven at another; nothing keeps it from them.
        in_service: how many routes of the scope ever served.
        arrived: how many of them were last proven at the release.
        hands_off: why none of its routes is brought anywhere now; None if they may be.
        takes_rollout: too many are behind, or none was ever proven at the release.
    """

    scope: ScopeName
    tag: ReleaseTag | None
    behind: tuple[Route, ...]
    in_service: int
    arrived: int
    hands_off: str | None
    takes_rollout: bool


def drift_of(
    routes: Sequence[Route],
    declarations: Declarations,
    exclusions: Sequence[Exclusion],
    drift: BudgetSize,
    now: datetime,
) -> tuple[Mapping[RouteId, ScopeName], tuple[ScopeDrift, ...]]:
    """Return which scope governs each route, and how far each scope's routes have drifted.

    Args:
        routes: the whole fleet.
        declarations: what should run where.
        exclusions: routes that are kept from it are not behind.
        drift: how many of a scope's routes are still brought there one by one.
        now: the instant that is asked about, with its time zone.
    """
    overrides = {track.name: track.release_override for track in declarations.tracks}
    scopes: dict[RouteId, ScopeName] = {}
    governed: defaultdict[ScopeName, list[Route]] = defaultdict(list)
    for route in sorted(routes, key=lambda route: route.route_id):
        scope = scope_of(route.track, overrides.get(route.track))
        scopes[route.route_id] = scope
        governed[scope].append(route)
    found = tuple(
        _drift(scope, members, overrides, declarations, exclusions, drift, now)
        for scope, members in sorted(governed.items())
    )
    return scopes, found


def scope_of(track: TrackName, override: ReleaseTag | None) -> ScopeName:
    """Return the scope whose declaration says what a track's routes should run."""
    return track_scope(track) if override else FLEET_SCOPE


def _drift(
    scope: ScopeName,
    routes: Sequence[Route],
    overrides: Mapping[TrackName, ReleaseTag | None],
    declarations: Declarations,
    exclusions: Sequence[Exclusion],
    drift: BudgetSize,
    now: datetime,
) -> ScopeDrift:
    track = routes[0].track
    tag, hands_off = None, _hands_off(scope, declarations)
    try:
        tag = desired_release(track, overrides.get(track), declarations.fleet_default).tag
    except NoDesiredReleaseError as error:
        hands_off = hands_off or str(error)
    in_service = [route for route in routes if route.status not in NOT_YET_IN_SERVICE]
    behind = tuple(
        route
        for route in in_service
        if tag is not None
        and route.status is RouteStatus.SERVING
        and route.machine is not None
        and route.current_release_tag != tag
        and exclusion_of(route, exclusions, now, tag) is None
    )
    arrived = sum(route.current_release_tag == tag for route in in_service)
    return ScopeDrift(
        scope=scope,
        tag=tag,
        behind=behind,
        in_service=len(in_service),
        arrived=arrived,
        hands_off=hands_off,
        takes_rollout=bool(behind)
        and (arrived == 0 or len(behind) > may_be_out(drift, len(in_service))),
    )


def _hands_off(scope: ScopeName, declarations: Declarations) -> str | None:
    """Return whose business the scope's release is at present, None if it is anybody's."""
    own = sorted(
        (each for each in declarations.rollouts if each.scope == scope),
        key=lambda each: (each.opened_at, each.workflow_id, each.run_id),
    )
    for rollout in own:
        if rollout.closed_at is None:
            return f"the rollout of {rollout.release_tag} has the scope"
    if own and own[-1].phase in UNDECIDED and own[-1].closed_at is not None:
        declared_at = (declarations.declared_at or {}).get(scope)
        if declared_at is None or declared_at <= own[-1].closed_at:
            return (
                f"the last rollout, of {own[-1].release_tag}, was {own[-1].phase}: "
                "a person has to decide what the scope runs"
            )
    return None
