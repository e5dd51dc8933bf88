"""Whether machines of an image could run the releases that they would get."""

from collections.abc import Sequence

from activities.pinned_releases import PinnedReleases
from relight.domain.fault.error import DomainError
from relight.domain.image.fit import why_unfit
from relight.domain.image.image import ImageManifest
from relight.domain.names import DEFAULT_RELEASE_SETTING
from relight.domain.release import Release
from relight.releases.versions import compare
from relight.store.store import Store
from relight.store.threads import in_thread


class ImageUnfitError(DomainError):
    """Machines of the image could not run the releases that they would get."""

    kind = "image-unfit"


class ImageFit:
    """Checks images. It reads the packages of releases, and what the image's build says of it."""

    def __init__(self, store: Store, releases: PinnedReleases) -> None:
        self._store = store
        self._releases = releases

    async def require_fit(
        self, manifest: ImageManifest, releases: Sequence[Release] | None = None
    ) -> None:
        """Check that an image holds what releases need, besides what their source offers.

        Args:
            manifest: of the image.
            releases: None for those that are declared for the fleet and its tracks.

        Raises:
            ImageUnfitError: it does not, or no release is declared.
            ReleaseUnknownError: a declared release does not exist for the image's architecture.
            RepositoryError: the source of a release cannot be read.
        """
        if releases is None:
            releases = [
                await self._releases.resolve(tag, [manifest.architecture])
                for tag in await in_thread(self._declared)
            ]
        why = await self._why_unfit(manifest, releases)
        if why and releases:  # What else their source has takes longer to read.
            why = await self._why_unfit(manifest, releases, with_offered=True)
        if why:
            raise ImageUnfitError(why)

    async def _why_unfit(
        self, manifest: ImageManifest, releases: Sequence[Release], *, with_offered: bool = False
    ) -> str | None:
        architecture = manifest.architecture
        needs = [
            await self._releases.needs(each, architecture, with_offered=with_offered)
            for each in releases
        ]
        return why_unfit(manifest, needs, compare)

    def _declared(self) -> list[str]:
        default = self._store.fleet_settings.get(DEFAULT_RELEASE_SETTING)
        overrides = [track.release_override for track in self._store.tracks.list()]
        return sorted({tag for tag in (default, *overrides) if tag})
