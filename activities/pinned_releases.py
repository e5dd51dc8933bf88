"""What a release tag means in this fleet: always the same version, with the same content.

A tag that several revisions match means the newest of them when it is first resolved. As long as a
machine or a rollout on record names the tag, it stays that revision, so that a release can be
verified, undone and given to another machine after the next revision has appeared. A newer revision
is rolled out by its exact version.
"""

from collections.abc import Sequence

from relight.domain.names import ReleaseTag
from relight.domain.release import Release, rebuilt_architectures, with_files_of
from relight.releases.errors import ReleaseRebuiltError, ReleaseUnknownError
from relight.releases.source import ReleaseSource
from relight.store.store import Store
from relight.store.threads import in_thread


class PinnedReleases:
    """The releases of a source, by the meaning that tags have in the fleet."""

    def __init__(self, source: ReleaseSource, store: Store) -> None:
        self._source = source
        self._store = store

    async def resolve(
        self, tag: ReleaseTag, architectures: Sequence[str], *, for_rollout: bool = False
    ) -> Release:
        """Return the release of a tag, with a file for at least each of these architectures.

        Args:
            tag: the tag.
            architectures: each has to have a file.
            for_rollout: accept other content under the version that the fleet knows.

        Raises:
            ReleaseUnknownError: the source does not have it, or not any more.
            ReleaseRebuiltError: the source has other content under this version.
            RepositoryError: the source cannot be read, or cannot be trusted.
        """
        pinned = await in_thread(self._store.releases.pinned, tag)
        if pinned is None:
            return await self._source.resolve(tag, architectures)
        offered = await self._offered(pinned, architectures)
        if not for_rollout and (rebuilt := rebuilt_architectures(pinned, offered)):
            raise ReleaseRebuiltError(
                f"{offered.source} has other content under {pinned.package} {pinned.version} for "
                f"{', '.join(rebuilt)} than this fleet knows: "
                f"`relight rollout start {tag}` rolls that content out"
            )
        return with_files_of(offered, pinned) if offered.source == pinned.source else offered

    async def _offered(self, pinned: Release, architectures: Sequence[str]) -> Release:
        """Return what the source has of a version that the fleet knows, under the fleet's tag.

        Raises:
            ReleaseUnknownError: it does not have it.
        """
        tag, version = pinned.tag, pinned.version
        newest = await self._source.resolve(tag, ())
        if newest.version == version:
            return await self._source.resolve(tag, architectures)
        try:
            offered = await self._source.resolve(version, architectures)
        except ReleaseUnknownError as error:
            raise ReleaseUnknownError(
                f"{tag} is {version} in this fleet: {error}. `relight rollout start "
                f"{newest.version}` rolls out the newest revision"
            ) from error
        return offered.model_copy(update={"tag": tag})
