"""Packages that the control plane keeps, by digest, to bring them to hosts.

A package is kept also after its source has deleted it, so that a fleet can go back to it. The
folder is bounded: what was not used for longest is deleted first. Raises `RepositoryError`.
"""

import asyncio
import hashlib
import os
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

from relight.domain.release import DebFile
from relight.releases.errors import RepositoryError, RepositoryUnavailableError

MAX_DEB_BYTES = 999_999_999
"""Of a package that is brought to a host, which takes no larger one."""

_DAY_SECONDS = 24 * 60 * 60


class PackageFiles:
    """A folder of packages."""

    def __init__(self, folder: Path, max_files: int, max_bytes: int) -> None:
        """Make nothing yet.

        Args:
            folder: of the packages; it is made when the first one is added.
            max_files: how many are kept.
            max_bytes: of all of them together; the newest one is kept in any case.
        """
        self._folder = folder
        self._max_files = max_files
        self._max_bytes = max_bytes

    def find(self, deb_file: DebFile) -> Path | None:
        """Return the file of a package, and mark it as used; None if it is not here."""
        file = self._path(deb_file)
        try:
            os.utime(file)
        except FileNotFoundError:
            return None
        return file

    async def add(self, deb_file: DebFile, chunks: AsyncIterator[bytes]) -> Path:
        """Keep a package, and return its file.

        Args:
            deb_file: its size and digest.
            chunks: its content.

        Raises:
            RepositoryUnavailableError: the content has another size or digest.
            RepositoryError: it is too large.
        """
        if deb_file.size_bytes > MAX_DEB_BYTES:
            raise RepositoryError(
                f"{deb_file.filename} has {deb_file.size_bytes} bytes; a package that is brought "
                f"to hosts may have {MAX_DEB_BYTES}"
            )
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        digest, size_bytes = hashlib.sha256(), 0
        file = self._path(deb_file)
        part = file.with_name(f"part-{uuid.uuid4().hex}")
        try:
            with part.open("xb") as opened:
                async for chunk in chunks:
                    size_bytes += len(chunk)
                    if size_bytes > deb_file.size_bytes:
                        break
                    digest.update(chunk)
                    await asyncio.to_thread(opened.write, chunk)
            if size_bytes != deb_file.size_bytes or digest.hexdigest() != deb_file.sha256:
                raise RepositoryUnavailableError(
                    f"the content of {deb_file.filename} differs from its size or SHA-256"
                )
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        await asyncio.to_thread(self._prune, file)
        return file

    def _path(self, deb_file: DebFile) -> Path:
        return self._folder / f"{deb_file.sha256}.deb"

    def _prune(self, newest: Path) -> None:
        """Delete what was not used for longest, until the rest is within the limits.

        What a process that was killed has left of a download is deleted after a day.
        """
        for part in self._folder.glob("part-*"):
            if time.time() - part.stat().st_mtime > _DAY_SECONDS:
                part.unlink(missing_ok=True)
        kept_bytes = 0
        found = [(file.stat(), file) for file in self._folder.glob("*.deb")]
        found.sort(key=lambda each: -each[0].st_mtime_ns)
        for kept_files, (status, file) in enumerate(found, 1):
            kept_bytes += status.st_size
            if file != newest and (kept_files > self._max_files or kept_bytes > self._max_bytes):
                file.unlink(missing_ok=True)
