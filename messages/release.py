"""Releases: a tag, resolved once to a Debian version and an artifact per architecture."""

from messages.base import Message
from messages.names import ReleaseTag, TrackName


class Artifact(Message):
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
    artifacts: tuple[Artifact, ...]

    @property
    def architectures(self) -> tuple[str, ...]:
        """The architectures that it was built for, sorted."""
        return tuple(sorted(artifact.architecture for artifact in self.artifacts))

    def artifact(self, architecture: str) -> Artifact | None:
        """Return the one for an architecture, or for all of them; None where it has neither."""
        by_architecture = {each.architecture: each for each in self.artifacts}
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
