"""The image of a new machine: chosen by its location, and checked against its release."""

from activities import policies
from activities.image.fit import ImageFit
from relight.domain.image.choice import ChooseImageInput, ImageChosen, choose_image
from relight.domain.image.publication import ImageInRegion, PublicationStatus
from relight.domain.machine import MachineImage
from relight.engine.step import step
from relight.store.errors import UnknownImageError
from relight.store.store import Store
from relight.store.threads import in_thread


class ImageChoiceActivities:
    """Called before a machine is planned."""

    def __init__(self, store: Store, fit: ImageFit) -> None:
        self._store = store
        self._fit = fit

    @step(policies.LOOKUP, lambda i: f"{i.region.provider}/{i.region.name}: {i.release.tag}")
    async def choose_image(self, input: ChooseImageInput) -> ImageChosen:
        """Return the image of the location; refuse one that lacks what the release needs."""
        found = await in_thread(self._choose, input)
        if found is None:
            return ImageChosen()
        manifest = await in_thread(self._store.images.manifest, found.name)
        if manifest is not None and found.image_id is not None:
            await self._fit.require_fit(manifest, [input.release])
            return ImageChosen(image=MachineImage(name=found.name, image_id=found.image_id))
        return ImageChosen()

    def _choose(self, input: ChooseImageInput) -> ImageInRegion | None:
        region = input.region
        images = self._store.images.list(
            name=input.name, provider=region.provider, region=region.name
        )
        if input.name is None:
            stopped = self._store.rollouts.stopped_images()
            return choose_image(images, region.architecture, stopped)
        for each in images:
            if each.status is PublicationStatus.PUBLISHED and each.image_id is not None:
                return each
        raise UnknownImageError(
            f"{region.provider}/{region.name} has no image {input.name}: "
            f"`relight image publish {input.name} --missing` brings it there"
        )
