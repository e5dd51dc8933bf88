"""Tracks, and which release a track's routes should run."""

from relight.domain.base import Message
from relight.domain.fault.error import DomainError
from relight.domain.names import DEFAULT_RELEASE_SETTING, ReleaseTag, RouteId, TrackName


class Track(Message):
    """A named group of routes.

    Attributes:
        release_override: the release that its routes should run instead of the fleet's default.
    """

    name: TrackName
    release_override: ReleaseTag | None = None


class DesiredReleaseInput(Message):
    """Ask which release the routes of `track` should run.

    Attributes:
        route_id: the route that gets a machine: a release that is known as bad there is not
            returned.
    """

    track: TrackName
    route_id: RouteId | None = None


class DesiredRelease(Message):
    """The release that a track's routes should run.

    Attributes:
        tag: the release's tag.
        declared_by: where it is declared: `track NAME`, `default_release_tag`, or the route.
        instead_of: the release that it stands for, because that one is known as bad; else None.
        reason: why that one is; else empty.
    """

    tag: ReleaseTag
    declared_by: str
    instead_of: ReleaseTag | None = None
    reason: str = ""


class NoDesiredReleaseError(DomainError):
    """No release is declared for the track."""

    kind = "no-desired-release"


def desired_release(
    track: str, track_override: str | None, fleet_default: str | None
) -> DesiredRelease:
    """Return the track's override, else the fleet's default.

    Raises:
        NoDesiredReleaseError: neither is set. A release is never guessed.
    """
    if track_override:
        return DesiredRelease(tag=track_override, declared_by=f"track {track}")
    if fleet_default:
        return DesiredRelease(tag=fleet_default, declared_by=DEFAULT_RELEASE_SETTING)
    msg = (
        f"no release is declared for track {track}: "
        f"set {DEFAULT_RELEASE_SETTING}, or an override on the track"
    )
    raise NoDesiredReleaseError(msg)
