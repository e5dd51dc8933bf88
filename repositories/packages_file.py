"""An architecture's index of packages, a `Packages` file: the versions of one package in it.

Pure, but for its appetite: a large index takes seconds. Raises `RepositoryError`.
"""

import gzip
import lzma
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from debian import deb822

from messages.release import Artifact
from repositories.errors import RepositoryError


class Listed(NamedTuple):
    """One version of a package. Its artifact's architecture may be `all`."""

    version: str
    artifact: Artifact


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
            artifact = Artifact(
                architecture=entry["Architecture"],
                filename=entry["Filename"],
                sha256=entry["SHA256"].lower(),
                size_bytes=int(entry["Size"]),
            )
            yield Listed(entry["Version"], artifact)
        except (KeyError, ValueError) as error:
            raise RepositoryError(
                f"its entry of {package} {entry.get('Version', '')} cannot be read: {error}"
            ) from error
