"""Tags, resolved once to an exact version and its artifacts."""

import asyncio

from activities import policies
from relight.domain.release import DebFile, Release, ResolveReleaseInput
from relight.engine.step import step
from relight.releases.errors import ReleaseUnknownError
from relight.releases.source import ReleaseSource
from relight.store.store import Store


class ReleaseActivities:
    """What the repository holds, written down in the store."""

    def __init__(self, repository: ReleaseSource, store: Store) -> None:
        self._repository = repository
        self._store = store

    @step(policies.LOOKUP, lambda i: i.tag)
    async def resolve_release(self, input: ResolveReleaseInput) -> Release:
        """Return what the tag stands for; refuse one that lacks an architecture."""
        release = await self._repository.resolve(input.tag, input.architectures)
        await asyncio.to_thread(self._store.releases.save, release)
        return release


def deb_of(release: Release, architecture: str) -> DebFile | None:
    """Return the file of a release that a host of this architecture fetches.

    None stands for apt, which knows where it lies and what its digest is.

    Raises:
        ReleaseUnknownError: its files are to be fetched, and none is for this architecture.
    """
    found = release.deb_file(architecture)
    if found is None and any(deb_file.url for deb_file in release.deb_files):
        raise ReleaseUnknownError(
            f"{release.package} {release.version} for {release.tag} is not there for "
            f"{architecture} in {release.source}: only for {', '.join(release.architectures)}"
        )
    return found if found is not None and found.url is not None else None


# MERGEDOC """How a host comes to a release: apt finds it in our source, or the host fetches its file.
#
# The one place where that is decided, for hot swaps and first boots alike. Raises
# `ReleaseUnknownError`.
# """
