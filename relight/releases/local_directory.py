"""A folder of packages on the control plane as a source of releases. Raises `RepositoryError`.

Whoever may write to the folder is trusted. The control plane brings the packages to hosts. A file
that is not whole, as while it is copied, is no release yet.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from relight.domain.error_words import error_words
from relight.domain.names import ReleaseTag
from relight.domain.release import PUSHED_PREFIX, DebFile, Release
from relight.releases.deb_contents import check_whole
from relight.releases.deb_control import (
    MAX_CONTROL_BYTES,
    DebControl,
    IncompleteError,
    read_control,
)
from relight.releases.errors import (
    ReleaseUnknownError,
    RepositoryError,
    RepositoryUnavailableError,
)
from relight.releases.index import Listed, RepositoryIndex, build_index
from relight.releases.listing import LeftOut, ReleaseList

CHUNK_BYTES: Final = 1024 * 1024
MAX_FILES: Final = 10_000
SHOWN_FILES: Final = 5


_Key = tuple[str, int, int, int]
"""The name of a file, its inode, its size in bytes, and when it was changed."""


class _Read(NamedTuple):
    """What a file is."""

    control: DebControl
    sha256: str
    size_bytes: int


class LocalDirectory:
    """The releases of one package in a folder. Its files may have any names that end in `.deb`."""

    def __init__(self, folder: Path, package: str) -> None:
        """Read nothing yet.

        Args:
            folder: with the packages; folders in it are not read.
            package: the Debian package.
        """
        self._folder = folder
        self._package = package
        self._source = f"directory:{folder.name}"
        self._known: dict[_Key, _Read | RepositoryError] = {}

    async def resolve(self, tag: ReleaseTag, architectures: Sequence[str]) -> Release:
        """Return the release of a tag, with a file for at least each of these architectures.

        Raises:
            ReleaseUnknownError: no version, or not for every architecture.
            RepositoryError: the folder cannot be read.
        """
        index, left_out = await asyncio.to_thread(self._index)
        try:
            return index.release(tag, architectures)
        except ReleaseUnknownError as error:
            if not left_out:
                raise
            names = ", ".join(f"{each.name} ({each.reason})" for each in left_out[:SHOWN_FILES])
            raise ReleaseUnknownError(f"{error}; it has also {names}") from error

    async def list_releases(self) -> ReleaseList:
        """Return every release, newest last, and the files that are none.

        Raises:
            RepositoryError: as `resolve`.
        """
        index, left_out = await asyncio.to_thread(self._index)
        return ReleaseList(releases=tuple(index.releases()), left_out=tuple(left_out))

    async def download(self, release: Release, deb_file: DebFile) -> AsyncGenerator[bytes, None]:
        """Yield the content of a release's file.

        Raises:
            RepositoryUnavailableError: it is not there any more.
        """
        del release
        file = self._folder / deb_file.filename.removeprefix(PUSHED_PREFIX)
        try:
            with file.open("rb") as opened:
                while chunk := await asyncio.to_thread(opened.read, CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise RepositoryUnavailableError(f"{file.name}: {error_words(error)}") from error

    async def packages(self, architecture: str) -> frozenset[str]:  # noqa: ARG002 - the contract's
        """Return nothing: hosts get the release's own package alone."""
        return frozenset()

    async def close(self) -> None:
        """There is no connection."""

    def _index(self) -> tuple[RepositoryIndex, list[LeftOut]]:
        listed: dict[str, list[Listed]] = {}
        left_out: list[LeftOut] = []
        known: dict[_Key, _Read | RepositoryError] = {}
        for file in self._files():
            found = self._read(file, known)
            if isinstance(found, RepositoryError):
                unread = isinstance(found, RepositoryUnavailableError)
                left_out.append(LeftOut.by(file.name, found, unread=unread))
            elif found.control.package == self._package:
                control = found.control
                deb_file = DebFile(
                    architecture=control.architecture,
                    filename=f"{PUSHED_PREFIX}{file.name}",
                    sha256=found.sha256,
                    size_bytes=found.size_bytes,
                )
                listed.setdefault(control.architecture, []).append(
                    Listed(control.version, deb_file)
                )
        self._known = known  # without the files that are gone
        return build_index(self._package, self._source, listed), left_out

    def _files(self) -> list[Path]:
        try:
            files = sorted(file for file in self._folder.iterdir() if file.suffix == ".deb")
        except OSError as error:
            text = f"the folder of packages cannot be read: {self._folder}: {error_words(error)}"
            raise RepositoryError(text) from error
        if len(files) > MAX_FILES:
            raise RepositoryError(f"{self._folder} has more than {MAX_FILES} packages")
        return files

    def _read(
        self, file: Path, known: dict[_Key, _Read | RepositoryError]
    ) -> _Read | RepositoryError:
        """Return what a file is, and add it to `known`; an error if it is no whole package.

        Each content is read once.
        """
        try:
            with file.open("rb") as opened:
                key = _key_of(file.name, opened)
                found = self._known.get(key) or _read_new(opened)
                if _key_of(file.name, opened) != key:
                    return RepositoryUnavailableError("it was changed while it was read")
        except OSError as error:
            return RepositoryUnavailableError(error_words(error))
        known[key] = found
        return found


def _key_of(name: str, file: BinaryIO) -> _Key:
    status = os.fstat(file.fileno())
    return name, status.st_ino, status.st_size, status.st_mtime_ns


def _read_new(file: BufferedReader) -> _Read | RepositoryError:
    try:
        control = read_control(file.read(MAX_CONTROL_BYTES))
        check_whole(file)
    except IncompleteError:
        return RepositoryUnavailableError("it is not whole: it is being copied, or was cut off")
    except RepositoryError as error:
        return error
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256")
    return _Read(control, digest.hexdigest(), file.tell())
