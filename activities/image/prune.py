"""The prune of images: find the regions, decide about each image, delete one."""

from datetime import UTC, datetime
from functools import partial

from activities import policies
from activities.execution import current_operation
from activities.image.providers import ImageProviders
from relight.domain.fault.table import fault
from relight.domain.image.choice import choose_image
from relight.domain.image.image import ImageRef, ImageStatus
from relight.domain.image.prune import (
    DeleteImageInput,
    ImageDeleted,
    KnownImages,
    ListPrunableInput,
    PruneImagesInput,
    PrunePlace,
    PrunePlaces,
    RegionDecided,
    decide_prune,
)
from relight.domain.image.publication import ImageInRegion, PublicationStatus
from relight.engine.step import step
from relight.providers.driver import ProviderAnswerError, ProviderError, UnknownLocationError
from relight.providers.image_driver import ImageDriver, ImageInUseError
from relight.store.images import Place
from relight.store.store import Store
from relight.store.threads import in_thread

_GONE = (
    ". Images of it are on record: configure it again, or `relight image forget {provider}` gives "
    "them up"
)


class ImagePruneActivities:
    """Each deletion is safe to run twice: an image that is absent is deleted."""

    def __init__(self, store: Store, providers: ImageProviders) -> None:
        self._store = store
        self._providers = providers

    @step(policies.LOOKUP, lambda i: i.provider or "all providers")
    async def find_prune_places(self, input: PruneImagesInput) -> PrunePlaces:
        """Return the regions that may have images: those of locations, and those on record."""
        recorded = await in_thread(self._recorded_places)
        wanted = {*self._providers.names, *(provider for provider, _ in recorded)}
        if input.provider is not None:
            self._providers.driver(input.provider)
            wanted &= {input.provider}
        places = []
        for provider in sorted(wanted):
            located = set()
            try:
                located = set(await self._providers.all_regions(provider))
            except UnknownLocationError as error:
                places.append(_unreachable(provider, error, _GONE.format(provider=provider)))
            except ProviderError as error:
                places.append(_unreachable(provider, error))
            if provider in self._providers.names:
                located |= {each.region for each in recorded if each.provider == provider}
            places += [PrunePlace(provider=provider, region=each) for each in sorted(located)]
        return PrunePlaces(places=tuple(places))

    @step(policies.IMAGE_PRUNE, lambda i: f"{i.provider}/{i.region}")
    async def decide_prune(self, input: ListPrunableInput) -> RegionDecided:
        """Decide about each image of a region. Without a complete listing nothing is decided."""
        driver = self._providers.driver(input.provider)
        listing = await driver.images(input.region)
        if not listing.complete:
            raise ProviderAnswerError(
                input.provider, f"list the images in {input.region}", "the listing is incomplete"
            )
        place, owner = Place(input.provider, input.region), self._providers.owner
        known = await in_thread(self._known, place)
        decisions = decide_prune(listing.images, known, owner, input.keep)
        if any(each.deleted and not each.in_record for each in decisions):
            # One call for each machine: only where something would go.
            used = known.used | await self._unrecorded(driver, place)
            known = known.model_copy(update={"used": used})
            decisions = decide_prune(listing.images, known, owner, input.keep)
        return RegionDecided(decisions=decisions)

    @step(
        policies.IMAGE_PRUNE,
        lambda i: f"{i.image.name} in {i.image.provider}/{i.image.region}",
        lasting=True,
    )
    async def delete_image(self, input: DeleteImageInput) -> ImageDeleted:
        """Delete an image at its provider, then from the record.

        From before it is deleted, no machine is made of it.

        Raises:
            ImageInUseError: it stays. Its provider keeps it, or it was pinned, rolled out, used for
                a machine or published since it was decided about.
        """
        ref, use = input.image, self._store.image_use
        driver = self._providers.driver(ref.provider)
        if input.in_record and ref.image_id:
            found = await driver.image(ref)
            if found is not None and found.status is not ImageStatus.FAILED:
                raise _stays(ref, "its provider has it again")
        stays = await in_thread(partial(use.begin_removal, ref, gone=input.in_record))
        if stays is not None:
            raise _stays(ref, stays)
        existed = False
        if not input.in_record:
            try:
                existed = await driver.delete_image(ref)
            except ImageInUseError:
                await in_thread(use.keep, ref)
                raise
        await in_thread(use.remove, ref, current_operation(input.origin))
        return ImageDeleted(existed=existed)

    def _recorded_places(self) -> set[Place]:
        """Return the regions that have images on record, and those of machines of any image."""
        images = {Place(each.provider, each.region) for each in self._store.images.list()}
        machines = {Place(*each) for each in self._store.machines.image_ids()}
        return images | {each for each in machines if each.provider in self._providers.names}

    def _known(self, place: Place) -> KnownImages:
        images = self._store.images.list(provider=place.provider, region=place.region)
        stopped = self._store.rollouts.stopped_images()
        chosen = [
            choose_image(images, architecture, stopped)
            for architecture in {each.architecture for each in images}
        ]
        now = datetime.now(UTC)
        recorded = [(each, _ref_of(each)) for each in images if not each.is_under_way(now)]
        having = {PublicationStatus.PUBLISHED, PublicationStatus.DELETING}
        return KnownImages(
            recorded_at={each.name: each.recorded_at for each in images},
            published=tuple(ref for each, ref in recorded if each.status in having),
            missing=tuple(ref for each, ref in recorded if each.status not in having),
            needed={
                **{each.name: "it is being published" for each in images if each.is_under_way(now)},
                **{each.name: "new machines are made of it" for each in chosen if each is not None},
                **dict.fromkeys(self._store.rollouts.open_images(), "a rollout of it is open"),
                **{each.name: "it is pinned" for each in images if each.pinned},
            },
            used=frozenset(self._store.machines.image_ids().get(place, ())),
            location=self._providers.location_image(*place),
        )

    async def _unrecorded(self, driver: ImageDriver, place: Place) -> frozenset[str]:
        """Return the images of machines whose image is not on record: their provider knows it."""
        machines = await in_thread(self._store.machines.without_image, *place)
        found = [await driver.image_of(provider_id) for provider_id in machines]
        return frozenset(each for each in found if each is not None)


def _unreachable(provider: str, error: ProviderError, advice: str = "") -> PrunePlace:
    return PrunePlace(provider=provider, region="", fault=fault(error.kind, f"{error}{advice}"))


def _ref_of(image: ImageInRegion) -> ImageRef:
    """Return an image on record; its id is empty if it was never ordered there."""
    return ImageRef(
        name=image.name,
        provider=image.provider,
        region=image.region,
        image_id=image.image_id or "",
    )


def _stays(ref: ImageRef, why: str) -> ImageInUseError:
    return ImageInUseError(ref.provider, f"delete the image {ref.name} in {ref.region}", why)
