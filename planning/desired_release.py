"""Which release a route should run."""

from messages.errors import DomainError
from messages.names import DEFAULT_RELEASE_SETTING
from messages.release import DesiredRelease


class NoDesiredReleaseError(DomainError):
    """No declaration says what the track's routes should run: it is refused, never guessed."""

    kind = "no-desired-release"


def desired_release(
    track: str, track_override: str | None, fleet_default: str | None
) -> DesiredRelease:
    """Return the track's override, else the fleet's default.

    Raises:
        NoDesiredReleaseError: neither is set.
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
