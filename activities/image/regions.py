"""An image in one region: begin its import, wait for it, prove it, or withdraw it."""

import asyncio
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities import policies
from activities.execution import current_operation
from activities.image.providers import ImageProviders
from activities.image.publication import manifest_on_record
from activities.image.turns import Turns
from relight.domain.duration import span
from relight.domain.image.image import (
    ImageAtProvider,
    ImageManifest,
    ImageRef,
    ImageStatus,
    Visibility,
)
from relight.domain.image.imports import (
    AwaitImportInput,
    ImageInput,
    ImageWithdrawn,
    PublishRegionInput,
    RecordImageFailureInput,
)
from relight.domain.route import Recorded
from relight.engine.step import step
from relight.providers.driver import (
    MachineConflictError,
    ProviderAnswerError,
    ProviderError,
    ProviderUnavailableError,
)
from relight.providers.image_driver import (
    DiskFile,
    ImageDriver,
    ImageInUseError,
    ImageSpec,
    StagedDisk,
)
from relight.store.images import Place
from relight.store.store import Store
from relight.store.threads import in_thread

SETTLE = timedelta(minutes=1)
"""How long a new order may be unknown at its provider."""

_OVER = frozenset({ImageStatus.FAILED, ImageStatus.DELETING})


class ImageFailedError(ProviderError):
    """The provider could not import the image, or has it no more."""

    kind = "image-failed"


class ImageLateError(ProviderError):
    """The import did not begin or end in the time that it has."""

    kind = "image-late"


class ImageExposedError(ProviderError):
    """Others than us can use the image, or the provider does not say who can."""

    kind = "image-exposed"


class ImageRegionActivities:
    """Each works on one image in one region, and is safe to run twice."""

    def __init__(self, store: Store, providers: ImageProviders) -> None:
        self._store = store
        self._providers = providers
        self._turns = Turns(store.permits)

    @step(
        policies.IMAGE_SEND,
        lambda i: f"{i.name} to {i.provider}/{i.region}, attempt {i.attempt}",
        lasting=True,
    )
    async def begin_import(self, input: PublishRegionInput) -> ImageRef:
        """Begin the import or the copy of an image, or adopt the one that was begun."""
        images, place = self._store.images, Place(input.provider, input.region)
        driver = self._providers.driver(input.provider)
        manifest = await manifest_on_record(self._store, input.name)
        await in_thread(images.begin, input.name, place, input.attempt)
        spec = ImageSpec(manifest, input.region, self._providers.owner)
        async with self._turns.keeping(input.provider, input.name):
            if input.source is not None:
                found = await driver.copy_image(spec, input.source)
            else:
                found = await driver.import_image(spec, await self._disk(input, manifest))
        await in_thread(images.order, _ref(found))
        return _ref(found)

    @step(policies.IMAGE_IMPORT, lambda i: f"{i.image.name} in {i.image.provider}/{i.image.region}")
    async def await_import(self, input: AwaitImportInput) -> ImageRef:
        """Return the image once it is available.

        Each attempt looks once. What it has waited is told by the server's clock alone.
        """
        ref, limits = input.image, input.limits
        info = activity.info()
        waited = info.current_attempt_scheduled_time - info.scheduled_time
        await self._turns.take(ref.provider, ref.name)
        try:
            found = await self._providers.driver(ref.provider).image(ref)
        except ProviderUnavailableError as error:
            if waited > limits.finish_within:
                raise self._late(ref, limits.finish_within, error.answer) from error
            raise
        if found is None and waited > SETTLE:
            words = "it has neither an image nor an order of it any more"
            raise ImageFailedError(ref.provider, f"import {ref.name} in {ref.region}", words)
        if found is not None:
            await self._note(ref, found)
            if found.status is ImageStatus.AVAILABLE:
                return _ref(found)
            if found.status is ImageStatus.WAITING and waited > limits.start_within:
                raise self._late(ref, limits.start_within, f"it has not begun. {found.words}")
        status = found.status if found is not None else "not known yet"
        if waited > limits.finish_within:
            raise self._late(ref, limits.finish_within, f"it is {status}")
        raise _not_yet(f"{ref.name} in {ref.region} is {status} after {span(waited)}")

    @step(
        policies.IMAGE_ASK,
        lambda i: f"{i.image.name} in {i.image.provider}/{i.image.region}",
        lasting=True,
    )
    async def prove_image(self, input: ImageInput) -> ImageRef:
        """Prove that a region has an image: listed, available, of our build and private.

        One that others may use is deleted.
        """
        ref = input.image
        attempted = f"prove {ref.name} in {ref.region}"
        driver = self._providers.driver(ref.provider)
        manifest = await manifest_on_record(self._store, ref.name)
        listing = await driver.images(ref.region, ref.name)
        found = next((each for each in listing.images if each.image_id == ref.image_id), None)
        if found is None and not listing.complete:
            raise ProviderAnswerError(ref.provider, attempted, "the listing is incomplete")
        if found is None or found.status is not ImageStatus.AVAILABLE:
            status = found.status if found is not None else "not listed"
            raise ImageFailedError(ref.provider, attempted, f"the image is {status}")
        self._require_ours(found, manifest, attempted)
        if found.visibility is not Visibility.PRIVATE:
            raise ImageExposedError(ref.provider, attempted, await self._unexpose(driver, found))
        return _ref(found)

    @step(
        policies.STORE,
        lambda i: f"{i.image.name} in {i.image.provider}/{i.image.region}",
        lasting=True,
    )
    def record_image_published(self, input: ImageInput) -> Recorded:
        """Record that a region was proven to have an image: machines are made of it from now."""
        self._store.images.publish(input.image, current_operation(input.origin))
        return Recorded()

    @step(policies.IMAGE_ASK, lambda i: f"{i.name} in {i.provider}/{i.region}", lasting=True)
    async def withdraw_import(self, input: PublishRegionInput) -> ImageWithdrawn:
        """Delete what an import that failed has left, and return once it is gone.

        A private image that is available is left: it is what was wanted, if late.
        """
        driver = self._providers.driver(input.provider)
        manifest = await manifest_on_record(self._store, input.name)
        listing = await driver.images(input.region, input.name)
        ours = [each for each in listing.images if self._is_ours(each, manifest)]
        left = [each for each in ours if each.status not in _OVER]
        if not left and not listing.complete:
            raise ProviderAnswerError(
                input.provider, f"withdraw {input.name}", "the listing is incomplete"
            )
        orders = [each for each in left if not _is_good(each)]
        for each in ours:
            if not _is_good(each) and each.status is not ImageStatus.DELETING:
                await driver.delete_image(_ref(each))
        if orders:
            raise _not_yet(f"{input.name} in {input.region} is being withdrawn")
        return ImageWithdrawn(is_gone=not left)

    @step(policies.STORE, lambda i: f"{i.name} in {i.provider}/{i.region}: {i.fault.kind}")
    def record_image_failure(self, input: RecordImageFailureInput) -> Recorded:
        """Record why a region did not get an image."""
        self._store.images.fail(
            input.name,
            Place(input.provider, input.region),
            input.fault,
            current_operation(input.origin),
            is_gone=input.is_gone,
        )
        return Recorded()

    # ------------------------------------------------------------------ parts of them

    async def _disk(
        self, input: PublishRegionInput, manifest: ImageManifest
    ) -> DiskFile | StagedDisk:
        disk = await asyncio.to_thread(self._providers.folder.disk, manifest)
        if not input.limits.staged:
            return DiskFile(disk, activity.heartbeat)
        return await self._providers.staging(input.provider).stage(
            manifest, disk, activity.heartbeat
        )

    async def _note(self, ref: ImageRef, found: ImageAtProvider) -> None:
        """Record the image's own id, and the provider's answer about a failed one."""
        if found.image_id != ref.image_id:
            await in_thread(self._store.images.order, _ref(found))
        if found.status in _OVER:
            await in_thread(self._store.images.note_answer, _ref(found), found.words)
            raise ImageFailedError(
                ref.provider,
                f"import {ref.name} in {ref.region}",
                found.words or f"the image is {found.status}",
            )

    def _late(self, ref: ImageRef, limit: timedelta, answer: str) -> ImageLateError:
        return ImageLateError(
            ref.provider, f"import {ref.name} in {ref.region} within {span(limit)}", answer
        )

    def _is_ours(self, found: ImageAtProvider, manifest: ImageManifest) -> bool:
        return (found.name, found.owner, found.identity) == (
            manifest.name,
            self._providers.owner,
            manifest.identity,
        )

    def _require_ours(
        self, found: ImageAtProvider, manifest: ImageManifest, attempted: str
    ) -> None:
        if self._is_ours(found, manifest):
            return
        raise MachineConflictError(
            found.provider,
            attempted,
            f"{found.image_id} is {found.name} of {found.owner or 'nobody'}, build"
            f" {found.identity or 'unknown'}",
        )

    async def _unexpose(self, driver: ImageDriver, found: ImageAtProvider) -> str:
        """Delete an image that others may use; return what was done about it."""
        words = f"its visibility is {found.visibility}"
        try:
            await driver.delete_image(_ref(found))
        except ImageInUseError as error:
            return f"{words}, and it cannot be deleted: {error.answer}"
        return f"{words}: it is being deleted"


def _is_good(found: ImageAtProvider) -> bool:
    return found.status is ImageStatus.AVAILABLE and found.visibility is Visibility.PRIVATE


def _ref(found: ImageAtProvider) -> ImageRef:
    return ImageRef.model_validate(found.model_dump(include={*ImageRef.model_fields}))


def _not_yet(reason: str) -> ApplicationError:
    """Return the error of an attempt that has not found what it waits for."""
    return ApplicationError(reason, type="not-yet", category=ApplicationErrorCategory.BENIGN)
