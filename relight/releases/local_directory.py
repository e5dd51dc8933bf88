"""A folder of packages on the control plane as a source of releases. Raises `RepositoryError`.

Whoever may write to the folder is trusted. The control plane brings the packages to hosts.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from relight.domain.error_words import error_words
from relight.domain.names import ReleaseTag
from relight.domain.release import PUSHED_PREFIX, DebFile, Release
from relight.releases.deb_control import (
    MAX_CONTROL_BYTES,
    DebControl,
    IncompleteError,
    read_control,
)
from relight.releases.errors import RepositoryError, RepositoryUnavailableError
from relight.releases.index import Listed, RepositoryIndex, build_index

CHUNK_BYTES: Final = 1024 * 1024
MAX_FILES: Final = 10_000


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
        self._known: dict[tuple[str, int, int, int], _Read | RepositoryError] = {}

    async def resolve(self, tag: ReleaseTag, architectures: Sequence[str]) -> Release:
        """Return the release of a tag, with a file for at least each of these architectures.

        Raises:
            ReleaseUnknownError: no version, or not for every architecture.
            RepositoryError: the folder cannot be read.
        """
        return (await asyncio.to_thread(self._index)).release(tag, architectures)

    async def list_releases(self) -> list[Release]:
        """Return every release, newest last.

        Raises:
            RepositoryError: as `resolve`.
        """
        return (await asyncio.to_thread(self._index)).releases()

    async def download(self, release: Release, deb_file: DebFile) -> AsyncIterator[bytes]:
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

    async def close(self) -> None:
        """There is no connection."""

    def _index(self) -> RepositoryIndex:
        listed: dict[str, list[Listed]] = {}
        for file in self._files():
            found = self._read(file)
            if isinstance(found, _Read) and found.control.package == self._package:
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
        return build_index(self._package, self._source, listed)

    def _files(self) -> list[Path]:
        try:
            files = sorted(file for file in self._folder.iterdir() if file.suffix == ".deb")
        except OSError as error:
            text = f"the folder of packages cannot be read: {self._folder}: {error_words(error)}"
            raise RepositoryError(text) from error
        if len(files) > MAX_FILES:
            raise RepositoryError(f"{self._folder} has more than {MAX_FILES} packages")
        return files

    def _read(self, file: Path) -> _Read | RepositoryError:
        """Return what a file is; an error if it is no package. Each content is read once."""
        try:
            status = file.stat()
            key = (file.name, status.st_ino, status.st_size, status.st_mtime_ns)
            if key not in self._known:
                self._known[key] = self._read_new(file)
            return self._known[key]
        except OSError as error:
            return RepositoryUnavailableError(f"{file.name}: {error_words(error)}")

    def _read_new(self, file: Path) -> _Read | RepositoryError:
        with file.open("rb") as opened:
            try:
                control = read_control(opened.read(MAX_CONTROL_BYTES))
            except (RepositoryError, IncompleteError) as error:
                return RepositoryError(f"{file.name}: {error}")
            opened.seek(0)
            digest = hashlib.file_digest(opened, "sha256")
            return _Read(control, digest.hexdigest(), opened.tell())
