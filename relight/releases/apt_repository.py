"""A signed apt repository as a source of releases. Raises only `relight.releases.errors`.

All trust comes from the one signing key: it signs `InRelease`, which has the checksums of the
indices, which have the checksums of the packages.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from relight.domain.names import ReleaseTag
from relight.domain.release import Release
from relight.releases.errors import RepositoryError
from relight.releases.fetching import fetch_index, fetch_signed
from relight.releases.index import (
    Listed,
    RepositoryIndex,
    build_index,
    decompress,
    parse_packages,
)
from relight.releases.release_file import (
    IndexFile,
    ReleaseFile,
    check_dates,
    parse_release,
)
from relight.releases.signature import read_keyring, signed_text

TIMEOUT = timedelta(seconds=10)
"""For a connection, and for each read of an answer."""


class AptRepository:
    """The releases of one package in one component of a suite.

    Each request reads the small signed file, and the package indices only if that file changed.
    Concurrent requests share one read.
    """

    def __init__(
        self,
        *,
        url: str,
        suite: str,
        component: str,
        package: str,
        signing_key: Path | None,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        """Read nothing yet.

        Args:
            url: its address; empty if none is set.
            suite: under `dists/`.
            component: of that suite.
            package: the Debian package.
            signing_key: the file with its public key, armoured or binary; None if none is set.
            client: for requests; its owner closes it.
        """
        self._url = url
        self._suite = suite
        self._component = component
        self._package = package
        self._signing_key = signing_key
        self._own_client = client is None
        self._client = client or httpx.AsyncClient(timeout=TIMEOUT.total_seconds())
        self._reading: asyncio.Task[RepositoryIndex] | None = None
        self._known: tuple[bytes, ReleaseFile, RepositoryIndex] | None = None

    async def resolve(self, tag: ReleaseTag, architectures: Sequence[str]) -> Release:
        """Return the release of a tag, with a file for at least each of these architectures.

        Raises:
            ReleaseUnknownError: no version, more than one, or not for every architecture.
            RepositoryUnavailableError: it does not answer, or is being published at this moment.
            RepositoryUntrustedError: its signature, dates or checksums are not valid.
            RepositoryError: it is not configured, or is not a repository.
        """
        return (await self._index()).release(tag, architectures)

    async def list_releases(self) -> list[Release]:
        """Return every release, newest last.

        Raises:
            RepositoryError: as `resolve`.
        """
        return (await self._index()).releases()

    async def close(self) -> None:
        """Cancel a running read and close the source's own connections."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        if self._own_client:
            await self._client.aclose()

    async def _index(self) -> RepositoryIndex:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name="read the apt repository")
            self._reading.add_done_callback(_retrieve_error)
        # Shared by concurrent requests: it continues when one of them is cancelled.
        return await asyncio.shield(self._reading)

    async def _read(self) -> RepositoryIndex:
        suite, source, signing_key = self._location()
        try:
            keyring = await asyncio.to_thread(read_keyring, signing_key)
            signed = await fetch_signed(self._client, suite)
            digest = hashlib.sha256(keyring + signed).digest()
            if self._known is None or self._known[0] != digest:
                release = parse_release(await signed_text(signed, keyring))
                check_dates(release, datetime.now(UTC))
                self._known = digest, release, await self._read_indices(suite, source, release)
            _, release, index = self._known
            check_dates(release, datetime.now(UTC))
        except RepositoryError as error:
            raise type(error)(f"{source}: {error}") from error
        return index

    def _location(self) -> tuple[httpx.URL, str, Path]:
        """Return the suite's URL, its name in messages (without a password), and its key."""
        if not self._url:
            raise RepositoryError(
                "no repository is set: set RELIGHT_REPOSITORY__URL to the address of the signed "
                "apt repository of the releases"
            )
        if self._signing_key is None:
            raise RepositoryError(
                "no repository is set: set RELIGHT_REPOSITORY__SIGNING_KEY to the file with the "
                f"public key of {self._url}"
            )
        try:
            url = httpx.URL(f"{self._url.rstrip('/')}/")
            suite = url.join(f"dists/{self._suite}/")
        except httpx.InvalidURL as error:
            raise RepositoryError(f"RELIGHT_REPOSITORY__URL is not a valid URL: {error}") from error
        public = str(url.copy_with(userinfo=b"")).rstrip("/")
        return suite, f"{public} {self._suite} {self._component}", self._signing_key

    async def _read_indices(
        self, suite: httpx.URL, source: str, release: ReleaseFile
    ) -> RepositoryIndex:
        by_architecture = {
            architecture: release.packages_index(self._component, architecture)
            for architecture in release.architectures
        }
        found = {name: index for name, index in by_architecture.items() if index is not None}
        if not found:
            raise RepositoryError(
                f"it has no component {self._component}; its components: "
                f"{', '.join(release.components) or 'not listed'}"
            )
        read = await asyncio.gather(
            *(self._read_packages(suite, index, release.by_hash) for index in found.values())
        )
        return build_index(self._package, source, dict(zip(found, read, strict=True)))

    async def _read_packages(
        self, suite: httpx.URL, index: IndexFile, by_hash: bool
    ) -> list[Listed]:
        content = await fetch_index(self._client, suite, index, by_hash=by_hash)

        def parse() -> list[Listed]:
            return list(parse_packages(decompress(content, index.name), self._package))

        return await asyncio.to_thread(parse)


def _retrieve_error(reading: asyncio.Task[RepositoryIndex]) -> None:
    """Mark an error as retrieved if every request was cancelled. The next request reads again."""
    if not reading.cancelled():
        reading.exception()
