"""What a repository holds of one package: which version a tag is, and where its files lie. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from messages.names import ReleaseTag
from messages.release import Artifact, Release
from repositories.errors import ReleaseUnknownError
from repositories.packages_file import Listed
from repositories.versions import matching, oldest_first, tag_of, upstream_version

EVERY_ARCHITECTURE = "all"

SHOWN_VERSIONS = 5


@dataclass(frozen=True)
class RepositoryIndex:
    """Every version of one package in a repository.

    Attributes:
        package: the Debian package.
        source: the repository's address, suite and component.
        architectures: the ones that the repository is there for.
        versions: by version and architecture, its artifact.
    """

    package: str
    source: str
    architectures: tuple[str, ...]
    versions: Mapping[str, Mapping[str, Artifact]]

    def release(self, tag: ReleaseTag, architectures: Iterable[str]) -> Release:
        """Return what a tag stands for.

        Raises:
            ReleaseUnknownError: no version, or more than one, or not for every architecture.
        """
        wanted = set(architectures)
        found = matching(tag, self.versions)
        if not found:
            raise ReleaseUnknownError(
                f"there is no {self.package} {upstream_version(tag)} for {tag} in {self.source}: "
                f"{self._newest()}"
            )
        if len(found) > 1:
            raise ReleaseUnknownError(
                f"{tag} is ambiguous: {self.source} holds {self.package} {', '.join(found)}"
            )
        release = self._release(tag, found[0], wanted)
        missing = sorted(wanted.difference(release.architectures))
        if missing:
            raise ReleaseUnknownError(
                f"{self.package} {release.version} for {tag} is not there for "
                f"{', '.join(missing)} in {self.source}: only for "
                f"{', '.join(release.architectures)}"
            )
        return release

    def releases(self) -> list[Release]:
        """Return what each tag stands for, the newest last.

        What no tag names is no release, and neither are several revisions that share one.
        """
        tags = {version: tag_of(version) for version in oldest_first(self.versions)}
        return [
            self._release(tag, version, set())
            for version, tag in tags.items()
            if tag is not None and matching(tag, self.versions) == [version]
        ]

    def _release(self, tag: ReleaseTag, version: str, wanted: set[str]) -> Release:
        artifacts = self.versions[version]
        everywhere = artifacts.get(EVERY_ARCHITECTURE)
        found: list[Artifact] = []
        for architecture in sorted(wanted.union(self.architectures)):
            artifact = artifacts.get(architecture, everywhere)
            if artifact is not None:
                found.append(artifact.model_copy(update={"architecture": architecture}))
        return Release(
            tag=tag,
            version=version,
            package=self.package,
            source=self.source,
            artifacts=tuple(found),
        )

    def _newest(self) -> str:
        newest = oldest_first(self.versions)[: -SHOWN_VERSIONS - 1 : -1]
        return f"its newest are {', '.join(newest)}" if newest else "it holds no version at all"


def build_index(
    package: str, source: str, listed: Mapping[str, Iterable[Listed]]
) -> RepositoryIndex:
    """Put together what the indices of each architecture say.

    Args:
        package: the Debian package.
        source: the repository's address, suite and component.
        listed: by architecture, what its index says.
    """
    versions: dict[str, dict[str, Artifact]] = {}
    for architecture, entries in listed.items():
        for version, artifact in entries:
            # Of two files of one version the first counts, as it does for apt.
            versions.setdefault(version, {}).setdefault(architecture, artifact)
    real = tuple(architecture for architecture in listed if architecture != EVERY_ARCHITECTURE)
    return RepositoryIndex(package, source, real or tuple(listed), versions)
