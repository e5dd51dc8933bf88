"""Releases: a tag, resolved once to a Debian version and an artifact per architecture."""

from collections.abc import Sequence

from relight.domain.base import Message
from relight.domain.fault.error import DomainError
from relight.domain.names import DEFAULT_RELEASE_SETTING, ReleaseTag, RouteId, TrackName


class DebFile(Message):
    """One .deb of a release.

    Attributes:
        architecture: Debian's name of it, as in `amd64`.
        filename: where it lies: relative to its source where apt reads that, else its whole
            address.
        sha256: of the .deb, in lower-case hexadecimal.
        size_bytes: of the .deb.
    """

    architecture: str
    filename: str
    sha256: str
    size_bytes: int

    @property
    def url(self) -> str | None:
        """Its whole address, None where apt knows where it lies.

        This alone decides how a host comes to a release: by its address, or by apt.
        """
        return self.filename if "://" in self.filename else None


class Release(Message):
    """A tag and what it stands for.

    Attributes:
        tag: as release automation names it, `v0.0.74`.
        version: the one exact Debian version that it resolved to, `0.0.74`.
        package: the Debian package.
        source: where its artifacts come from: the apt source's address and suite, or
            `github:OWNER/NAME`.
        artifacts: one per architecture.
    """

    tag: ReleaseTag
    version: str
    package: str
    source: str
    deb_files: tuple[DebFile, ...]

    @property
    def architectures(self) -> tuple[str, ...]:
        """The architectures that it was built for, sorted."""
        return tuple(sorted(deb_file.architecture for deb_file in self.deb_files))

    def deb_file(self, architecture: str) -> DebFile | None:
        """Return the one for an architecture, or for all of them; None where it has neither."""
        by_architecture = {each.architecture: each for each in self.deb_files}
        return by_architecture.get(architecture, by_architecture.get("all"))


class ResolveReleaseInput(Message):
    """Resolve `tag`; refuse unless it has an artifact for each of `architectures`."""

    tag: ReleaseTag
    architectures: tuple[str, ...] = ()


class DesiredReleaseInput(Message):
    """Ask which release the routes of `track` should run."""

    track: TrackName


class DesiredRelease(Message):
    """The tag that a track's routes should run, and which declaration says so.

    Attributes:
        tag: the release's tag.
        declared_by: `track NAME` or `default_release_tag`.
    """

    tag: ReleaseTag
    declared_by: str


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


class NoReleaseBeforeError(DomainError):
    """The route was never proven at any other release than the one to go back from."""

    kind = "no-release-before"


def release_before(
    route_id: RouteId, target: ReleaseTag | None, proven: Sequence[ReleaseTag]
) -> ReleaseTag:
    """Return the last release that the route was proven at, other than its target.

    A route that failed on its way to its target goes back to what it ran; one that arrived goes
    back to what it ran before.

    Args:
        route_id: the route.
        target: what it should run now: what is gone back from.
        proven: every release that it was proven at, the last one last.

    Raises:
        NoReleaseBeforeError: there is none.
    """
    for tag in reversed(proven):
        if tag != target:
            return tag
    msg = f"route {route_id} was never proven at another release than {target}: where to go back?"
    raise NoReleaseBeforeError(msg)


# MERGEDOC """Which release a route should run."""
# MERGEDOC """Which release a route goes back to."""
