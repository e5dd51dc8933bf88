"""A signed apt repository as a source of releases. Raises `relight.releases.errors` alone.

Nothing is believed that the one signing key does not vouch for: it signs `InRelease`, which names
the checksums of the indices, which name those of the packages.
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
    parse_packages,
    unpacked,
)
from relight.releases.release_file import (
    IndexFile,
    ReleaseFile,
    check_dates,
    parse_release,
)
from relight.releases.signature import read_keyring, signed_text

TIMEOUT = timedelta(seconds=10)
"""For a connection, and for each silence in an answer."""


class AptRepository:
    """The releases of one package in one component of a suite.

    What it holds is read anew for each question, as far as it changed: the small signed file
    always, the indices of packages only when that file is another one. Questions that come
    together share one reading.
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
        """Remember where the repository is; it is first asked when a question comes.

        Args:
            url: its address; empty where none is set.
            suite: the suite under `dists/`.
            component: of that suite.
            package: the Debian package.
            signing_key: the file with its public key, armoured or binary; None where none is set.
            client: asks; stays its owner's to close.
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
        """Return what the tag stands for, with an artifact for each architecture at least.

        Raises:
            ReleaseUnknownError: no version, or more than one, or not for every architecture.
            RepositoryUnavailableError: it does not answer, or is in the middle of being published.
            RepositoryUntrustedError: its signature, date or checksums do not hold.
            RepositoryError: it is not set, or is no repository.
        """
        return (await self._index()).release(tag, architectures)

    async def list_releases(self) -> list[Release]:
        """Return every release that it holds, the newest last.

        Raises:
            RepositoryError: as `resolve` says.
        """
        return (await self._index()).releases()

    async def close(self) -> None:
        """Stop asking, and close the connections that are its own."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        if self._own_client:
            await self._client.aclose()

    async def _index(self) -> RepositoryIndex:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name="read the apt repository")
            self._reading.add_done_callback(_seen)
        # The reading is everybody's: it goes on when one who waits for it is cancelled.
        return await asyncio.shield(self._reading)

    async def _read(self) -> RepositoryIndex:
        suite, source, signing_key = self._place()
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

    def _place(self) -> tuple[httpx.URL, str, Path]:
        """Return the suite's address, what it is called without its password, and its key."""
        if not self._url:
            raise RepositoryError(
                "no repository is set: RELIGHT_REPOSITORY__URL is the address of the signed apt "
                "repository that releases come from"
            )
        if self._signing_key is None:
            raise RepositoryError(
                "no repository is set: RELIGHT_REPOSITORY__SIGNING_KEY is the file with the "
                f"public key of {self._url}"
            )
        try:
            url = httpx.URL(f"{self._url.rstrip('/')}/")
            suite = url.join(f"dists/{self._suite}/")
        except httpx.InvalidURL as error:
            raise RepositoryError(f"RELIGHT_REPOSITORY__URL is no address: {error}") from error
        public = str(url.copy_with(userinfo=b"")).rstrip("/")
        return suite, f"{public} {self._suite} {self._component}", self._signing_key

    async def _read_indices(
        self, suite: httpx.URL, source: str, release: ReleaseFile
    ) -> RepositoryIndex:
        named = {
            architecture: release.packages_index(self._component, architecture)
            for architecture in release.architectures
        }
        found = {name: index for name, index in named.items() if index is not None}
        if not found:
            raise RepositoryError(
                f"it has no component {self._component}: its components are "
                f"{', '.join(release.components) or 'not named'}"
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
            return list(parse_packages(unpacked(content, index.name), self._package))

        return await asyncio.to_thread(parse)


def _seen(reading: asyncio.Task[RepositoryIndex]) -> None:
    """Take note of an error that nobody waits for any more: the next question meets it again."""
    if not reading.cancelled():
        reading.exception()
