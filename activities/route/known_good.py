"""Which release is known to work on a route, as the store has it."""

from collections.abc import Iterable, Set

from relight.domain.names import (
    DEFAULT_RELEASE_SETTING,
    ReleaseTag,
    TrackName,
    package_tag,
)
from relight.domain.recovery import known_good
from relight.domain.route import Route
from relight.domain.track import DesiredRelease, desired_release
from relight.releases.versions import assumed_version, oldest_first
from relight.store.errors import UnknownTrackError
from relight.store.store import Store


def declared_release(store: Store, track_name: TrackName) -> DesiredRelease:
    """Return the release that is declared for the routes of a track.

    Raises:
        UnknownTrackError: there is no such track.
        NoDesiredReleaseError: none is declared.
    """
    track = store.tracks.get(track_name)
    if track is None:
        raise UnknownTrackError(f"there is no track {track_name}")
    return desired_release(
        track.name,
        track.release_override,
        store.fleet_settings.get(DEFAULT_RELEASE_SETTING),
    )


def given_up(store: Store, track_name: TrackName) -> Set[ReleaseTag]:
    """Return the releases that were given up for a track's routes, and are not declared."""
    return store.rollouts.given_up(track_name) - {_declared_tag(store, track_name)}


def release_for_machine(
    store: Store, track_name: TrackName, route: Route | None, wanted: ReleaseTag | None = None
) -> DesiredRelease:
    """Return the release for a machine of a route: not one that is known as bad there.

    Args:
        store: the store.
        track_name: the route's track.
        route: the route; None if it is new.
        wanted: what the route should run; None for what is declared for its track.

    Raises:
        UnknownTrackError: there is no such track.
        NoDesiredReleaseError: none is declared, and none is wanted.
    """
    if wanted is None or route is None:
        asked = declared_release(store, track_name)
    else:
        asked = DesiredRelease(tag=wanted, declared_by=f"route {route.route_id}")
    if route is None:
        return asked
    return known_good(
        asked,
        store.release_histories.get(route.route_id),
        given_up(store, track_name),
        _declared_tag(store, track_name),
    )


def version_of(store: Store, tag: ReleaseTag) -> str:
    """Return the Debian version of a release; if it was never resolved, that of its tag."""
    return store.releases.version(tag) or assumed_version(package_tag(tag))


def newest_of(store: Store, tags: Iterable[ReleaseTag]) -> ReleaseTag:
    """Return the release with the newest Debian version.

    Args:
        store: has the versions.
        tags: at least one.
    """
    by_version = {version_of(store, tag): tag for tag in tags}
    return by_version[oldest_first(by_version)[-1]]


def _declared_tag(store: Store, track_name: TrackName) -> ReleaseTag | None:
    track = store.tracks.get(track_name)
    override = track.release_override if track else None
    return override or store.fleet_settings.get(DEFAULT_RELEASE_SETTING)
