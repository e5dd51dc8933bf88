"""The driver of Gcore's cloud.

A creation has no key that makes it safe to repeat, and names are not unique: the answer is the id
of a task, which makes the machine later. So one key has one creator at a time, which the id of its
workflow holds, and the creator searches first: in the listing of machines, then in the tasks that
create a machine of this name. The result of a task that ends between both is found, and so is a
machine that the listing still lacks. A task that is not done is waited for, not repeated. What no
search can see is a request that Gcore takes up after it: its machine is a second one of its key,
and two machines of a key are shown as a conflict, for a person.

A task may never start. After `WAIT` the creation is an error that may be repeated, and the
workflow's attempts end it. Until the task is `LATE` old its machine may still come: `find` does not
say that there is none, so no undo ends without it. After that it counts as absent, and its key is
not given out again. A machine that such a task makes even later has our tags and a record that does
not want it: the sweep destroys it.
"""

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from relight.domain.machine import MachineAtProvider, MachineRef, Region
from relight.domain.sweep.sweep import ProviderListing
from relight.providers.api import ProviderApi
from relight.providers.driver import (
    MachineConflictError,
    MachineSpec,
    ProviderAnswerError,
    ProviderCapacityError,
    ProviderError,
    ProviderInvalidError,
    ProviderUnavailableError,
    UserDataLimit,
    adopted,
    require_user_data_fits,
)
from relight.providers.gcore.answers import (
    Image,
    Instance,
    Task,
    classify,
    failure,
    kind_of_failure,
    machine_of,
    not_done,
)
from relight.providers.gcore.api import GcoreApi
from relight.providers.gcore.creation import (
    MIN_TAG_CHARACTERS,
    GcoreSettings,
    creation,
    is_id,
    newest_image,
)
from relight.providers.gcore.images import GcoreImages
from relight.providers.gcore.report import report
from relight.providers.locations import Attempt, CapacityFallback, LocationSettings, read_secret
from relight.providers.rate import RateLimits
from relight.providers.report import ProviderReport
from relight.providers.tags import tags_of

POLL = timedelta(seconds=5)
"""Between two requests for a task, as the vendor advises."""

WAIT = timedelta(seconds=40)
"""How long one call waits for a task. A creation is usually done in 15 to 30 seconds, and may hold
a permit for creations, whose use ends after a minute."""

LATE = timedelta(hours=1)
"""A task that is older and not done is not believed to be done ever."""

REMEMBERED = timedelta(hours=24)
"""The age of the oldest tasks that are searched for a machine's creation."""

RECENT = timedelta(minutes=10)
"""For how long a listing may lack a new machine, and a shape that had no room for a key is not
tried again for it."""

_PROVIDER_ID = re.compile(r"([0-9]{1,9}):([0-9A-Za-z-]{1,64})")


class GcoreDriver(GcoreImages):
    """The machine key is the name. The provider id is the region's number and the instance's id."""

    # It documents none; this is that of OpenStack, which it consists of.
    user_data_limit: UserDataLimit | None = UserDataLimit(65_535, is_encoded=True)

    def __init__(
        self,
        settings: GcoreSettings,
        limits: RateLimits | None = None,
        *,
        poll: timedelta = POLL,
        wait: timedelta = WAIT,
    ) -> None:
        """Request nothing yet.

        Args:
            settings: of the account.
            limits: of the account; Gcore publishes none.
            poll: between two requests for a task.
            wait: for a task, in one call.

        Raises:
            SecretFileError: the file with the key cannot be read.
        """
        self._creating: set[str] = set()
        self._fallback = CapacityFallback(self.name)
        key = read_secret(settings.api_key_file).get_secret_value()
        headers = {"Authorization": f"APIKey {key}"}
        api = ProviderApi(
            self.name, settings.url, headers, settings.timeout, classify=classify, limits=limits
        )
        super().__init__(
            GcoreApi(api, self.name, settings.project_id, poll=poll, wait=wait), settings
        )
        self._region_names = {place.region_id: name for name, place in self._places.items()}

    async def regions(self) -> tuple[Region, ...]:
        """Return the configured regions."""
        return self._settings.regions(self.name)

    async def ensure(self, key: str, spec: MachineSpec) -> MachineAtProvider:
        """Adopt the machine of this key, wait for the task that makes it, or create it."""
        attempted = f"create {key}"
        location = self._settings.location(self.name, spec.region)
        require_user_data_fits(self, attempted, spec.user_data)
        if len(spec.owner) < MIN_TAG_CHARACTERS:
            words = (
                f"the ownership tag {spec.owner!r} has less than {MIN_TAG_CHARACTERS} characters"
            )
            raise ProviderInvalidError(self.name, attempted, words)
        if key in self._creating:
            raise ProviderUnavailableError(self.name, attempted, "it is being created already")
        self._creating.add(key)
        try:
            return adopted(await self._ensure(key, spec, location), spec)
        finally:
            self._creating.discard(key)

    async def find(self, key: str) -> MachineAtProvider | None:
        """Return the machine of this key.

        Raises:
            ProviderUnavailableError: a task that is not `LATE` is to make it.
        """
        attempted = f"find {key}"
        found, tasks = await self._search(attempted, key, list(self._places))
        for task in tasks if found is None else ():
            if task.is_pending and task.name == key and _age(task) < LATE:
                raise not_done(self.name, attempted, task)
        return found

    async def get(self, provider_id: str) -> MachineAtProvider | None:
        """Return the machine with this id."""
        attempted = f"find {provider_id}"
        region, instance_id = self._place_of(provider_id)
        if not instance_id:
            return None
        found = await self._api.instance(attempted, region, instance_id)
        if found is None:
            # A wrong project or region is a 404 too, but has no listing.
            listed = await self._api.instances(attempted, region, uuid=instance_id)
            found = next((each for each in listed.items if each.id == instance_id), None)
        return None if found is None else self._machine(region, found)

    async def list(self, region: str | None = None) -> ProviderListing:
        """Return every machine of the configured regions, or of one.

        A machine whose entry is not understood is left out, and the listing is incomplete.
        """
        asked_at, attempted = datetime.now(UTC), "list machines"
        if region is not None:
            self._settings.location(self.name, region)
        regions = [
            place.region_id for name, place in self._places.items() if region in {None, name}
        ]
        listed = await asyncio.gather(*(self._api.instances(attempted, each) for each in regions))
        machines = [
            self._machine(number, each)
            for number, pages in zip(regions, listed, strict=True)
            for each in pages.items
        ]
        return ProviderListing(
            provider=self.name,
            asked_at=asked_at,
            machines=tuple(sorted(machines, key=lambda machine: machine.key)),
            complete=all(pages.complete for pages in listed),
        )

    async def destroy(self, machine: MachineRef) -> bool:
        """Request the deletion with its volumes, and wait a while for its task.

        Volumes go along that are marked for it or have the machine's tags. Any other volume was
        attached by somebody else, and stays.

        Raises:
            ProviderUnavailableError: also if the task failed.
        """
        attempted = f"destroy {machine.key}"
        region, instance_id = self._place_of(machine.provider_id)
        found = await self._api.instance(attempted, region, instance_id) if instance_id else None
        if found is None:
            return False
        if found.name != machine.key:
            raise MachineConflictError(
                self.name, attempted, f"{machine.provider_id} is named {found.name}"
            )
        task_id = await self._api.deletion_of(attempted, found)
        if task_id is None:
            tagged = await self._api.volumes_of(attempted, region, found.tags_by_key)
            ours = {each.id for each in tagged}
            volumes = [each.id for each in found.volumes if each.is_marked or each.id in ours]
            task_id = await self._api.delete(attempted, region, instance_id, volumes)
            if task_id is None:
                return False
        task = await self._api.ended(attempted, task_id)
        if task.state == "ERROR":
            raise failure(self.name, attempted, task, ProviderUnavailableError)
        return True

    async def console(self, machine: MachineRef) -> str | None:
        """Return None: the API has the address of a console only, for a browser."""
        del machine
        return None

    async def image_of(self, provider_id: str) -> str | None:
        """Return the id of the image that the machine's boot volume was made of."""
        attempted = f"find the image of {provider_id}"
        region, instance_id = self._place_of(provider_id)
        found = await self._api.instance(attempted, region, instance_id) if instance_id else None
        for attached in found.volumes if found is not None else ():
            volume = await self._api.volume(attempted, region, attached.id)
            metadata = (volume and volume.volume_image_metadata) or {}
            image_id = metadata.get("image_id")
            if isinstance(image_id, str):
                return image_id
        return None

    async def report(self) -> ProviderReport:
        """Return what Gcore says of the project, the regions, their shapes and their images."""
        return await report(self._api, self._settings)

    async def close(self) -> None:
        """Close its connections."""
        await self._api.close()

    # ------------------------------------------------------------------ creation

    async def _ensure(
        self, key: str, spec: MachineSpec, location: LocationSettings
    ) -> MachineAtProvider:
        attempted, region = f"create {key}", self._places[spec.region].region_id
        found, tasks = await self._search(attempted, key, [spec.region])
        if found is not None:
            return found
        full = {
            task.shape: failure(self.name, attempted, task)
            for task in tasks
            if task.state == "ERROR"
            and _age(task) < RECENT
            and kind_of_failure(task) is ProviderCapacityError
        }
        for task in tasks:
            if task.is_pending and task.name is None:
                raise not_done(self.name, attempted, task)
            if task.is_pending:
                try:
                    return await self._made(key, spec, task.id)
                except ProviderCapacityError as error:
                    full[task.shape] = error
        if any(task.state == "ERROR" for task in tasks):
            # An earlier attempt may have ended before it did so.
            await self._api.delete_unattached(attempted, region, tags_of(key, spec))
        image = await self._image(key, spec, location)

        async def create(attempt: Attempt) -> MachineAtProvider:
            if attempt.shape in full:
                raise full[attempt.shape]
            body = creation(key, spec, location, image, attempt.shape)
            task_id = await self._api.create(attempted, region, body)
            return await self._made(key, spec, task_id)

        return await self._fallback.create(key, location, create)

    async def _made(self, key: str, spec: MachineSpec, task_id: str) -> MachineAtProvider:
        """Return the machine that a task makes.

        Raises:
            ProviderUnavailableError: the task is not done in time, or its machine is not there yet.
            ProviderError: the task failed.
        """
        attempted, region = f"create {key}", self._places[spec.region].region_id
        task = await self._api.ended(attempted, task_id)
        if task.is_pending:
            raise not_done(self.name, attempted, task)
        if task.state == "ERROR":
            await self._api.delete_unattached(attempted, region, tags_of(key, spec))
            raise failure(self.name, attempted, task)
        for instance_id in task.instances:
            found = await self._api.instance(attempted, region, instance_id)
            if found is not None and found.name == key:
                return self._machine(region, found)
        raise ProviderUnavailableError(
            self.name, attempted, f"its task {task_id} is done, and there is no such machine yet"
        )

    async def _image(self, key: str, spec: MachineSpec, location: LocationSettings) -> Image:
        attempted, region = f"find an image for {key}", self._places[spec.region].region_id
        wanted = spec.image or location.image
        # An id is no part of a name.
        name = "" if is_id(wanted) else wanted or location.image_prefix
        images = await self._api.images(attempted, region, name)
        image = newest_image(images, location, wanted)
        if image is None:
            words = f"{wanted!r}" if wanted else f"that begins with {location.image_prefix!r}"
            raise ProviderInvalidError(
                self.name,
                attempted,
                f"{spec.region} has no image {words} for {location.architecture}",
            )
        return image

    # ------------------------------------------------------------------ search

    async def _search(
        self, attempted: str, key: str, names: Sequence[str]
    ) -> tuple[MachineAtProvider | None, Sequence[Task]]:
        """Return the machine of a key, or else the tasks that create it, or did, or may.

        Raises:
            MachineConflictError: there are several machines.
            ProviderAnswerError: the listing is not complete, and does not have it.
        """
        regions = [self._places[each].region_id for each in names]
        listed = await asyncio.gather(
            *(self._api.instances(attempted, each, name=key) for each in regions)
        )
        found = {
            each.id: self._machine(region, each)
            for region, pages in zip(regions, listed, strict=True)
            for each in pages.items
            if each.name == key
        }
        tasks: Sequence[Task] = ()
        if not found:
            if not all(pages.complete for pages in listed):
                raise ProviderAnswerError(self.name, attempted, "the listing is not complete")
            since = datetime.now(UTC) - REMEMBERED
            tasks = [
                task
                for task in await self._api.tasks(attempted, regions, since, "create_vm")
                if task.name == key
                or (task.name is None and (task.is_pending or _age(task) < RECENT))
            ]
            for region in regions:
                for instance_id in (each for task in tasks for each in task.made_in(region)):
                    instance = await self._api.instance(attempted, region, instance_id)
                    if instance is not None and instance.name == key:
                        found[instance.id] = self._machine(region, instance)
        if len(found) > 1:
            ids = ", ".join(sorted(each.provider_id for each in found.values()))
            raise MachineConflictError(self.name, attempted, f"several machines have it: {ids}")
        return next(iter(found.values()), None), tasks

    # ------------------------------------------------------------------ names

    def _place_of(self, provider_id: str) -> tuple[int, str]:
        """Return the region and the instance's id of a provider id; no id if it is none of ours.

        Raises:
            ProviderError: the region is not configured any more: nothing is known of the machine.
        """
        parts = _PROVIDER_ID.fullmatch(provider_id)
        if parts is None:
            return 0, ""
        region = int(parts[1])
        if region not in self._region_names:
            words = f"no location has the region_id {region}"
            raise ProviderError(self.name, f"find {provider_id}", words)
        return region, parts[2]

    def _machine(self, region: int, instance: Instance) -> MachineAtProvider:
        return machine_of(
            instance,
            provider=self.name,
            region=self._region_names[region],
            provider_id=f"{region}:{instance.id}",
        )


def _age(task: Task) -> timedelta:
    """Return the age of a task; one that does not say it is new."""
    now = datetime.now(UTC)
    return now - (task.created_on or now)
