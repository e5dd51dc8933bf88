"""A GitHub repository's releases as a source of ours. Raises `relight.releases.errors` alone.

A release's files are packages `PACKAGE_VERSION_ARCHITECTURE.deb`. Each is believed by a SHA-256
alone: GitHub's own of it, or the one in a list of the release, which are both as trustworthy as
whoever may publish there. Hosts fetch without a token, so the repository must be public.
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
from relight.releases.fetching import fetch_text
from relight.releases.github_api import FRESH, GitHubApi
from relight.releases.github_assets import (
    GitHubRelease,
    Package,
    check_address,
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
"""The most releases that GitHub gives at once."""

MOST_PAGES = 20

TIMEOUT = timedelta(seconds=10)
"""For a connection, and for each silence in an answer."""

LARGEST_CHECKSUMS_BYTES = 1024 * 1024


class GitHubReleases:
    """The releases of one package in one repository."""

    def __init__(
        self,
        *,
        repository: str,
        package: str,
        api_url: str,
        token: SecretStr | None = None,
        fresh: timedelta = FRESH,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        """Remember where the repository is; it is first asked when a question comes.

        Args:
            repository: `OWNER/NAME`.
            package: the Debian package.
            api_url: where GitHub's REST API answers.
            token: what the API is asked with, where there is one.
            fresh: for how long an answer is used again.
            client: asks; stays its owner's to close.
        """
        self._source = f"github:{repository}"
        self._path = f"/repos/{quote(repository)}/releases"
        self._package = package
        self._api_url = api_url
        self._own_client = client is None
        self._client = client or httpx.AsyncClient(timeout=TIMEOUT.total_seconds())
        self._api = GitHubApi(self._client, api_url, token, fresh)

    async def resolve(self, tag: ReleaseTag, architectures: Sequence[str]) -> Release:
        """Return what the tag stands for, with an artifact for each architecture at least.

        Raises:
            ReleaseUnknownError: no such release, or no package for every architecture in it.
            RepositoryUnavailableError: GitHub does not answer, or asks for patience; or a package
                is still being uploaded.
            RepositoryUntrustedError: nobody says what a package's SHA-256 is.
            RepositoryError: there is no such repository, or what answers is no GitHub.
        """
        try:
            found = await self._api.get(f"{self._path}/tags/{quote(tag, safe='')}")
            release = parse_release(found) if found is not None else None
            if release is None or release.builder or release.tag_name != tag:
                raise ReleaseUnknownError(f"there is no release {tag}: {await self._newest()}")
            return await self._release(release, architectures)
        except RepositoryError as error:
            raise type(error)(f"{self._source}: {error}") from error

    async def list_releases(self) -> list[Release]:
        """Return every release that can be rolled out, the newest last.

        Those without a package, or with one that nobody gives a digest of, cannot.

        Raises:
            RepositoryError: as `resolve` says.
        """
        try:
            listed = [release for release in await self._all() if is_tag(release.tag_name)]
            each = await asyncio.gather(*(self._release_or_none(release) for release in listed))
        except RepositoryError as error:
            raise type(error)(f"{self._source}: {error}") from error
        by_version = {release.version: release for release in each if release is not None}
        return [by_version[version] for version in oldest_first(by_version)]

    async def close(self) -> None:
        """Close the connections that are its own."""
        if self._own_client:
            await self._client.aclose()

    async def _release_or_none(self, release: GitHubRelease) -> Release | None:
        try:
            return await self._release(release, ())
        except (ReleaseUnknownError, RepositoryUntrustedError, RepositoryUnavailableError):
            return None

    async def _release(self, release: GitHubRelease, architectures: Sequence[str]) -> Release:
        tag = release.tag_name
        ours = list(packages(release, self._package))
        versions = matching(tag, {package.version for package in ours})
        meant = [package for package in ours if package.version in versions]
        if not meant:
            names = ", ".join(asset.name for asset in release.assets) or "nothing at all"
            raise ReleaseUnknownError(
                f"its release {tag} has no file {self._package}_{upstream_version(tag)}_*.deb: "
                f"it has {names}"
            )
        for package in meant:
            if package.asset.state != "uploaded":
                raise RepositoryUnavailableError(f"{package.asset.name} is still being uploaded")
            check_address(package.asset.browser_download_url, httpx.URL(self._api_url))
        listed: dict[str, list[Listed]] = {}
        for package, found in zip(meant, await self._deb_files(release, meant), strict=True):
            listed.setdefault(package.architecture, []).append(Listed(package.version, found))
        real = [each for each in listed if each != EVERY_ARCHITECTURE]
        # A package for all architectures counts for each that is asked for.
        index = build_index(self._package, self._source, listed)
        return index.release(tag, (*architectures, *real))

    async def _deb_files(self, release: GitHubRelease, meant: Sequence[Package]) -> list[DebFile]:
        bare = [package for package in meant if sha256_of(package.asset) is None]
        checksums: dict[str, str] = {}
        for file in checksum_files(release, bare) if bare else ():
            address = httpx.URL(file.browser_download_url)
            check_address(file.browser_download_url, httpx.URL(self._api_url))
            text = await fetch_text(self._client, address, LARGEST_CHECKSUMS_BYTES)
            checksums |= parse_checksums(text, file.name)
        return [deb_file(package, checksums) for package in meant]

    async def _all(self) -> list[GitHubRelease]:
        found: list[GitHubRelease] = []
        for page in range(1, MOST_PAGES + 1):
            more = await self._page(page)
            found += (release for release in more if not release.builder)
            if len(more) < PAGE:
                break
        return found

    async def _page(self, number: int) -> list[GitHubRelease]:
        path = f"{self._path}?per_page={PAGE}" + (f"&page={number}" if number > 1 else "")
        content = await self._api.get(path)
        if content is None:
            raise RepositoryError(
                "there is no such repository, or it is not public: see RELIGHT_GITHUB__REPOSITORY"
            )
        return parse_releases(content)

    async def _newest(self) -> str:
        tags = [release.tag_name for release in await self._page(1) if not release.builder]
        if not tags:
            return "it has no release at all"
        return f"its newest are {', '.join(tags[:SHOWN_VERSIONS])}"
