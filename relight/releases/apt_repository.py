"""A signed apt repository as a source of releases. Raises only `relight.releases.errors`.

All trust comes from the one signing key: it signs `InRelease`, which has the checksums of the
indices, which have the checksums of the packages. An `InRelease` that is older than one that was
seen is refused, so that nobody can offer an old state of the repository again.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import httpx

from relight.domain.names import ReleaseTag
from relight.domain.release import Release
from relight.releases.errors import RepositoryError
from relight.releases.fetching import DEADLINE, fetch_index, fetch_signed, within
from relight.releases.index import (
    RepositoryIndex,
    build_index,
    decompress,
    parse_packages,
)
from relight.releases.release_file import (
    ReleaseFile,
    check_dates,
    check_not_older,
    parse_release,
)
from relight.releases.signature import signed_text
from relight.releases.signing_key import read_signing_key
from relight.shared_reads import SharedReads

TIMEOUT = timedelta(seconds=10)
"""For a connection, and for each read of an answer."""

MAX_AGE = timedelta(days=90)
"""Of an index that does not say how long it is valid."""


class SeenIndexes(Protocol):
    """The dates of the newest indexes that were seen. Its calls block."""

    def newest(self, source: str) -> datetime | None:
        """Return the date of a repository's newest index; None if none was seen."""

    def record(self, source: str, date: datetime) -> None:
        """Record that an index of this date was seen. An older date changes nothing."""


@dataclass(frozen=True)
class _Fetched:
    """The files of the repository.

    Attributes:
        digest: of the signing key and the signed index.
        release: the signed index.
        indices: by architecture, the name of its package index and the compressed content.
    """

    digest: bytes
    release: ReleaseFile
    indices: Mapping[str, tuple[str, bytes]]


@dataclass(frozen=True)
class _Known:
    """The latest index that was read, and from which signed index."""

    digest: bytes
    release: ReleaseFile
    index: RepositoryIndex


class AptRepository:
    """The releases of one package in one component of a suite.

    Each request reads the small signed file, and the package indices only if that file changed.
    Concurrent requests share one read.
    """

    def __init__(  # noqa: PLR0913 - the address, and what makes its index trusted
        self,
        *,
        url: str,
        suite: str,
        component: str,
        package: str,
        signing_key: Path | None,
        fingerprint: str = "",
        max_age: timedelta = MAX_AGE,
        seen: SeenIndexes | None = None,
        client: httpx.AsyncClient | None = None,
        deadline: timedelta = DEADLINE,
    ) -> None:
        """Read nothing yet.

        Args:
            url: its address; empty if none is set.
            suite: under `dists/`.
            component: of that suite.
            package: the Debian package.
            signing_key: the file with its public key, armoured or binary; None if none is set.
            fingerprint: of that key; needed if the file has several.
            max_age: of an index that does not say how long it is valid.
            seen: the indexes that were seen by any process; None to remember none.
            client: for requests; its owner closes it.
            deadline: for all requests of one read together.
        """
        self._url = url
        self._suite = suite
        self._component = component
        self._package = package
        self._signing_key = signing_key
        self._fingerprint = fingerprint
        self._max_age = max_age
        self._seen = seen
        self._own_client = client is None
        self._client = client or httpx.AsyncClient(timeout=TIMEOUT.total_seconds())
        self._deadline = deadline
        self._reads: SharedReads[RepositoryIndex] = SharedReads()
        self._known: _Known | None = None

    async def resolve(self, tag: ReleaseTag, architectures: Sequence[str]) -> Release:
        """Return the release of a tag, with a file for at least each of these architectures.

        Raises:
            ReleaseUnknownError: no version, or not for every architecture.
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
        await self._reads.close()
        if self._own_client:
            await self._client.aclose()

    async def _index(self) -> RepositoryIndex:
        return await self._reads.get("the apt repository", self._read)

    async def _read(self) -> RepositoryIndex:
        suite, source, signing_key = self._location()
        try:
            async with within(self._deadline):
                fetched = await self._fetch(suite, source, signing_key)
            if fetched is not None:
                index = await asyncio.to_thread(self._parse, source, fetched.indices)
                self._known = _Known(fetched.digest, fetched.release, index)
            assert self._known is not None
            await self._check_time(self._known.release, source)
            if self._seen is not None:
                await asyncio.to_thread(self._seen.record, source, self._known.release.date)
        except RepositoryError as error:
            raise type(error)(f"{source}: {error}") from error
        return self._known.index

    async def _fetch(self, suite: httpx.URL, source: str, signing_key: Path) -> _Fetched | None:
        """Return the repository's files; None if the known index is still the newest."""
        key = await asyncio.to_thread(read_signing_key, signing_key, self._fingerprint)
        key.check_expiry(datetime.now(UTC))
        signed = await fetch_signed(self._client, suite)
        digest = hashlib.sha256(key.certificate + signed).digest()
        if self._known is not None and self._known.digest == digest:
            return None
        release = parse_release(await signed_text(signed, key))
        await self._check_time(release, source)
        return _Fetched(digest, release, await self._fetch_indices(suite, release))

    async def _check_time(self, release: ReleaseFile, source: str) -> None:
        check_dates(release, datetime.now(UTC), self._max_age)
        if self._seen is not None:
            check_not_older(release, await asyncio.to_thread(self._seen.newest, source))

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

    async def _fetch_indices(
        self, suite: httpx.URL, release: ReleaseFile
    ) -> Mapping[str, tuple[str, bytes]]:
        """Return the package indices by architecture: each's name and its compressed content."""
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
        return {
            architecture: (
                index.name,
                await fetch_index(self._client, suite, index, by_hash=release.by_hash),
            )
            for architecture, index in found.items()
        }

    def _parse(self, source: str, indices: Mapping[str, tuple[str, bytes]]) -> RepositoryIndex:
        listed = {
            architecture: list(parse_packages(decompress(content, name), self._package))
            for architecture, (name, content) in indices.items()
        }
        return build_index(self._package, source, listed)
