"""Drift: which routes differ from the declared release, and whether that needs a rollout."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from relight.domain.disruption import NOT_IN_SERVICE, BudgetSize, max_out
from relight.domain.hold import Hold, exclusion_of
from relight.domain.names import (
    FLEET_SCOPE,
    ReleaseTag,
    RouteId,
    ScopeName,
    TrackName,
    scope_track,
    track_scope,
)
from relight.domain.release import EVERY_ARCHITECTURE, Release
from relight.domain.rollout.rollout import Rollout, RolloutPhase
from relight.domain.route import Route, RouteStatus
from relight.domain.track import NoDesiredReleaseError, Track, desired_release

UNDECIDED = frozenset({RolloutPhase.STOPPED, RolloutPhase.ABORTED})
"""Final phases of a rollout after which a person has to declare what its scope should run."""


@dataclass(frozen=True)
class Declarations:
    """The declared releases, and the rollouts that may change them.

    Attributes:
        tracks: tracks with their overrides; a track that is missing here has none.
        fleet_default: the release of all other tracks, None if not set.
        rollouts: all open rollouts, and at least the last closed one of each scope, in the order
            in which they were recorded. A clock that was ahead does not change it.
        declared_at: when each scope's release was last declared, if known.
    """

    tracks: Sequence[Track]
    fleet_default: ReleaseTag | None
    rollouts: Sequence[Rollout] = ()
    declared_at: Mapping[ScopeName, datetime] | None = None


@dataclass(frozen=True)
class ScopeDrift:
    """The drift of a scope's routes from its release.

    Attributes:
        tag: the declared release; None if none is declared.
        behind: serving routes that were last proven at another release and are not excluded.
        in_service: how many routes of the scope ever served.
        arrived: how many of them were last proven at the release.
        blocked_reason: why no route of the scope may be swapped now; None if they may be.
        needs_rollout: too many routes are behind, or none was ever proven at the release.
    """

    scope: ScopeName
    tag: ReleaseTag | None
    behind: tuple[Route, ...]
    in_service: int
    arrived: int
    blocked_reason: str | None
    needs_rollout: bool


def drift_of(
    routes: Sequence[Route],
    declarations: Declarations,
    exclusions: Sequence[Hold],
    drift: BudgetSize,
    now: datetime,
    in_doubt: Set[RouteId] = frozenset(),
) -> tuple[Mapping[RouteId, ScopeName], tuple[ScopeDrift, ...]]:
    """Return the scope of each route, and the drift of each scope.

    Args:
        routes: the whole fleet.
        declarations: what should run where.
        exclusions: excluded routes do not count as behind.
        drift: how many routes of a scope may be swapped one by one, without a rollout.
        now: the current time, with its time zone.
        in_doubt: routes whose record may be old: they do not count as behind.
    """
    overrides = {track.name: track.release_override for track in declarations.tracks}
    scopes: dict[RouteId, ScopeName] = {}
    governed: defaultdict[ScopeName, list[Route]] = defaultdict(list)
    for route in sorted(routes, key=lambda route: route.route_id):
        scope = scope_of(route.track, overrides.get(route.track))
        scopes[route.route_id] = scope
        governed[scope].append(route)

    def is_held(route: Route, tag: ReleaseTag) -> bool:
        excluded = exclusion_of(route, exclusions, now, tag) is not None
        return excluded or route.route_id in in_doubt

    found = tuple(
        _drift(scope, members, overrides, declarations, is_held, drift)
        for scope, members in sorted(governed.items())
    )
    return scopes, found


def has_other_content(release: Release, architecture: str, sha256: str) -> bool:
    """Whether a host has other content under the version of a release than is declared.

    Args:
        release: the declared release, with its digests.
        architecture: of the installed package; `all` if it runs on each.
        sha256: of the .deb that was installed there; empty if it is not known, which is no drift.
    """
    declared = {
        deb_file.sha256
        for deb_file in release.deb_files
        if EVERY_ARCHITECTURE in (architecture, deb_file.architecture)
        or deb_file.architecture == architecture
    }
    return bool(sha256 and declared) and sha256 not in declared


def scope_of(track: TrackName, override: ReleaseTag | None) -> ScopeName:
    """Return the scope that declares the release of a track's routes."""
    return track_scope(track) if override else FLEET_SCOPE


def _drift(
    scope: ScopeName,
    routes: Sequence[Route],
    overrides: Mapping[TrackName, ReleaseTag | None],
    declarations: Declarations,
    is_held: Callable[[Route, ReleaseTag], bool],
    drift: BudgetSize,
) -> ScopeDrift:
    track = routes[0].track
    tag, blocked_reason = None, _blocked_reason(scope, declarations)
    try:
        tag = desired_release(track, overrides.get(track), declarations.fleet_default).tag
    except NoDesiredReleaseError as error:
        blocked_reason = blocked_reason or str(error)
    in_service = [route for route in routes if route.status not in NOT_IN_SERVICE]
    behind = tuple(
        route
        for route in in_service
        if tag is not None
        and route.status is RouteStatus.SERVING
        and route.machine is not None
        and route.current_release_tag != tag
        and not is_held(route, tag)
    )
    arrived = sum(route.current_release_tag == tag for route in in_service)
    return ScopeDrift(
        scope=scope,
        tag=tag,
        behind=behind,
        in_service=len(in_service),
        arrived=arrived,
        blocked_reason=blocked_reason,
        needs_rollout=bool(behind)
        and (arrived == 0 or len(behind) > max_out(drift, len(in_service))),
    )


def _blocked_reason(scope: ScopeName, declarations: Declarations) -> str | None:
    """Return why nothing but a rollout or a person may change the scope now, else None."""
    own = [each for each in declarations.rollouts if each.scope == scope]
    for rollout in own:
        if rollout.closed_at is None:
            return f"the rollout of {rollout.release_tag} holds the scope"
    if own and own[-1].phase in UNDECIDED and own[-1].closed_at is not None:
        declared_at = (declarations.declared_at or {}).get(scope)
        if declared_at is None or declared_at <= own[-1].closed_at:
            track = scope_track(scope)
            of_track = f" --track {track}" if track else ""
            tag = own[-1].release_tag
            return (
                f"the last rollout, of {tag}, was {own[-1].phase}: a person has to decide what the "
                f"scope runs: `relight rollout start {tag}{of_track}`, or the same with another "
                "release"
            )
    return None
