"""The versions of one package in a repository, and which version a tag means.

Parses `Packages` files, one per architecture. Pure, but slow: a large index takes a second. Raises
`RepositoryError` and `ReleaseUnknownError`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, BinaryIO, NamedTuple

from debian import deb822
from pydantic import StringConstraints, TypeAdapter

from relight.domain.names import DebianVersion, ReleaseTag
from relight.domain.release import EVERY_ARCHITECTURE, ArchitectureName, DebFile, Release
from relight.releases.compression import BROKEN, decompressed
from relight.releases.errors import ReleaseUnknownError, RepositoryError
from relight.releases.versions import (
    assumed_version,
    matching,
    oldest_first,
    tags_of,
)

_VERSION: TypeAdapter[str] = TypeAdapter(DebianVersion)
_ARCHITECTURE: TypeAdapter[str] = TypeAdapter(ArchitectureName)
_SHA256: TypeAdapter[str] = TypeAdapter(Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")])

_NAME = re.compile(rb"^package:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)

SHOWN_VERSIONS = 5

MAX_TEXT_BYTES = 512 * 1024 * 1024
"""Five times the package index of Debian itself, decompressed."""

MAX_PARAGRAPH_BYTES = 4 * 1024 * 1024
"""Of one package in an index."""

_CHUNK_BYTES = 1024 * 1024


class Listed(NamedTuple):
    """One version of a package. The architecture of its file may be `all`."""

    version: str
    deb_file: DebFile


@dataclass(frozen=True)
class RepositoryIndex:
    """Every version of one package in a repository.

    Attributes:
        package: the Debian package.
        source: the repository's address, suite and component.
        architectures: those of the repository.
        versions: the file by version and architecture.
    """

    package: str
    source: str
    architectures: tuple[str, ...]
    versions: Mapping[str, Mapping[str, DebFile]]

    def release(self, tag: ReleaseTag, architectures: Iterable[str]) -> Release:
        """Return the release of a tag: of several revisions the newest.

        Raises:
            ReleaseUnknownError: no version, or not for every architecture.
        """
        requested = set(architectures)
        found = matching(tag, self.versions)
        if not found:
            wanted = assumed_version(tag)
            for_tag = "" if wanted == tag else f" for {tag}"
            raise ReleaseUnknownError(
                f"there is no {self.package} {wanted}{for_tag} in {self.source}; {self._newest()}"
            )
        release = self._release(tag, found[-1], requested)
        missing = sorted(requested.difference(release.architectures))
        if missing:
            raise ReleaseUnknownError(
                f"{self.source} has no {self.package} {release.version} for "
                f"{', '.join(missing)}; it has it for {', '.join(release.architectures)}"
            )
        return release

    def releases(self) -> list[Release]:
        """Return the release of each version, newest last.

        Its tag means this version alone: of several revisions of a tag, the older ones are under
        their exact versions.
        """
        return [
            self._release(tag, version, set()) for version, tag in tags_of(self.versions).items()
        ]

    def _release(self, tag: ReleaseTag, version: str, requested: set[str]) -> Release:
        deb_files = self.versions[version]
        for_all = deb_files.get(EVERY_ARCHITECTURE)
        found: list[DebFile] = []
        for architecture in sorted(requested.union(self.architectures)):
            deb_file = deb_files.get(architecture, for_all)
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
        return f"the newest: {', '.join(newest)}" if newest else "there are no versions"


def build_index(
    package: str, source: str, listed: Mapping[str, Iterable[Listed]]
) -> RepositoryIndex:
    """Return the index of a repository.

    Args:
        package: the Debian package.
        source: the repository's address, suite and component.
        listed: the entries of each architecture's index.
    """
    versions: dict[str, dict[str, DebFile]] = {}
    for architecture, entries in listed.items():
        for version, deb_file in entries:
            # If a version has two files, the first counts, as for apt.
            versions.setdefault(version, {}).setdefault(architecture, deb_file)
    real = tuple(architecture for architecture in listed if architecture != EVERY_ARCHITECTURE)
    return RepositoryIndex(package, source, real or tuple(listed), versions)


def parse_packages(content: bytes, name: str, package: str) -> Iterator[Listed]:
    """Yield the entries of one package in an index.

    The index is read piece by piece, and only entries that name the package are parsed.

    Args:
        content: of the index, compressed.
        name: of the index; its suffix is the compression.
        package: the Debian package.

    Raises:
        RepositoryError: it cannot be decompressed or is too large, or an entry is malformed.
    """
    try:
        for block in _blocks(decompressed(content, name), name):
            for text in _naming(block, package):
                for entry in deb822.Packages.iter_paragraphs(text.decode(), use_apt_pkg=False):
                    if entry.get("Package") == package:
                        yield _listed(entry)
    except BROKEN as error:
        raise RepositoryError(f"its index {name} cannot be decompressed: {error}") from error


def package_names(content: bytes, name: str) -> frozenset[str]:
    """Return the names of all packages in an index.

    Args:
        content: of the index, compressed.
        name: of the index; its suffix is the compression.

    Raises:
        RepositoryError: it cannot be decompressed or is too large.
    """
    try:
        return frozenset(
            found.decode(errors="replace")
            for block in _blocks(decompressed(content, name), name)
            for found in _NAME.findall(block)
        )
    except BROKEN as error:
        raise RepositoryError(f"its index {name} cannot be decompressed: {error}") from error


def _blocks(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield an index in pieces of whole entries."""
    rest, read_bytes = b"", 0
    while chunk := stream.read(_CHUNK_BYTES):
        read_bytes += len(chunk)
        if read_bytes > MAX_TEXT_BYTES:
            raise RepositoryError(f"its index {name} has more than {MAX_TEXT_BYTES} bytes of text")
        rest += chunk
        block, blank, after = rest.rpartition(b"\n\n")
        if blank:
            yield block
            rest = after
        elif len(rest) > MAX_PARAGRAPH_BYTES:
            raise RepositoryError(
                f"its index {name} has an entry of more than {MAX_PARAGRAPH_BYTES} bytes"
            )
    yield rest


def _naming(block: bytes, package: str) -> Iterator[bytes]:
    """Yield the entries of a piece whose field `Package` is a package's name."""
    name = package.encode()
    field = re.compile(rb"package:[ \t]*" + re.escape(name) + rb"\s*", re.IGNORECASE)
    at = block.find(name)
    while at >= 0:
        end_of_line = block.find(b"\n", at)
        end_of_line = len(block) if end_of_line < 0 else end_of_line
        line = block[block.rfind(b"\n", 0, at) + 1 : end_of_line]
        if field.fullmatch(line):
            end = block.find(b"\n\n", at)
            end = len(block) if end < 0 else end
            yield block[block.rfind(b"\n\n", 0, at) + 1 : end]
            at = block.find(name, end)
        else:
            at = block.find(name, end_of_line)


def _listed(entry: deb822.Packages) -> Listed:
    try:
        return Listed(
            version=_VERSION.validate_python(entry["Version"]),
            deb_file=DebFile(
                architecture=_ARCHITECTURE.validate_python(entry["Architecture"]),
                filename=entry["Filename"],
                sha256=_SHA256.validate_python(entry["SHA256"].lower()),
                size_bytes=int(entry["Size"]),
            ),
        )
    except (KeyError, ValueError) as error:
        raise RepositoryError(
            f"its entry of {entry['Package']} {entry.get('Version', '')} is malformed: {error}"
        ) from error
