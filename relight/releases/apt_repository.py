"""A signed apt repository as a source of releases. Raises only `relight.releases.errors`.

All trust comes from the one signing key: it signs `InRelease`, which has the checksums of the
indices, which have the checksums of the packages. An `InRelease` that is older than one that was
seen is refused, so that nobody can offer an old state of the repository again.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

import httpx

from relight.domain.names import ReleaseTag
from relight.domain.release import EVERY_ARCHITECTURE, DebFile, Release
from relight.releases.errors import RepositoryError
from relight.releases.fetching import (
    DEADLINE,
    NO_HEADERS,
    fetch_index,
    fetch_signed,
    stream,
    within,
)
from relight.releases.index import (
    Listed,
    RepositoryIndex,
    build_index,
    package_names,
    parse_packages,
)
from relight.releases.listing import ReleaseList
from relight.releases.release_file import (
    IndexFile,
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

ARCHITECTURES: Final = ("amd64", "arm64")
"""Of the hosts of most fleets."""


class SeenIndexes(Protocol):
    """The dates of the newest indexes that were seen. Its calls block."""

    def newest(self, source: str) -> datetime | None:
        """Return the date of a repository's newest index; None if none was seen."""

    def record(self, source: str, date: datetime) -> None:
        """Record that an index of this date was seen. An older date changes nothing."""


def is_flat(suite: str) -> bool:
    """Whether a suite is the path of a flat repository, which has no components."""
    return suite.endswith("/")


@dataclass(frozen=True)
class _Location:
    """Where a suite is.

    Attributes:
        suite: the URL of its folder, ending with a slash.
        source: its name in messages, without a password.
        signing_key: the file with its public key.
    """

    suite: httpx.URL
    source: str
    signing_key: Path


@dataclass(frozen=True)
class _Known:
    """The latest signed index, and what was read of the package indices that it describes.

    Attributes:
        digest: of the signing key and the signed index.
        listed: the package's entries by architecture; those of a flat repository under "".
    """

    digest: bytes
    release: ReleaseFile
    listed: dict[str, list[Listed]] = field(default_factory=dict)


class AptRepository:
    """The releases of one package in one component of a suite, or in a flat repository.

    Each request reads the small signed file, and the package indices only if that file changed.
    Only the indices of the requested architectures are read. Concurrent requests share one read.
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
        architectures: Sequence[str] = ARCHITECTURES,
        headers: Mapping[str, str] = NO_HEADERS,
        seen: SeenIndexes | None = None,
        client: httpx.AsyncClient | None = None,
        deadline: timedelta = DEADLINE,
    ) -> None:
        """Read nothing yet.

        Args:
            url: its address; empty if none is set.
            suite: under `dists/`; of a flat repository the path of its folder, ending with a slash.
            component: of that suite; not of a flat repository.
            package: the Debian package.
            signing_key: the file with its public key, armoured or binary; None if none is set.
            fingerprint: of that key; needed if the file has several.
            max_age: of an index that does not say how long it is valid.
            architectures: those of the fleet: what is read if a request names none.
            headers: of each request, as for a login.
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
        self._architectures = frozenset(architectures)
        self._headers = headers
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
            RepositoryError: it is not configured, or is not a repository of a supported kind.
        """
        return (await self._index(frozenset(architectures))).release(tag, architectures)

    async def list_releases(self) -> ReleaseList:
        """Return every release, newest last.

        Raises:
            RepositoryError: as `resolve`.
        """
        index = await self._index(frozenset())
        return ReleaseList(releases=tuple(index.releases()))

    @property
    def source(self) -> str:
        """The repository's name in messages and in its releases.

        Raises:
            RepositoryError: it is not configured.
        """
        return self._location().source

    async def download(self, release: Release, deb_file: DebFile) -> AsyncGenerator[bytes, None]:
        """Yield the content of a release's file.

        Raises:
            RepositoryUnavailableError: no answer, or it does not exist any more.
        """
        del release
        url = httpx.URL(f"{self._url.rstrip('/')}/").join(deb_file.filename)
        async for chunk in stream(self._client, url, deb_file.size_bytes, self._headers):
            yield chunk

    async def packages(self, architecture: str) -> frozenset[str]:
        """Return the names of all packages for an architecture. Its index is read once more.

        Raises:
            RepositoryError: as `resolve`.
        """
        at = self._location()
        try:
            async with within(self._deadline):
                known = await self._fetch_signed(at)
                names: set[str] = set()
                for index in self._to_read(known.release, {architecture}).values():
                    content = await self._fetch_index(at, known, index)
                    names |= await asyncio.to_thread(package_names, content, index.name)
        except RepositoryError as error:
            raise type(error)(f"{at.source}: {error}") from error
        return frozenset(names)

    async def close(self) -> None:
        """Cancel a running read and close the source's own connections."""
        await self._reads.close()
        if self._own_client:
            await self._client.aclose()

    async def _index(self, requested: frozenset[str]) -> RepositoryIndex:
        wanted = requested or self._architectures
        name = f"the apt repository for {', '.join(sorted(wanted))}"
        return await self._reads.get(name, lambda: self._read(wanted))

    async def _read(self, wanted: frozenset[str]) -> RepositoryIndex:
        at = self._location()
        try:
            async with within(self._deadline):
                known = self._known = await self._fetch_signed(at)
                names = self._to_read(known.release, wanted)
                await self._fetch_indices(at, known, names)
            await self._check_time(known.release, at.source)
            if self._seen is not None:
                await asyncio.to_thread(self._seen.record, at.source, known.release.date)
        except RepositoryError as error:
            raise type(error)(f"{at.source}: {error}") from error
        return build_index(self._package, at.source, self._by_architecture(known, names, wanted))

    async def _fetch_signed(self, at: _Location) -> _Known:
        """Return the signed index: the known one if that is still the newest."""
        key = await asyncio.to_thread(read_signing_key, at.signing_key, self._fingerprint)
        key.check_expiry(datetime.now(UTC))
        signed = await fetch_signed(self._client, at.suite, self._headers)
        digest = hashlib.sha256(key.certificate + signed).digest()
        if self._known is not None and self._known.digest == digest:
            return self._known
        release = parse_release(await signed_text(signed, key))
        await self._check_time(release, at.source)
        return _Known(digest, release)

    async def _check_time(self, release: ReleaseFile, source: str) -> None:
        check_dates(release, datetime.now(UTC), self._max_age)
        if self._seen is not None:
            check_not_older(release, await asyncio.to_thread(self._seen.newest, source))

    def _location(self) -> _Location:
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
            folder = self._suite.lstrip("/") if is_flat(self._suite) else f"dists/{self._suite}/"
            suite = url.join(folder)
        except httpx.InvalidURL as error:
            raise RepositoryError(f"RELIGHT_REPOSITORY__URL is not a valid URL: {error}") from error
        if url.scheme not in {"http", "https"}:
            raise RepositoryError(
                f"RELIGHT_REPOSITORY__URL is {url.scheme or 'no'} URL: repositories are read over "
                "http and https; RELIGHT_DIRECTORY__PATH takes packages from a folder"
            )
        public = str(url.copy_with(userinfo=b"")).rstrip("/")
        words = [public, self._suite, *([] if is_flat(self._suite) else [self._component])]
        return _Location(suite, " ".join(words), self._signing_key)

    def _to_read(self, release: ReleaseFile, wanted: AbstractSet[str]) -> Mapping[str, IndexFile]:
        """Return the package indices of the wanted architectures, by architecture.

        Raises:
            RepositoryError: the suite has no such component, or no index that can be read.
        """
        if is_flat(self._suite):
            folders = {"": ""}
        else:
            folders = {
                architecture: f"{self._component}/binary-{architecture}/"
                for architecture in release.architectures
            }
        found = {
            architecture: index
            for architecture, folder in folders.items()
            if (index := release.packages_index(folder)) is not None
        }
        if not found:
            raise self._without_index(release, list(folders.values()))
        if is_flat(self._suite):
            return found
        # Of architectures that the suite lacks, an error has to say which it has instead.
        read = wanted & found.keys() or self._architectures & found.keys() or found.keys()
        return {
            architecture: index
            for architecture, index in found.items()
            if architecture in read or architecture == EVERY_ARCHITECTURE
        }

    def _without_index(self, release: ReleaseFile, folders: Sequence[str]) -> RepositoryError:
        unreadable = [name for folder in folders for name in release.unreadable_indexes(folder)]
        if unreadable:
            return RepositoryError(
                f"its package index is in an unsupported compression: {', '.join(unreadable[:3])}; "
                "supported are xz, zstd, gzip, bzip2 and none"
            )
        if is_flat(self._suite):
            return RepositoryError("it has no package index: its signed index lists no Packages")
        return RepositoryError(
            f"it has no component {self._component}; its components: "
            f"{', '.join(release.components) or 'not listed'}"
        )

    async def _fetch_indices(
        self, at: _Location, known: _Known, names: Mapping[str, IndexFile]
    ) -> None:
        """Read the package indices that were not read yet."""
        for architecture, index in names.items():
            if architecture not in known.listed:
                content = await self._fetch_index(at, known, index)
                known.listed[architecture] = await asyncio.to_thread(
                    self._parse, content, index.name
                )

    async def _fetch_index(self, at: _Location, known: _Known, index: IndexFile) -> bytes:
        return await fetch_index(
            self._client,
            at.suite,
            index,
            by_hash=known.release.by_hash,
            headers=self._headers,
        )

    def _parse(self, content: bytes, name: str) -> list[Listed]:
        return list(parse_packages(content, name, self._package))

    def _by_architecture(
        self, known: _Known, names: Mapping[str, IndexFile], wanted: AbstractSet[str]
    ) -> Mapping[str, Sequence[Listed]]:
        """Return the package's entries by the architecture whose hosts can install them."""
        if not is_flat(self._suite):
            return {architecture: known.listed[architecture] for architecture in names}
        by_architecture: dict[str, list[Listed]] = {each: [] for each in wanted}
        for entry in known.listed[""]:
            by_architecture.setdefault(entry.deb_file.architecture, []).append(entry)
        return by_architecture
