"""A publication as a whole, and its part at one provider: check, plan, take turns, stage."""

import asyncio
from collections.abc import Sequence

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities import policies
from activities.execution import current_operation
from activities.image.fit import ImageFit
from activities.image.providers import ImageProviders
from activities.image.turns import Turns
from relight.domain.image.image import ImageManifest, ImageName, ImageRef, ImageStatus
from relight.domain.image.imports import (
    MAX_REGIONS,
    ImageChecked,
    PlanProviderInput,
    ProviderInput,
    ProviderPlan,
    RecordUnbegunInput,
    begin_order,
    sources_in,
    with_first,
)
from relight.domain.image.publication import (
    ImageInRegion,
    PublishImageInput,
)
from relight.domain.route import Recorded
from relight.engine.step import step
from relight.providers.driver import ProviderInvalidError
from relight.store.errors import UnknownImageError
from relight.store.images import Place
from relight.store.store import Store
from relight.store.threads import in_thread


class PublicationActivities:
    """Each is safe to run twice: what an earlier attempt did is found again."""

    def __init__(self, store: Store, providers: ImageProviders, fit: ImageFit) -> None:
        self._store = store
        self._providers = providers
        self._fit = fit
        self._turns = Turns(store.permits)

    @step(policies.IMAGE_CHECK, lambda i: i.name)
    async def check_image(self, input: PublishImageInput) -> ImageChecked:
        """Check an image on this worker against its manifest and the fleet, and record it."""
        providers = self._providers
        named = (input.provider,) if input.provider is not None else providers.names
        for provider in named:
            providers.driver(provider)
        manifest = await asyncio.to_thread(providers.folder.checked, input.name)
        if input.provider is not None and input.region is not None:
            await providers.region(input.provider, input.region, manifest)
        await self._fit.require_fit(manifest)
        operation = current_operation(input.origin)
        await in_thread(self._store.images.record, manifest, operation)
        return ImageChecked(providers=named)

    @step(policies.LOOKUP, lambda i: f"{i.name} at {i.provider}")
    async def plan_provider(self, input: PlanProviderInput) -> ProviderPlan:
        """Plan a provider's regions, and record them as waiting."""
        provider = input.provider
        manifest, limits = await self._manifest(input.name), self._providers.limits(provider)
        if limits.staged:
            self._providers.staging(provider)
        names = await self._regions(input, manifest)
        recorded = await in_thread(self._store.images.list, name=input.name, provider=provider)
        if input.missing:
            having = {each.region for each in sources_in(recorded)}
            names = tuple(each for each in names if each not in having)
        if len(names) > MAX_REGIONS:
            raise ProviderInvalidError(
                provider, f"publish {input.name}", f"more than {MAX_REGIONS} regions at once"
            )
        source = await self._source(recorded) if limits.copies and names else None
        names = with_first(names, limits, source)
        if names:
            places = [Place(provider, each) for each in names]
            operation = current_operation(input.origin)
            await in_thread(self._store.images.open, input.name, places, operation)
        return ProviderPlan(
            provider=provider,
            limits=limits,
            regions=begin_order(names, recorded),
            source=source,
        )

    @step(policies.ADMISSION, lambda i: f"{i.name} at {i.provider}")
    async def take_turn(self, input: ProviderInput) -> Recorded:
        """Wait until no other image is being published at the provider.

        Each attempt looks once. Retries add no event to the history.
        """
        if not await self._turns.take(input.provider, input.name):
            raise ApplicationError(
                f"another image is being published at {input.provider}",
                type="not-yet",
                category=ApplicationErrorCategory.BENIGN,
            )
        return Recorded()

    @step(policies.STORE, lambda i: f"{i.name} at {i.provider}")
    async def end_turn(self, input: ProviderInput) -> Recorded:
        """Let the next image be published at the provider."""
        await self._turns.end(input.provider, input.name)
        return Recorded()

    @step(policies.STORE, lambda i: f"{i.name} at {i.provider}: {i.fault.kind}")
    def record_unbegun(self, input: RecordUnbegunInput) -> Recorded:
        """Record why nothing was begun in regions."""
        places = [Place(input.provider, each) for each in input.regions]
        operation = current_operation(input.origin)
        self._store.images.fail_unbegun(input.name, places, input.fault, operation)
        return Recorded()

    @step(policies.IMAGE_SEND, lambda i: f"{i.name} for {i.provider}", lasting=True)
    async def stage_disk(self, input: ProviderInput) -> Recorded:
        """Sweep what lost publications have left in object storage, and upload the disk."""
        manifest = await self._manifest(input.name)
        staging = self._providers.staging(input.provider)
        disk = await asyncio.to_thread(self._providers.folder.disk, manifest)
        async with self._turns.keeping(input.provider, input.name):
            await staging.sweep([input.name])
            await staging.stage(manifest, disk, activity.heartbeat)
        return Recorded()

    @step(policies.IMAGE_ASK, lambda i: f"{i.name} for {i.provider}", lasting=True)
    async def unstage_disk(self, input: ProviderInput) -> Recorded:
        """Remove the disk from object storage: nobody can fetch it any more."""
        await self._providers.staging(input.provider).unstage(input.name)
        return Recorded()

    async def _regions(self, input: PlanProviderInput, manifest: ImageManifest) -> tuple[str, ...]:
        if input.region is None:
            return await self._providers.regions(input.provider, manifest)
        return (await self._providers.region(input.provider, input.region, manifest),)

    async def _source(self, recorded: Sequence[ImageInRegion]) -> ImageRef | None:
        """Return an image to copy from that its provider still has; None if there is none."""
        for each in sources_in(recorded):
            found = await self._providers.driver(each.provider).image(each)
            if found is not None and found.status is ImageStatus.AVAILABLE:
                return each
        return None

    async def _manifest(self, name: ImageName) -> ImageManifest:
        return await manifest_on_record(self._store, name)


async def manifest_on_record(store: Store, name: ImageName) -> ImageManifest:
    """Return the manifest of an image.

    Raises:
        UnknownImageError: it is not on record.
    """
    manifest = await in_thread(store.images.manifest, name)
    if manifest is None:
        raise UnknownImageError(f"there is no image {name} on record")
    return manifest
