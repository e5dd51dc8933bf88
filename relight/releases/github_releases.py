"""The releases of a GitHub repository as a source. Raises only `relight.releases.errors`.

A release's packages are found by what they say of themselves, whatever their files are called.
Each is trusted by its SHA-256 only, from GitHub or from a list of checksums of the release. Both
are as trustworthy as those who may publish there; with a public key, a signature has to vouch for
them. Hosts fetch without a token; of a private repository they are brought the packages.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import NamedTuple
from urllib.parse import quote

import httpx
from debian.debian_support import Version
from pydantic import SecretStr

from relight.domain.names import ReleaseTag
from relight.domain.release import EVERY_ARCHITECTURE, PUSHED_PREFIX, DebFile, Release
from relight.releases.deb_control import DebControl
from relight.releases.errors import (
    ReleaseUnknownError,
    RepositoryError,
    RepositoryUnavailableError,
    RepositoryUntrustedError,
)
from relight.releases.fetching import DEADLINE, within
from relight.releases.file_signature import FileKey
from relight.releases.github_api import CACHE_TIME, GitHubApi
from relight.releases.github_assets import (
    Asset,
    GitHubRelease,
    parse_release,
    parse_releases,
    tag_of_release,
)
from relight.releases.github_digests import digests_of
from relight.releases.github_files import GitHubFiles, check_url
from relight.releases.index import (
    SHOWN_VERSIONS,
    Listed,
    build_index,
)
from relight.releases.listing import LeftOut, ReleaseList
from relight.releases.versions import (
    assumed_version,
    is_exact,
    matching,
    oldest_first,
)

PAGE = 100
"""The most releases that GitHub returns in one answer."""

SHOWN_FILES = 20

MAX_PAGES = 20

TIMEOUT = timedelta(seconds=10)
"""For a connection, and for each read of an answer."""

LIST_DEADLINE = timedelta(minutes=2)

MAX_LISTED_AT_ONCE = 8
"""For a list of all releases, which has up to `MAX_PAGES` pages."""


class _Package(NamedTuple):
    """A package of a release, without its digest."""

    control: DebControl
    asset: Asset


class GitHubReleases:
    """The releases of one package in one repository."""

    def __init__(  # noqa: PLR0913 - the address, and what makes its packages trusted
        self,
        *,
        repository: str,
        package: str,
        api_url: str,
        token: SecretStr | None = None,
        cache_time: timedelta = CACHE_TIME,
        client: httpx.AsyncClient | None = None,
        deadline: timedelta = DEADLINE,
        key: FileKey | None = None,
        assets: str = "*.deb",
        private: bool = False,
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
            key: has to have signed the packages, or their list of checksums; None if none has to.
            assets: a pattern of the names of the files that are read, in any case of letters.
            private: whether files need the token: the control plane brings them to hosts.
        """
        self._source = f"github:{repository}"
        self._path = f"/repos/{quote(repository)}/releases"
        self._package = package
        self._api_url = api_url
        self._own_client = client is None
        self._client = client or httpx.AsyncClient(timeout=TIMEOUT.total_seconds())
        self._deadline = deadline
        self._key = key
        self._private = private
        self._assets = assets.lower()
        self._files = GitHubFiles(
            self._client, api_url, token, deadline=deadline, through_api=private
        )
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
                release = await self._find(tag)
                if release is None:
                    raise ReleaseUnknownError(f"there is no release {tag}; {await self._newest()}")
                return await self._release(tag, release, architectures)
        except RepositoryError as error:
            raise type(error)(f"{self._source}: {error}") from error

    async def list_releases(self) -> ReleaseList:
        """Return every release that can be rolled out, newest last.

        Those that cannot be read or trusted are left out, each with the reason. Those without a
        file of the package are none.

        Raises:
            RepositoryError: as `resolve`.
        """
        slots = asyncio.Semaphore(MAX_LISTED_AT_ONCE)

        async def one(tag: ReleaseTag, release: GitHubRelease) -> Release | LeftOut | None:
            async with slots:  # its deadline begins when it has one
                return await self._release_if_any(tag, release)

        try:
            async with within(LIST_DEADLINE):
                tagged = [(tag_of_release(release), release) for release in await self._all()]
                each = await asyncio.gather(*(one(tag, release) for tag, release in tagged if tag))
        except RepositoryError as error:
            raise type(error)(f"{self._source}: {error}") from error
        by_version = {found.version: found for found in each if isinstance(found, Release)}
        return ReleaseList(
            releases=tuple(by_version[version] for version in oldest_first(by_version)),
            left_out=tuple(found for found in each if isinstance(found, LeftOut)),
        )

    async def download(self, release: Release, deb_file: DebFile) -> AsyncGenerator[bytes, None]:
        """Yield the content of a release's file.

        Raises:
            ReleaseUnknownError: the release has no such file any more.
            RepositoryUnavailableError: no answer.
        """
        published = await self._find(release.tag)
        name = deb_file.as_pushed().filename.removeprefix(PUSHED_PREFIX)
        for asset in published.assets if published else ():
            if asset.browser_download_url.rpartition("/")[2] == name:
                async for chunk in self._files.download(asset, deb_file.size_bytes):
                    yield chunk
                return
        raise ReleaseUnknownError(f"{self._source} has no file {name} of {release.tag} any more")

    async def packages(self, architecture: str) -> frozenset[str]:  # noqa: ARG002 - the contract's
        """Return nothing: hosts get the release's own package alone."""
        return frozenset()

    async def close(self) -> None:
        """Cancel running requests and close the source's own connections."""
        await self._api.close()
        await self._files.close()
        if self._own_client:
            await self._client.aclose()

    async def _find(self, tag: ReleaseTag) -> GitHubRelease | None:
        """Return the published release of a tag."""
        for name in _git_tags(tag):
            found = await self._api.get(f"{self._path}/tags/{quote(name, safe='')}")
            release = parse_release(found) if found is not None else None
            if release and not release.is_unpublished and release.tag_name == name:
                return release
        return None

    async def _release_if_any(
        self, tag: ReleaseTag, release: GitHubRelease
    ) -> Release | LeftOut | None:
        """Return a release for a list; None if it has no file of the package."""
        try:
            async with within(self._deadline):
                matched = await self._matched(tag, release)
                return await self._release_of(tag, release, matched, ()) if matched else None
        except (ReleaseUnknownError, RepositoryUntrustedError) as error:
            return LeftOut.by(tag, error, unread=False)
        except RepositoryError as error:
            return LeftOut.by(tag, error, unread=True)

    async def _release(
        self, tag: ReleaseTag, release: GitHubRelease, architectures: Sequence[str]
    ) -> Release:
        matched = await self._matched(tag, release)
        if not matched:
            raise ReleaseUnknownError(
                f"its release {release.tag_name} has no package {self._package} "
                f"{assumed_version(tag)}; {await self._found(release)}"
            )
        return await self._release_of(tag, release, matched, architectures)

    async def _matched(self, tag: ReleaseTag, release: GitHubRelease) -> list[_Package]:
        """Return the packages of a release whose version its tag means."""
        ours = await self._packages(release)
        versions = matching(tag, {package.control.version for package in ours})
        return [package for package in ours if package.control.version in versions]

    async def _release_of(
        self,
        tag: ReleaseTag,
        release: GitHubRelease,
        matched: Sequence[_Package],
        architectures: Sequence[str],
    ) -> Release:
        assets = [package.asset for package in matched]
        listed: dict[str, list[Listed]] = {}
        digests = await digests_of(self._files, release, assets, self._key)
        for (control, asset), sha256 in zip(matched, digests, strict=True):
            file = DebFile(
                architecture=control.architecture,
                filename=asset.browser_download_url,
                sha256=sha256,
                size_bytes=asset.size,
            )
            file = file.as_pushed() if self._private else file
            listed.setdefault(control.architecture, []).append(Listed(control.version, file))
        _refuse_ambiguous(listed)
        real = [each for each in listed if each != EVERY_ARCHITECTURE]
        # A package of architecture `all` serves each requested architecture.
        index = build_index(self._package, self._source, listed)
        return index.release(tag, (*architectures, *real))

    async def _packages(self, release: GitHubRelease) -> list[_Package]:
        """Return the packages of a release that are the service's, of any version."""
        assets = self._debs(release)
        for asset in assets:
            if asset.state != "uploaded":
                raise RepositoryUnavailableError(f"{asset.name} is still being uploaded")
            check_url(asset.browser_download_url, httpx.URL(self._api_url))
        controls = await asyncio.gather(*(self._control(asset) for asset in assets))
        return [
            _Package(control, asset)
            for asset, control in zip(assets, controls, strict=True)
            if isinstance(control, DebControl) and control.package == self._package
        ]

    def _debs(self, release: GitHubRelease) -> list[Asset]:
        return [
            asset
            for asset in release.assets
            if asset.is_deb and fnmatchcase(asset.name.lower(), self._assets)
        ]

    async def _control(self, asset: Asset) -> DebControl | RepositoryError:
        """Return what a file says of itself. A release may have files that are no packages."""
        try:
            return await self._files.control(asset)
        except RepositoryUnavailableError:
            raise
        except RepositoryError as error:
            return error

    async def _found(self, release: GitHubRelease) -> str:
        """Return what a release has instead of the package, in words."""
        others = [asset.name for asset in release.assets if asset not in self._debs(release)]
        found = [
            f"{asset.name} ({_described(await self._control(asset))})"
            for asset in self._debs(release)
        ]
        names = [*found, *others]
        return f"its files: {', '.join(names[:SHOWN_FILES]) or 'none'}"

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


def _git_tags(tag: ReleaseTag) -> list[str]:
    """Return how a repository may write the tag of a release: with the `v` or without.

    For an exact Debian version: with its revision, or that of the version as its authors know it.
    """
    if not is_exact(tag):
        return [tag, tag.removeprefix("v")]
    version = Version(tag)
    upstream, revision = version.upstream_version or "", version.debian_revision
    names = [f"{upstream}-{revision}", upstream] if revision else [upstream]
    # Neither a tilde nor a colon, as after an epoch, is in a tag of git.
    return [f"{v}{name.replace('~', '-')}" for name in names for v in ("v", "")]


def _described(control: DebControl | RepositoryError) -> str:
    if isinstance(control, RepositoryError):
        return str(control)
    return f"{control.package} {control.version} {control.architecture}"


def _refuse_ambiguous(listed: Mapping[str, Sequence[Listed]]) -> None:
    """Refuse a release with two files of one version and architecture: no rule says which."""
    for architecture, files in listed.items():
        by_version: dict[str, DebFile] = {}
        for version, file in files:
            other = by_version.setdefault(version, file)
            if other.sha256 != file.sha256:
                names = " and ".join(each.filename.rpartition("/")[2] for each in (other, file))
                raise ReleaseUnknownError(
                    f"{names} are both version {version} for {architecture}, with different "
                    "content: set RELIGHT_GITHUB__ASSETS to a pattern that only one of them "
                    "matches, as in *.debian12.deb"
                )
