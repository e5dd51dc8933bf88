"""The releases of a GitHub repository as a source. Raises only `relight.releases.errors`.

A release's files are packages `PACKAGE_VERSION_ARCHITECTURE.deb`. Each is trusted by its SHA-256
only, from GitHub or from a checksum file of the release. Both are as trustworthy as those who may
publish there. Hosts fetch without a token, so the repository must be public.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from relight.domain.names import ReleaseTag
from relight.domain.release import DebFile, Release
from relight.releases.errors import (
    ReleaseUnknownError,
    RepositoryError,
    RepositoryUnavailableError,
    RepositoryUntrustedError,
)
from relight.releases.fetching import DEADLINE, fetch_text, within
from relight.releases.github_api import CACHE_TIME, GitHubApi
from relight.releases.github_assets import (
    GitHubRelease,
    Package,
    check_url,
    checksum_files,
    deb_file,
    is_tag,
    packages,
    parse_checksums,
    parse_release,
    parse_releases,
    sha256_of,
)
from relight.releases.index import (
    EVERY_ARCHITECTURE,
    SHOWN_VERSIONS,
    Listed,
    build_index,
)
from relight.releases.versions import (
    matching,
    oldest_first,
    upstream_version,
)

PAGE = 100
"""The most releases that GitHub returns in one answer."""

MAX_PAGES = 20

TIMEOUT = timedelta(seconds=10)
"""For a connection, and for each read of an answer."""

LIST_DEADLINE = timedelta(minutes=2)
"""For a list of all releases, which has up to `MAX_PAGES` pages."""

MAX_CHECKSUMS_BYTES = 1024 * 1024


class GitHubReleases:
    """The releases of one package in one repository."""

    def __init__(
        self,
        *,
        repository: str,
        package: str,
        api_url: str,
        token: SecretStr | None = None,
        cache_time: timedelta = CACHE_TIME,
        client: httpx.AsyncClient | None = None,
        deadline: timedelta = DEADLINE,
    ) -> None:
        """Read nothing yet.

        Args:
            repository: `OWNER/NAME`.
            package: the Debian package.
            api_url: of GitHub's REST API.
            token: for the API, if there is one.
            cache_time: how long an answer is reused.
            client: for requests; its owner closes it.
            deadline: for all requests of one release together.
        """
        self._source = f"github:{repository}"
        self._path = f"/repos/{quote(repository)}/releases"
        self._package = package
        self._api_url = api_url
        self._own_client = client is None
        self._client = client or httpx.AsyncClient(timeout=TIMEOUT.total_seconds())
        self._deadline = deadline
        self._api = GitHubApi(self._client, api_url, token, cache_time, deadline)

    async def resolve(self, tag: ReleaseTag, architectures: Sequence[str]) -> Release:
        """Return the release of a tag, with a file for at least each of these architectures.

        Raises:
            ReleaseUnknownError: no such release, or it lacks a package for an architecture.
            RepositoryUnavailableError: GitHub does not answer or limits requests, or a package is
                still being uploaded.
            RepositoryUntrustedError: a package has no SHA-256.
            RepositoryError: there is no such repository, or the server is not GitHub's API.
        """
        try:
            async with within(self._deadline):
                found = await self._api.get(f"{self._path}/tags/{quote(tag, safe='')}")
                release = parse_release(found) if found is not None else None
                if release is None or release.is_unpublished or release.tag_name != tag:
                    raise ReleaseUnknownError(f"there is no release {tag}; {await self._newest()}")
                return await self._release(release, architectures)
        except RepositoryError as error:
            raise type(error)(f"{self._source}: {error}") from error

    async def list_releases(self) -> list[Release]:
        """Return every release that can be rolled out, newest last.

        Releases without a package, or with a package without a digest, are left out.

        Raises:
            RepositoryError: as `resolve`.
        """
        try:
            async with within(LIST_DEADLINE):
                listed = [release for release in await self._all() if is_tag(release.tag_name)]
                each = await asyncio.gather(*(self._release_or_none(release) for release in listed))
        except RepositoryError as error:
            raise type(error)(f"{self._source}: {error}") from error
        by_version = {release.version: release for release in each if release is not None}
        return [by_version[version] for version in oldest_first(by_version)]

    async def close(self) -> None:
        """Cancel running requests and close the source's own connections."""
        await self._api.close()
        if self._own_client:
            await self._client.aclose()

    async def _release_or_none(self, release: GitHubRelease) -> Release | None:
        try:
            async with within(self._deadline):
                return await self._release(release, ())
        except (ReleaseUnknownError, RepositoryUntrustedError, RepositoryUnavailableError):
            return None

    async def _release(self, release: GitHubRelease, architectures: Sequence[str]) -> Release:
        tag = release.tag_name
        ours = list(packages(release, self._package))
        versions = matching(tag, {package.version for package in ours})
        matched = [package for package in ours if package.version in versions]
        if not matched:
            names = ", ".join(asset.name for asset in release.assets) or "none"
            raise ReleaseUnknownError(
                f"its release {tag} has no file {self._package}_{upstream_version(tag)}_*.deb; "
                f"its files: {names}"
            )
        for package in matched:
            if package.asset.state != "uploaded":
                raise RepositoryUnavailableError(f"{package.asset.name} is still being uploaded")
            check_url(package.asset.browser_download_url, httpx.URL(self._api_url))
        listed: dict[str, list[Listed]] = {}
        for package, found in zip(matched, await self._deb_files(release, matched), strict=True):
            listed.setdefault(package.architecture, []).append(Listed(package.version, found))
        real = [each for each in listed if each != EVERY_ARCHITECTURE]
        # A package of architecture `all` serves each requested architecture.
        index = build_index(self._package, self._source, listed)
        return index.release(tag, (*architectures, *real))

    async def _deb_files(self, release: GitHubRelease, matched: Sequence[Package]) -> list[DebFile]:
        without_digest = [package for package in matched if sha256_of(package.asset) is None]
        checksums: dict[str, str] = {}
        for file in checksum_files(release, without_digest) if without_digest else ():
            check_url(file.browser_download_url, httpx.URL(self._api_url))
            url = httpx.URL(file.browser_download_url)
            text = await fetch_text(self._client, url, MAX_CHECKSUMS_BYTES)
            checksums |= parse_checksums(text, file.name)
        return [deb_file(package, checksums) for package in matched]

    async def _all(self) -> list[GitHubRelease]:
        found: list[GitHubRelease] = []
        for page in range(1, MAX_PAGES + 1):
            more = await self._page(page)
            found += (release for release in more if not release.is_unpublished)
            if len(more) < PAGE:
                break
        return found

    async def _page(self, number: int) -> list[GitHubRelease]:
        path = f"{self._path}?per_page={PAGE}" + (f"&page={number}" if number > 1 else "")
        content = await self._api.get(path)
        if content is None:
            raise RepositoryError(
                "there is no such repository, or it is not public: check RELIGHT_GITHUB__REPOSITORY"
            )
        return parse_releases(content)

    async def _newest(self) -> str:
        tags = [release.tag_name for release in await self._page(1) if not release.is_unpublished]
        if not tags:
            return "there are no releases"
        return f"the newest: {', '.join(tags[:SHOWN_VERSIONS])}"
