"""Releases: a tag, resolved once to a Debian version and a .deb per architecture."""

from typing import Annotated

from pydantic import StringConstraints

from relight.domain.base import Message
from relight.domain.names import (
    DebianVersion,
    PackageName,
    ReleaseTag,
    Revision,
    revision_of,
)

ArchitectureName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
"""Debian's name of an architecture, as in `amd64`; `all` for a package that runs on each."""

EVERY_ARCHITECTURE = "all"
"""The architecture of a package that runs on each."""


PUSHED_PREFIX = "pushed:"
"""Begins the file name of a .deb that the control plane brings to hosts. Its own name follows."""


class DebFile(Message):
    """One .deb of a release.

    Attributes:
        architecture: Debian name, as in `amd64`.
        filename: path relative to its source if apt reads that source; the full URL if hosts fetch
            it; or `pushed:NAME` if the control plane brings it to hosts.
        sha256: of the .deb, lower-case hexadecimal.
        size_bytes: of the .deb.
    """

    architecture: str
    filename: str
    sha256: str
    size_bytes: int

    @property
    def url(self) -> str | None:
        """Its full URL if hosts fetch it, else None."""
        return self.filename if "://" in self.filename else None

    @property
    def is_pushed(self) -> bool:
        """Whether the control plane brings it to hosts."""
        return self.filename.startswith(PUSHED_PREFIX)

    @property
    def by_apt(self) -> bool:
        """Whether apt finds it in its source. This alone decides how a host gets a release."""
        return self.url is None and not self.is_pushed

    def as_pushed(self) -> "DebFile":
        """Return it as a file that the control plane brings."""
        name = self.filename.rpartition("/")[2].removeprefix(PUSHED_PREFIX)
        return self.model_copy(update={"filename": PUSHED_PREFIX + name})


class Release(Message):
    """A tag and what it resolves to.

    Attributes:
        tag: as release automation names it, `v0.0.74`; or the exact version. With a configuration
            `v0.0.74@3f2a91bc04de`.
        version: the exact Debian version, `0.0.74`.
        package: the Debian package.
        source: where its files come from: the apt source's URL and suite, or `github:OWNER/NAME`.
        deb_files: one per architecture.
    """

    tag: ReleaseTag
    version: DebianVersion
    package: PackageName
    source: str
    deb_files: tuple[DebFile, ...]

    @property
    def configuration(self) -> Revision | None:
        """The revision of its configuration; None if Relight writes none."""
        return revision_of(self.tag)

    @property
    def architectures(self) -> tuple[str, ...]:
        """The architectures that it was built for, sorted."""
        return tuple(sorted(deb_file.architecture for deb_file in self.deb_files))

    def deb_file(self, architecture: str) -> DebFile | None:
        """Return the file for an architecture, else the one for `all`, else None."""
        by_architecture = {each.architecture: each for each in self.deb_files}
        return by_architecture.get(architecture, by_architecture.get(EVERY_ARCHITECTURE))


class ResolveReleaseInput(Message):
    """Resolve `tag`; refuse a release that lacks a file for one of `architectures`.

    Attributes:
        for_rollout: a rollout starts: what the source has under the same version now is accepted
            also if the fleet knows that version with other content.
    """

    tag: ReleaseTag
    architectures: tuple[str, ...] = ()
    for_rollout: bool = False


def with_files_of(release: Release, other: Release) -> Release:
    """Return a release with the files of another resolution of the same version added.

    Args:
        release: its files count where both have one for an architecture.
        other: the other resolution.
    """
    known = {deb_file.architecture for deb_file in release.deb_files}
    added = [each for each in other.deb_files if each.architecture not in known]
    files = sorted((*release.deb_files, *added), key=lambda each: each.architecture)
    return release.model_copy(update={"deb_files": tuple(files)})


def rebuilt_architectures(recorded: Release, offered: Release) -> tuple[str, ...]:
    """Return for which architectures a version has other content than is on record, sorted."""
    return tuple(
        deb_file.architecture
        for deb_file in offered.deb_files
        for known in recorded.deb_files
        if known.architecture == deb_file.architecture and known.sha256 != deb_file.sha256
    )
