"""Tags, resolved once to an exact version and its artifacts."""

import asyncio

from temporalio import activity

from fleet.store import Store
from messages.release import Release, ResolveReleaseInput
from repositories.source import ReleaseSource


class ReleaseActivities:
    """What the repository holds, written down in the store."""

    def __init__(self, repository: ReleaseSource, store: Store) -> None:
        self._repository = repository
        self._store = store

    @activity.defn
    async def resolve_release(self, input: ResolveReleaseInput) -> Release:
        """Return what the tag stands for; refuse one that lacks an architecture."""
        release = await self._repository.resolve(input.tag, input.architectures)
        await asyncio.to_thread(self._store.releases.save, release)
        return release
