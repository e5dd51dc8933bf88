"""Which source of releases this installation has."""

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from relight.releases.apt_repository import AptRepository
from relight.releases.github_releases import GitHubReleases
from relight.releases.source import ReleaseSource


@dataclass(frozen=True)
class AptSourceConfig:
    """A signed apt repository, which the hosts read, too.

    Attributes:
        url: its address.
        suite: the suite under `dists/`.
        component: of that suite.
        signing_key: the file with its public key, armoured or binary.
    """

    url: str
    suite: str
    component: str
    signing_key: Path

    @property
    def address(self) -> str:
        """Where it is asked."""
        return self.url

    @property
    def deb_urls(self) -> str:
        """How the address of every file begins that the hosts fetch by themselves: none."""
        return ""


@dataclass(frozen=True)
class GitHubSourceConfig:
    """A repository on GitHub, of whose releases the hosts fetch the files.

    Attributes:
        repository: `OWNER/NAME`.
        api_url: where its REST API answers.
        download_url: where its files are fetched.
        token: what the API is asked with, where there is one.
    """

    repository: str
    api_url: str
    download_url: str
    token: SecretStr | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """Where it is asked."""
        return self.api_url

    @property
    def deb_urls(self) -> str:
        """How the address of every file begins that the hosts fetch by themselves."""
        return f"{self.download_url}/{self.repository}/releases/download/"


SourceConfig = AptSourceConfig | GitHubSourceConfig


def open_source(place: SourceConfig, package: str) -> ReleaseSource:
    """Return the source of a package's releases; whoever opens it closes it."""
    if isinstance(place, AptSourceConfig):
        return AptRepository(
            url=place.url,
            suite=place.suite,
            component=place.component,
            package=package,
            signing_key=place.signing_key,
        )
    return GitHubReleases(
        repository=place.repository,
        package=package,
        api_url=place.api_url,
        token=place.token,
    )
