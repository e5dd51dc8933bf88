"""Brings packages to hosts that do not get them by themselves, over their SSH connection.

Whatever a host was brought is checked there against the digest of the release.
"""

import asyncio
from datetime import timedelta
from pathlib import Path

import structlog

from relight.domain.fault.error import DomainError
from relight.domain.release import DebFile, Release
from relight.hosts import host_program
from relight.hosts.shell import Shell
from relight.releases.errors import ReleaseUnknownError
from relight.releases.fetching import within
from relight.releases.package_files import PackageFiles
from relight.releases.source import ReleaseSource
from relight.shared_reads import SharedReads
from relight.store.store import Store
from relight.store.threads import in_thread

PUSH_TIMEOUT = timedelta(minutes=5)
"""For one package to one host."""

DOWNLOAD_TIMEOUT = timedelta(minutes=10)

MAX_PUSHES = 4
"""At once: each has a package in memory."""

COMMAND_TIMEOUT = timedelta(seconds=30)

log: structlog.stdlib.BoundLogger = structlog.get_logger("relight.delivery")


class PackageDelivery:
    """Has the packages that it brings in a folder, and downloads what is missing there once."""

    def __init__(self, files: PackageFiles, source: ReleaseSource, store: Store) -> None:
        self._files = files
        self._source = source
        self._store = store
        self._slots = asyncio.Semaphore(MAX_PUSHES)
        self._reads: SharedReads[Path] = SharedReads()
        self._keeping: set[asyncio.Task[None]] = set()

    async def bring(self, shell: Shell, deb_file: DebFile | None) -> None:
        """Bring a package to a host, if hosts do not get it by themselves. Twice does no harm.

        Raises:
            RepositoryError: it cannot be downloaded.
            RemoteError: the host does not take it, or does not answer.
        """
        if deb_file is None or not deb_file.is_pushed:
            return
        argv = host_program.received(deb_file)
        found = await shell.run(argv, timeout=COMMAND_TIMEOUT, check=False, sudo=True)
        if found.exit_code == 0:
            return
        async with self._slots:
            file = await self.file(deb_file)
            content = await asyncio.to_thread(file.read_bytes)
            argv = host_program.receive(deb_file)
            await shell.run(argv, stdin=content, timeout=PUSH_TIMEOUT, sudo=True)

    async def file(self, deb_file: DebFile) -> Path:
        """Return the file of a package; download it if it is not here.

        Raises:
            RepositoryError: it cannot be downloaded.
        """
        found = await asyncio.to_thread(self._files.find, deb_file)
        return found or await self._reads.get(deb_file.sha256, lambda: self._download(deb_file))

    async def _download(self, deb_file: DebFile) -> Path:
        release = await in_thread(self._store.releases.with_file, deb_file.sha256)
        if release is None:
            raise ReleaseUnknownError(f"no release on record has the file {deb_file.filename}")
        async with within(DOWNLOAD_TIMEOUT):
            return await self._files.add(deb_file, self._source.download(release, deb_file))

    def keep(self, release: Release) -> None:
        """Begin to download a release's packages, so that they stay when their source has not.

        Nobody waits for it: what cannot be downloaded is logged.
        """
        task = asyncio.create_task(self._keep(release), name=f"keep {release.tag}")
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def _keep(self, release: Release) -> None:
        for deb_file in release.deb_files:
            try:
                await self.file(deb_file)
            except (DomainError, OSError) as error:
                log.warning(f"{deb_file.filename} of {release.tag} is not kept: {error}")
