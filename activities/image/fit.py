"""Whether machines of an image could run what the fleet is declared to have."""

from relight.domain.fault.error import DomainError
from relight.domain.image import ImageManifest
from relight.domain.names import DEFAULT_RELEASE_SETTING
from relight.store.store import Store
from relight.store.threads import in_thread


class ImageUnfitError(DomainError):
    """No machine of the image could run the declared release."""

    kind = "image-unfit"


class ImageFit:
    """Compares images with the declared releases."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def require_fit(self, manifest: ImageManifest) -> None:
        """Check that an image can serve the fleet.

        Raises:
            ImageUnfitError: it cannot.
        """
        declared = await in_thread(self._store.fleet_settings.get, DEFAULT_RELEASE_SETTING)
        if declared is None:
            raise ImageUnfitError(
                f"image {manifest.name}: no release is declared, so a machine made of it would"
                " serve nothing: `relight settings set --help` says how to declare one"
            )
