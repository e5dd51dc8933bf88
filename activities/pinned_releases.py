"""What a release tag means in this fleet: always the same version, with the same content.

A tag that several revisions match means the newest of them when it is first resolved. As long as a
machine or a rollout on record names the tag, it stays that revision, so that a release can be
verified, undone and given to another machine after the next revision has appeared. A newer revision
is rolled out by its exact version.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from relight.domain.image.fit import ReleaseNeeds
from relight.domain.names import PackageTag, ReleaseTag, package_tag, revision_of
from relight.domain.release import Release, rebuilt_architectures, with_files_of
from relight.releases.deb_control import MAX_CONTROL_BYTES, DebControl, read_control
from relight.releases.dependencies import control_of, parse_dependencies
from relight.releases.errors import ReleaseRebuiltError, ReleaseUnknownError
from relight.releases.package_files import PackageFiles
from relight.releases.source import ReleaseSource
from relight.store.store import Store
from relight.store.threads import in_thread


class PinnedReleases:
    """The releases of a source, by the meaning that tags have in the fleet."""

    def __init__(
        self, source: ReleaseSource, store: Store, kept: PackageFiles | None = None
    ) -> None:
        """Read nothing yet.

        Args:
            source: of the releases.
            store: has what tags mean.
            kept: packages that can be brought to hosts, also if the source has deleted them.
        """
        self._source = source
        self._store = store
        self._kept = kept

    async def resolve(
        self, tag: ReleaseTag, architectures: Sequence[str], *, for_rollout: bool = False
    ) -> Release:
        """Return the release of a tag, with a file for at least each of these architectures.

        Args:
            tag: the tag.
            architectures: each has to have a file.
            for_rollout: accept other content under the version that the fleet knows.

        Raises:
            ReleaseUnknownError: the source does not have it, or not any more; or the fleet does not
                have its configuration.
            ReleaseRebuiltError: the source has other content under this version.
            RepositoryError: the source cannot be read, or cannot be trusted.
        """
        revision = revision_of(tag)
        if revision and not await in_thread(self._store.configurations.exists, revision):
            raise ReleaseUnknownError(
                f"this fleet has no configuration {revision}: `relight configuration list`"
            )
        release = await self._resolve(package_tag(tag), architectures, for_rollout=for_rollout)
        return release.model_copy(update={"tag": tag}) if revision else release

    async def needs(
        self, release: Release, architecture: str, *, with_offered: bool = False
    ) -> ReleaseNeeds:
        """Return what the package of a release needs on a machine.

        Args:
            release: as `resolve` returns it.
            architecture: of the machine.
            with_offered: read what the source offers besides, which takes longer.

        Raises:
            ReleaseUnknownError: it is not for this architecture.
            RepositoryError: its package or its source cannot be read.
        """
        deb_file = release.deb_file(architecture)
        if deb_file is None:
            raise ReleaseUnknownError(f"{release.tag} has no package for {architecture}")
        kept = await asyncio.to_thread(self._kept.find, deb_file) if self._kept else None
        if kept is not None:
            control = await asyncio.to_thread(_control_of, kept)
        else:
            async with aclosing(self._source.download(release, deb_file)) as chunks:
                control = await control_of(chunks)
        return ReleaseNeeds(
            tag=release.tag,
            dependencies=parse_dependencies(control.depends),
            offered=await self._source.packages(architecture) if with_offered else frozenset(),
        )

    async def _resolve(
        self, tag: PackageTag, architectures: Sequence[str], *, for_rollout: bool
    ) -> Release:
        pinned = await in_thread(self._store.releases.pinned, tag)
        if pinned is None:
            return await self._source.resolve(tag, architectures)
        offered = await self._offered(pinned, architectures)
        if not for_rollout and (rebuilt := rebuilt_architectures(pinned, offered)):
            kept = await self._kept_release(pinned, architectures)
            if kept is not None:
                return kept
            raise ReleaseRebuiltError(
                f"{offered.source} has other content under {pinned.package} {pinned.version} for "
                f"{', '.join(rebuilt)} than this fleet knows: "
                f"`relight rollout start {tag}` rolls that content out, or publish it under a "
                "version of its own"
            )
        return with_files_of(offered, pinned) if offered.source == pinned.source else offered

    async def _offered(self, pinned: Release, architectures: Sequence[str]) -> Release:
        """Return what the source has of a version that the fleet knows, under the fleet's tag.

        Raises:
            ReleaseUnknownError: it does not have it.
        """
        try:
            return await self._from_source(pinned, architectures)
        except ReleaseUnknownError:
            kept = await self._kept_release(pinned, architectures)
            if kept is None:
                raise
            return kept

    async def _from_source(self, pinned: Release, architectures: Sequence[str]) -> Release:
        tag, version = pinned.tag, pinned.version
        newest = await self._source.resolve(tag, ())
        if newest.version == version:
            wanted = [each for each in newest.deb_files if each.architecture in architectures]
            if len(wanted) == len({*architectures}) > 0:
                return newest.model_copy(update={"deb_files": tuple(wanted)})
            return await self._source.resolve(tag, architectures)
        try:
            offered = await self._source.resolve(version, architectures)
        except ReleaseUnknownError as error:
            raise ReleaseUnknownError(
                f"{tag} is {version} in this fleet: {error}. `relight rollout start "
                f"{newest.version}` rolls out the newest revision"
            ) from error
        return offered.model_copy(update={"tag": tag})

    async def _kept_release(self, pinned: Release, architectures: Sequence[str]) -> Release | None:
        """Return a release with the packages that are kept of it; None if one is missing.

        One that needs other packages in its own version is not installed without those.
        """
        wanted = set(architectures or pinned.architectures)
        files = [each for each in pinned.deb_files if each.architecture in wanted]
        if self._kept is None or not files or len(files) < len(wanted):
            return None
        found = [await asyncio.to_thread(self._kept.find, each) for each in files]
        if not all([file and not await asyncio.to_thread(_has_locked, file) for file in found]):
            return None
        return pinned.model_copy(update={"deb_files": tuple(each.as_pushed() for each in files)})


def _has_locked(file: Path) -> bool:
    return _control_of(file).has_locked


def _control_of(file: Path) -> DebControl:
    with file.open("rb") as opened:
        return read_control(opened.read(MAX_CONTROL_BYTES))
