"""The image of a new machine: chosen by its location, and checked against its release."""

from activities import policies
from activities.image.fit import ImageFit
from activities.image.publication import manifest_on_record
from relight.domain.image.choice import ChooseImageInput, ImageChosen, choose_image
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
        image = await in_thread(self._choose, input)
        if image is None:
            return ImageChosen()
        manifest = await manifest_on_record(self._store, image.name)
        await self._fit.require_fit(manifest, [input.release])
        return ImageChosen(image=image)

    def _choose(self, input: ChooseImageInput) -> MachineImage | None:
        """Return the image that a machine is made of; None: what the settings say.

        Raises:
            UnknownImageError: the region does not have the one that it has to be.
        """
        region, name = input.region, input.name
        images = self._store.images.list(name=name, provider=region.provider, region=region.name)
        if name is not None:
            chosen = next(iter(images), None)
        else:
            stopped = self._store.rollouts.stopped_images()
            chosen = choose_image(images, region.architecture, stopped)
            if chosen is None:
                return None
            name = chosen.name
        if chosen is None or chosen.ref is None:
            unpin = f", and `relight image unpin {name}` lets the newest one be taken"
            raise UnknownImageError(
                f"{region.provider}/{region.name} has no image {name}"
                f"{', which is pinned there' if chosen and chosen.pinned else ''}: "
                f"`relight image publish {name} --missing` brings it there"
                f"{unpin if chosen and chosen.pinned else ''}"
            )
        return MachineImage(name=name, image_id=chosen.ref.image_id)
