"""Several repositories that carry the releases of one package, as one source."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from relight.domain.names import ReleaseTag
from relight.domain.release import DebFile, Release
from relight.releases.apt_repository import AptRepository
from relight.releases.errors import ReleaseUnknownError
from relight.releases.listing import ReleaseList
from relight.releases.versions import matching, tags_of


class SeveralRepositories:
    """Has each version that one of its repositories has. If two have it, the first one counts.

    A repository that does not answer is an error: it may have the newest version.
    """

    def __init__(self, repositories: Sequence[AptRepository]) -> None:
        self._repositories = repositories

    async def resolve(self, tag: ReleaseTag, architectures: Sequence[str]) -> Release:
        """Return the release of a tag, with a file for at least each of these architectures.

        Raises:
            ReleaseUnknownError: no repository has it for every architecture.
            RepositoryError: one cannot be read, or cannot be trusted.
        """
        answers = await asyncio.gather(
            *(_resolve(each, tag, architectures) for each in self._repositories)
        )
        found = [each for each in answers if isinstance(each, Release)]
        if not found:
            raise ReleaseUnknownError("; ".join(map(str, answers)))
        by_version = {release.version: release for release in reversed(found)}
        return by_version[matching(tag, by_version)[-1]]

    async def list_releases(self) -> ReleaseList:
        """Return every release, newest last.

        Raises:
            RepositoryError: as `resolve`.
        """
        lists = await asyncio.gather(*(each.list_releases() for each in self._repositories))
        by_version = {
            release.version: release for each in reversed(lists) for release in each.releases
        }
        return ReleaseList(
            releases=tuple(
                by_version[version].model_copy(update={"tag": tag})
                for version, tag in tags_of(by_version).items()
            )
        )

    async def download(self, release: Release, deb_file: DebFile) -> AsyncGenerator[bytes, None]:
        """Yield the content of a release's file.

        Raises:
            RepositoryUnavailableError: no answer, or it does not exist any more.
            ReleaseUnknownError: the release is from none of these repositories.
        """
        for repository in self._repositories:
            if repository.source == release.source:
                async for chunk in repository.download(release, deb_file):
                    yield chunk
                return
        raise ReleaseUnknownError(f"{release.source} is not a repository of this fleet any more")

    async def packages(self, architecture: str) -> frozenset[str]:
        """Return the names of all packages for an architecture in these repositories.

        Raises:
            RepositoryError: as `resolve`.
        """
        named = await asyncio.gather(*(each.packages(architecture) for each in self._repositories))
        return frozenset().union(*named)

    async def close(self) -> None:
        """Cancel running requests and close all connections."""
        for each in self._repositories:
            await each.close()


async def _resolve(
    repository: AptRepository, tag: ReleaseTag, architectures: Sequence[str]
) -> Release | ReleaseUnknownError:
    try:
        return await repository.resolve(tag, architectures)
    except ReleaseUnknownError as error:
        return error
