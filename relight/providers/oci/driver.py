"""The driver of Oracle Cloud Infrastructure.

The machine key is an instance's display name, which need not be unique: the retry token of a launch
keeps two creations from making two machines. A terminated instance stays listed for twelve hours,
and is absent here.
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from relight.domain.machine import MachineAtProvider, MachineRef, Region
from relight.domain.sweep.sweep import ProviderListing
from relight.providers.driver import (
    MachineConflictError,
    MachineSpec,
    ProviderError,
    ProviderUnavailableError,
    UserDataLimit,
    adopted,
    require_user_data_fits,
)
from relight.providers.locations import Attempt, CapacityFallback, LocationSettings
from relight.providers.oci.answers import (
    HISTORY,
    INSTANCE,
    STATUSES,
    AbsentOrForbiddenError,
    Instance,
    State,
    TokenSpentError,
)
from relight.providers.oci.api import INSTANCES, OciApi, instance_path
from relight.providers.oci.images import OciBaseImages
from relight.providers.oci.report import OciImages, report_of
from relight.providers.oci.settings import OciSettings, Shape, assigns_public_ip, security_groups
from relight.providers.oci.signature import OciSignature, read_api_key
from relight.providers.rate import Call
from relight.providers.report import ProviderReport
from relight.providers.tags import read_tags, tags_of
from relight.providers.token import create_token

MAX_METADATA_BYTES = 32_000
MAX_CONSOLE_BYTES = 1024 * 1024
CAPTURE_WITHIN = timedelta(seconds=60)
MAX_TOKENS = 5
"""How many machines of one key may end within a day before no other one is created."""

MAX_REMEMBERED = 10_000
"""Of launched machines, whose ids are read where a listing lacks them."""

_HISTORIES = "/instanceConsoleHistories"


class OciDriver(OciBaseImages):
    """One account, with its machines in one compartment."""

    name = "oci"
    user_data_limit: UserDataLimit | None = UserDataLimit(
        MAX_METADATA_BYTES - len('{"user_data":""}'), is_encoded=True
    )

    def __init__(
        self,
        settings: OciSettings,
        *,
        now: Callable[[], datetime] | None = None,
        poll: timedelta = timedelta(seconds=1),
    ) -> None:
        """Request nothing yet.

        Args:
            settings: of the account.
            now: the clock that requests are signed by.
            poll: between two looks at the capture of a console.

        Raises:
            SecretFileError: the API key cannot be read.
        """
        auth = OciSignature(settings.key_id, read_api_key(settings.key_file), now)
        super().__init__(self.name, OciApi(self.name, settings, auth), settings)
        self._images = OciImages(self.name, self._api)
        self._capacity = CapacityFallback(self.name)
        self._poll = poll
        self._launched: dict[str, str] = {}

    async def regions(self) -> tuple[Region, ...]:
        """Return the configured regions."""
        return self._settings.regions(self.name)

    async def ensure(self, key: str, spec: MachineSpec) -> MachineAtProvider:
        """Adopt the machine of this key in the spec's region, or create it."""
        attempted = f"create {key}"
        location = self._settings.location(self.name, spec.region)
        require_user_data_fits(self, attempted, spec.user_data)
        found = await self._find(spec.region, key, attempted)
        if found is not None:
            return adopted(found, spec)

        async def launch(attempt: Attempt) -> MachineAtProvider:
            return await self._launch(key, spec, location, attempt)

        return await self._capacity.create(key, location, launch)

    async def find(self, key: str) -> MachineAtProvider | None:
        """Return the machine of this key, in whatever region it is."""
        attempted = f"find {key}"
        found = await asyncio.gather(
            *(self._find(region, key, attempted) for region in self._settings.locations)
        )
        return self._only((each for each in found if each is not None), attempted)

    async def get(self, provider_id: str) -> MachineAtProvider | None:
        """Return the machine with this id."""
        attempted = f"find {provider_id}"
        found = await self._api.instance(provider_id, attempted)
        return None if found is None else await self._machine(*found, attempted)

    async def list(self, region: str | None = None) -> ProviderListing:
        """Return every machine of the compartment, in one region or in all that are configured.

        A machine whose entry is not understood is left out, and the listing is incomplete.
        """
        asked_at = datetime.now(UTC)
        if region is not None:
            self._settings.location(self.name, region)
        regions = self._settings.locations if region is None else (region,)
        listed = await asyncio.gather(*(self._list(each) for each in regions))
        machines = [machine for found, _ in listed for machine in found]
        return ProviderListing(
            provider=self.name,
            asked_at=asked_at,
            machines=tuple(sorted(machines, key=lambda machine: machine.key)),
            complete=all(complete for _, complete in listed),
        )

    async def destroy(self, machine: MachineRef) -> bool:
        """Request the machine's deletion, with its boot volume."""
        attempted = f"destroy {machine.key}"
        found = await self._api.instance(machine.provider_id, attempted)
        if found is None:
            return False
        region, instance = found
        if instance.display_name != machine.key:
            raise MachineConflictError(
                self.name, attempted, f"{instance.id} is named {instance.display_name}"
            )
        if instance.lifecycle_state is State.TERMINATING:
            return True
        params = {"preserveBootVolume": "false", "preserveDataVolumesCreatedAtLaunch": "false"}
        path = instance_path(instance.id)
        try:
            response = await self._api.call(region, attempted, "DELETE", path, params=params)
        except AbsentOrForbiddenError:
            # Somebody else was faster; or we may read instances, and not terminate them.
            if await self._api.instance(machine.provider_id, attempted) is not None:
                raise
            return False
        if response.body:
            raise response.unreadable("it is not empty")
        return True

    async def console(self, machine: MachineRef) -> str | None:
        """Return the last megabyte of the machine's console."""
        attempted = f"read the console of {machine.key}"
        found = await self._api.instance(machine.provider_id, attempted)
        if found is None:
            return None
        region, instance = found
        body = {"instanceId": instance.id}
        response = await self._api.call(
            region, attempted, "POST", _HISTORIES, call=Call.READ, json=body
        )
        path = f"{_HISTORIES}/{quote(response.read(HISTORY).id, safe='')}"
        try:
            return await self._captured(region, attempted, path)
        finally:
            # It costs nothing, but how many there may be is limited.
            with suppress(ProviderError):
                await self._api.call(region, attempted, "DELETE", path, call=Call.READ)

    async def image_of(self, provider_id: str) -> str | None:
        """Return the id of the image that an instance was made of."""
        found = await self._api.instance(provider_id, f"find the image of {provider_id}")
        return None if found is None else found[1].source_details.image_id

    async def close(self) -> None:
        """Close the connections."""
        await self._images.close()
        await self._api.close()

    async def report(self) -> ProviderReport:
        """Return what the vendor says of each region's zones, shapes, subnet and image."""
        return await report_of(self._settings, self._api, self._images)

    async def _find(self, region: str, key: str, attempted: str) -> MachineAtProvider | None:
        listed = (await self._api.instances(region, attempted, displayName=key)).whole()
        found = await self._of_key(region, key, listed, attempted)
        launched = self._launched.get(key)
        if (
            found is not None
            or launched is None
            or region not in self._api.regions_of(launched, attempted)
        ):
            return found
        # A listing may lack what was just launched; its id is known.
        read = await self._api.instance(launched, attempted)
        if read is None:
            self._launched.pop(key, None)
            return None
        return await self._machine(*read, attempted)

    async def _of_key(
        self, region: str, key: str, listed: Sequence[Instance], attempted: str
    ) -> MachineAtProvider | None:
        found = [each for each in listed if each.display_name == key and not each.is_gone]
        machines = [await self._machine(region, each, attempted) for each in found]
        return self._only(machines, attempted)

    def _only(
        self, machines: Iterable[MachineAtProvider], attempted: str
    ) -> MachineAtProvider | None:
        found = list(machines)
        if len(found) > 1:
            ids = ", ".join(sorted(each.provider_id for each in found))
            raise MachineConflictError(
                self.name, attempted, f"{len(found)} machines have this name: {ids}"
            )
        return found[0] if found else None

    async def _list(self, region: str) -> tuple[Sequence[MachineAtProvider], bool]:
        attempted = f"list machines in {region}"
        listed = await self._api.instances(region, attempted)
        found = [each for each in listed.found if not each.is_gone]
        addresses = await self._api.addresses(region, attempted, found, are_all=True)
        machines = [self._described(region, each, addresses.get(each.id)) for each in found]
        return machines, listed.unread is None

    async def _machine(self, region: str, instance: Instance, attempted: str) -> MachineAtProvider:
        addresses = await self._api.addresses(region, attempted, [instance])
        return self._described(region, instance, addresses.get(instance.id))

    def _described(self, region: str, instance: Instance, address: str | None) -> MachineAtProvider:
        tags = read_tags(instance.freeform_tags)
        return MachineAtProvider(
            key=instance.display_name,
            provider=self.name,
            provider_id=instance.id,
            region=region,
            architecture=self._settings.location(self.name, region).architecture,
            status=STATUSES[instance.lifecycle_state],
            address=address,
            owner=tags.owner,
            generation=tags.generation,
            created_by=tags.created_by,
            created_at=instance.time_created,
        )

    async def _launch(
        self, key: str, spec: MachineSpec, location: LocationSettings, attempt: Attempt
    ) -> MachineAtProvider:
        """Create the machine, or return the one that its retry token has created before."""
        attempted = f"create {key}"
        shape = Shape.read(attempt.shape)
        image = await self._images.id_of(spec.region, shape.name, location, spec.image)
        body = launch_details(key, spec, location, attempt, image)
        body["compartmentId"] = self._settings.compartment
        token = create_token(key, spec.generation, attempt.zone, attempt.shape, spec.user_data)
        for _ in range(MAX_TOKENS):
            headers = {"opc-retry-token": token}
            try:
                response = await self._api.call(
                    spec.region, attempted, "POST", INSTANCES, headers=headers, json=body
                )
            except TokenSpentError:
                query = {"displayName": key}
                listed = (await self._api.instances(spec.region, attempted, **query)).whole()
                found = await self._of_key(spec.region, key, listed, attempted)
                if found is not None:
                    return adopted(found, spec)
                if key not in {each.display_name for each in listed}:
                    # Nothing shows that the token's machine is gone: another token makes a twin.
                    raise
            else:
                instance = response.read(INSTANCE)
                if instance.display_name != key:
                    raise response.unreadable(f"it is about {instance.display_name}")
                if not instance.is_gone:
                    self._remember(key, instance.id)
                    return adopted(await self._machine(spec.region, instance, attempted), spec)
            # What this token has created has ended.
            token = hashlib.sha256(token.encode()).hexdigest()
        raise ProviderError(
            self.name, attempted, f"{MAX_TOKENS} machines of this name have ended within a day"
        )

    def _remember(self, key: str, provider_id: str) -> None:
        self._launched[key] = provider_id
        if len(self._launched) > MAX_REMEMBERED:
            del self._launched[next(iter(self._launched))]

    async def _captured(self, region: str, attempted: str, path: str) -> str:
        """Return the text of a console history as soon as it is captured."""
        try:
            async with asyncio.timeout(CAPTURE_WITHIN.total_seconds()):
                while True:
                    history = (await self._api.call(region, attempted, "GET", path)).read(HISTORY)
                    if history.lifecycle_state == "SUCCEEDED":
                        break
                    if history.lifecycle_state == "FAILED":
                        raise ProviderError(self.name, attempted, "the capture has failed")
                    await asyncio.sleep(self._poll.total_seconds())
        except TimeoutError as error:
            raise ProviderUnavailableError(
                self.name, attempted, "the capture has not ended"
            ) from error
        params = {"length": str(MAX_CONSOLE_BYTES)}
        return (await self._api.call(region, attempted, "GET", f"{path}/data", params=params)).text


def launch_details(
    key: str, spec: MachineSpec, location: LocationSettings, attempt: Attempt, image: str
) -> dict[str, Any]:
    """Return the body of a launch, without the compartment."""
    zone, _, fault_domain = attempt.zone.partition("/")
    shape = Shape.read(attempt.shape)
    source: dict[str, Any] = {"sourceType": "image", "imageId": image}
    if location.disk_gib is not None:
        source["bootVolumeSizeInGBs"] = location.disk_gib
    vnic: dict[str, Any] = {
        "subnetId": location.subnet,
        "assignPublicIp": assigns_public_ip(location),
    }
    if groups := security_groups(location):
        vnic["nsgIds"] = groups
    user_data = base64.b64encode(spec.user_data.get_secret_value()).decode()
    details: dict[str, Any] = {
        "availabilityDomain": zone,
        "displayName": key,
        "freeformTags": tags_of(key, spec),
        "shape": shape.name,
        "sourceDetails": source,
        "createVnicDetails": vnic,
        "metadata": {"user_data": user_data},
        # User-data has private keys: with this, who reads it must be able to send a header.
        "instanceOptions": {"areLegacyImdsEndpointsDisabled": True},
    }
    if fault_domain:
        details["faultDomain"] = fault_domain
    if shape.ocpus is not None:
        details["shapeConfig"] = {"ocpus": shape.ocpus, "memoryInGBs": shape.memory_gb}
    return details
