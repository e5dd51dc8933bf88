"""The source of releases: its contract, its configuration, and how it is opened."""

import base64
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from relight.domain.names import ReleaseTag
from relight.domain.release import DebFile, Release
from relight.releases.apt_repository import ARCHITECTURES, MAX_AGE, AptRepository, SeenIndexes
from relight.releases.fetching import NO_HEADERS
from relight.releases.file_signature import read_file_key
from relight.releases.github_releases import GitHubReleases
from relight.releases.listing import ReleaseList
from relight.releases.local_directory import LocalDirectory
from relight.releases.several_repositories import SeveralRepositories


class ReleaseSource(Protocol):
    """The releases of one package."""

    async def resolve(self, tag: ReleaseTag, architectures: Sequence[str]) -> Release:
        """Return the release of a tag, with a file for at least each of these architectures.

        Raises:
            ReleaseUnknownError: it does not exist, or not for every architecture.
            RepositoryError: the source cannot be read, or cannot be trusted.
        """

    async def list_releases(self) -> ReleaseList:
        """Return every release, newest last, and what could not be read as one.

        Raises:
            RepositoryError: as `resolve`.
        """

    def download(self, release: Release, deb_file: DebFile) -> AsyncGenerator[bytes, None]:
        """Yield the content of a release's file.

        Raises:
            RepositoryUnavailableError: no answer, or it does not exist any more.
            RepositoryError: the source cannot be read.
        """

    async def packages(self, architecture: str) -> frozenset[str]:
        """Return the names of all packages that hosts can get from here, besides the release.

        Raises:
            RepositoryError: as `resolve`.
        """

    async def close(self) -> None:
        """Cancel running requests and close the source's own connections."""


@dataclass(frozen=True)
class Login:
    """A login by HTTP basic authentication."""

    user: str
    password: SecretStr

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of a request with it."""
        words = f"{self.user}:{self.password.get_secret_value()}".encode()
        return {"Authorization": f"Basic {base64.b64encode(words).decode()}"}


@dataclass(frozen=True)
class AptSourceConfig:
    """A signed apt repository, which the hosts use as well.

    Attributes:
        url: its address.
        suite: under `dists/`.
        component: of that suite.
        signing_key: the file with its public key, armoured or binary.
        fingerprint: of that key; needed if the file has several.
        max_age: of an index that does not say how long it is valid.
        architectures: those of the fleet's hosts.
        login: if it needs one.
        more: other repositories with the same service's packages.
    """

    url: str
    suite: str
    component: str
    signing_key: Path
    fingerprint: str = ""
    max_age: timedelta = MAX_AGE
    architectures: tuple[str, ...] = ARCHITECTURES
    login: Login | None = None
    more: tuple["AptSourceConfig", ...] = ()

    @property
    def all(self) -> tuple["AptSourceConfig", ...]:
        """It, and the other repositories."""
        return (self, *self.more)

    @property
    def address(self) -> str:
        """The URL that the control plane reads from."""
        return self.url

    @property
    def deb_urls(self) -> str:
        """The prefix of every URL that hosts fetch packages from: none, they use apt."""
        return ""


@dataclass(frozen=True)
class GitHubSourceConfig:
    """A GitHub repository; hosts fetch the files of its releases.

    Attributes:
        repository: `OWNER/NAME`.
        api_url: of GitHub's REST API.
        download_url: of GitHub's files.
        token: for the API, if there is one.
        public_key: the file with the key that signs the releases; None if none does.
        assets: a pattern of the names of the files that may be packages.
        private: whether files need the token, so that the control plane brings them to hosts.
    """

    repository: str
    api_url: str
    download_url: str
    token: SecretStr | None = field(default=None, repr=False)
    public_key: Path | None = None
    assets: str = "*.deb"
    private: bool = False

    @property
    def address(self) -> str:
        """The URL that the control plane reads from."""
        return self.api_url

    @property
    def deb_urls(self) -> str:
        """The prefix of every URL that hosts fetch packages from."""
        if self.private:
            return ""
        return f"{self.download_url}/{self.repository}/releases/download/"


@dataclass(frozen=True)
class DirectorySourceConfig:
    """A folder of packages on the control plane.

    Attributes:
        path: of the folder.
    """

    path: Path

    @property
    def address(self) -> str:
        """The folder that the control plane reads."""
        return str(self.path)

    @property
    def deb_urls(self) -> str:
        """The prefix of every URL that hosts fetch packages from: none, they are brought."""
        return ""


SourceConfig = AptSourceConfig | GitHubSourceConfig | DirectorySourceConfig


def open_source(
    config: SourceConfig, package: str, seen: SeenIndexes | None = None
) -> ReleaseSource:
    """Return the source of a package's releases; the caller closes it.

    Args:
        config: of the source.
        package: the Debian package.
        seen: the dates of a repository's newest indexes; None to remember none.

    Raises:
        RepositoryError: the key that signs the releases cannot be used.
    """
    if isinstance(config, AptSourceConfig):
        opened = [_apt_repository(each, package, seen) for each in config.all]
        return SeveralRepositories(opened) if len(opened) > 1 else opened[0]
    if isinstance(config, DirectorySourceConfig):
        return LocalDirectory(config.path, package)
    return GitHubReleases(
        repository=config.repository,
        package=package,
        api_url=config.api_url,
        token=config.token,
        key=read_file_key(config.public_key) if config.public_key else None,
        assets=config.assets,
        private=config.private,
    )


def _apt_repository(
    config: AptSourceConfig, package: str, seen: SeenIndexes | None
) -> AptRepository:
    return AptRepository(
        url=config.url,
        suite=config.suite,
        component=config.component,
        package=package,
        signing_key=config.signing_key,
        fingerprint=config.fingerprint,
        max_age=config.max_age,
        architectures=config.architectures,
        headers=config.login.headers if config.login else NO_HEADERS,
        seen=seen,
    )
