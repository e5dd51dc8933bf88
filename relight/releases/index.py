"""An architecture's index of packages, a `Packages` file: the versions of one package in it.

Pure, but for its appetite: a large index takes seconds. Raises `RepositoryError`.
"""

import gzip
import lzma
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from debian import deb822

from relight.domain.names import ReleaseTag
from relight.domain.release import DebFile, Release
from relight.releases.errors import ReleaseUnknownError, RepositoryError
from relight.releases.versions import (
    matching,
    oldest_first,
    tag_of,
    upstream_version,
)


class Listed(NamedTuple):
    """One version of a package. Its artifact's architecture may be `all`."""

    version: str
    deb_file: DebFile


def unpacked(content: bytes, name: str) -> str:
    """Return an index's text; its name says how it is compressed.

    Raises:
        RepositoryError: it is not what its name says.
    """
    try:
        if name.endswith(".xz"):
            content = lzma.decompress(content)
        elif name.endswith(".gz"):
            content = gzip.decompress(content)
        return content.decode()
    except (lzma.LZMAError, OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise RepositoryError(f"its index {name} cannot be unpacked: {error}") from error


def parse_packages(text: str, package: str) -> Iterator[Listed]:
    """Read what an index says of one package.

    Raises:
        RepositoryError: an entry lacks what is needed to fetch and check it.
    """
    for entry in deb822.Packages.iter_paragraphs(text, use_apt_pkg=False):
        if entry.get("Package") != package:
            continue
        try:
            deb_file = DebFile(
                architecture=entry["Architecture"],
                filename=entry["Filename"],
                sha256=entry["SHA256"].lower(),
                size_bytes=int(entry["Size"]),
            )
            yield Listed(entry["Version"], deb_file)
        except (KeyError, ValueError) as error:
            raise RepositoryError(
                f"its entry of {package} {entry.get('Version', '')} cannot be read: {error}"
            ) from error


EVERY_ARCHITECTURE = "all"

SHOWN_VERSIONS = 5


@dataclass(frozen=True)
class RepositoryIndex:
    """Every version of one package in a repository.

    Attributes:
        package: the Debian package.
        source: the repository's address, suite and component.
        architectures: the ones that the repository is there for.
        versions: by version and architecture, its artifact.
    """

    package: str
    source: str
    architectures: tuple[str, ...]
    versions: Mapping[str, Mapping[str, DebFile]]

    def release(self, tag: ReleaseTag, architectures: Iterable[str]) -> Release:
        """Return what a tag stands for.

        Raises:
            ReleaseUnknownError: no version, or more than one, or not for every architecture.
        """
        wanted = set(architectures)
        found = matching(tag, self.versions)
        if not found:
            raise ReleaseUnknownError(
                f"there is no {self.package} {upstream_version(tag)} for {tag} in {self.source}: "
                f"{self._newest()}"
            )
        if len(found) > 1:
            raise ReleaseUnknownError(
                f"{tag} is ambiguous: {self.source} holds {self.package} {', '.join(found)}"
            )
        release = self._release(tag, found[0], wanted)
        missing = sorted(wanted.difference(release.architectures))
        if missing:
            raise ReleaseUnknownError(
                f"{self.package} {release.version} for {tag} is not there for "
                f"{', '.join(missing)} in {self.source}: only for "
                f"{', '.join(release.architectures)}"
            )
        return release

    def releases(self) -> list[Release]:
        """Return what each tag stands for, the newest last.

        What no tag names is no release, and neither are several revisions that share one.
        """
        tags = {version: tag_of(version) for version in oldest_first(self.versions)}
        return [
            self._release(tag, version, set())
            for version, tag in tags.items()
            if tag is not None and matching(tag, self.versions) == [version]
        ]

    def _release(self, tag: ReleaseTag, version: str, wanted: set[str]) -> Release:
        deb_files = self.versions[version]
        everywhere = deb_files.get(EVERY_ARCHITECTURE)
        found: list[DebFile] = []
        for architecture in sorted(wanted.union(self.architectures)):
            deb_file = deb_files.get(architecture, everywhere)
            if deb_file is not None:
                found.append(deb_file.model_copy(update={"architecture": architecture}))
        return Release(
            tag=tag,
            version=version,
            package=self.package,
            source=self.source,
            deb_files=tuple(found),
        )

    def _newest(self) -> str:
        newest = oldest_first(self.versions)[: -SHOWN_VERSIONS - 1 : -1]
        return f"its newest are {', '.join(newest)}" if newest else "it holds no version at all"


def build_index(
    package: str, source: str, listed: Mapping[str, Iterable[Listed]]
) -> RepositoryIndex:
    """Put together what the indices of each architecture say.

    Args:
        package: the Debian package.
        source: the repository's address, suite and component.
        listed: by architecture, what its index says.
    """
    versions: dict[str, dict[str, DebFile]] = {}
    for architecture, entries in listed.items():
        for version, deb_file in entries:
            # Of two files of one version the first counts, as it does for apt.
            versions.setdefault(version, {}).setdefault(architecture, deb_file)
    real = tuple(architecture for architecture in listed if architecture != EVERY_ARCHITECTURE)
    return RepositoryIndex(package, source, real or tuple(listed), versions)


# MERGEDOC """What a repository holds of one package: which version a tag is, and where its files lie. Pure."""
