"""The driver of Alibaba Cloud ECS.

A machine's provider id is `REGION:INSTANCE-ID`, because each region has an API of its own. The
machine key is the tag `relight-key`, because names need not be unique. The system disk and the
public address go with the instance.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import httpx

from relight.domain.machine import MachineAtProvider, MachineRef, MachineStatus, Region
from relight.domain.sweep.sweep import ProviderListing
from relight.providers.alibaba.creation import creation, where
from relight.providers.alibaba.errors import TokenMismatchError
from relight.providers.alibaba.images import AlibabaImages
from relight.providers.alibaba.region import AlibabaRegion
from relight.providers.alibaba.report import report_of
from relight.providers.alibaba.settings import AlibabaSettings
from relight.providers.alibaba.signature import Acs3Auth
from relight.providers.alibaba.spent_tokens import SpentTokens
from relight.providers.alibaba.unlisted import LISTED_WITHIN, Unlisted
from relight.providers.driver import (
    MachineConflictError,
    MachineSpec,
    ProviderAnswerError,
    ProviderCapacityError,
    ProviderInvalidError,
    ProviderUnavailableError,
    UserDataLimit,
    adopted,
    require_user_data_fits,
)
from relight.providers.images import BaseImage, Remembered
from relight.providers.locations import Attempt, CapacityFallback, LocationSettings, read_token
from relight.providers.report import ProviderReport
from relight.providers.tags import KEY
from relight.providers.token import create_token

FAMILY: Final = "family:"
"""Before the name of an image family, where an image's id may stand: its newest image."""


class AlibabaDriver(AlibabaImages):
    """One account. A token is the lock of a creation."""

    name = "alibaba"
    user_data_limit: UserDataLimit | None = UserDataLimit(32 * 1024)

    def __init__(
        self,
        settings: AlibabaSettings,
        auth: httpx.Auth | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Request nothing yet.

        Args:
            settings: of the account.
            auth: signs the requests; None: with the access key of the settings.
            clock: seconds.

        Raises:
            SecretFileError: the access key's secret cannot be read.
        """
        auth = auth or Acs3Auth(settings.key_id, read_token(settings.key_file))

        def region(name: str, location: LocationSettings) -> AlibabaRegion:
            return AlibabaRegion(self.name, name, location, settings, auth)

        regions = {name: region(name, each) for name, each in settings.locations.items()}
        super().__init__(self.name, regions, settings, region)
        self._fallback = CapacityFallback(self.name)
        self._newest: Remembered[BaseImage | None] = Remembered(clock)
        self._tokens = SpentTokens(clock)
        self._unlisted = Unlisted(clock)

    async def regions(self) -> tuple[Region, ...]:
        """Return every configured region."""
        return self._settings.regions(self.name)

    async def ensure(self, key: str, spec: MachineSpec) -> MachineAtProvider:
        """Adopt the machine of this key in the spec's region, or create it."""
        attempted, region = f"create {key}", self._region(spec.region)
        found = await self._find_in(region, key)
        if found is not None:
            return adopted(found, spec)
        require_user_data_fits(self, attempted, spec.user_data)
        params = {**creation(key, spec, region), **await self._image(region, spec)}

        async def create(attempt: Attempt) -> MachineAtProvider:
            return await self._create(key, spec, region, attempt, params)

        return adopted(await self._fallback.create(key, region.location, create), spec)

    async def find(self, key: str) -> MachineAtProvider | None:
        """Return the machine of this key."""
        found = await asyncio.gather(*(self._find_in(each, key) for each in self._regions.values()))
        return self._only(key, [machine for machine in found if machine is not None])

    async def get(self, provider_id: str) -> MachineAtProvider | None:
        """Return the machine with this id; one without a region is searched in each."""
        regions, instance_id = self._place(provider_id)
        for region in regions:
            found = await self._get_in(region, instance_id)
            if found is not None:
                return found
        return None

    async def list(self, region: str | None = None) -> ProviderListing:
        """Return every machine in the configured regions.

        A machine whose entry is not understood is left out, and the listing is incomplete.
        """
        asked_at, attempted = datetime.now(UTC), "list machines"
        regions = [self._region(region)] if region is not None else [*self._regions.values()]
        found = await asyncio.gather(*(each.machines(attempted, {}) for each in regions))
        entries = [entry for entries in found for entry in entries]
        names = {each.name for each in regions}
        machines = await self._completed(
            attempted,
            (each for each in entries if isinstance(each, MachineAtProvider)),
            lambda machine: machine.region in names,
        )
        return ProviderListing(
            provider=self.name,
            asked_at=asked_at,
            machines=tuple(sorted(machines, key=lambda machine: machine.key)),
            complete=all(isinstance(each, MachineAtProvider) for each in entries),
        )

    async def destroy(self, machine: MachineRef) -> bool:
        """Request the machine's deletion."""
        attempted = f"destroy {machine.key}"
        found = await self.get(machine.provider_id)
        if found is None:
            await self._require_absent(attempted, machine.provider_id)
            return False
        if found.key != machine.key:
            raise MachineConflictError(
                self.name, attempted, f"{machine.provider_id} is labelled {found.key}"
            )
        [region], instance_id = self._place(found.provider_id)
        existed = await region.delete(attempted, instance_id)
        if not existed:
            self._unlisted.remove(found.provider_id)
        return existed

    async def console(self, machine: MachineRef) -> str | None:
        """Return the last lines of the machine's console; None while it does not run."""
        regions, instance_id = self._place(machine.provider_id)
        for region in regions:
            output = await region.console(f"read the console of {machine.key}", instance_id)
            if output is not None:
                return output
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._newest.close()
        for region in (*self._regions.values(), *self._left.values()):
            await region.close()

    async def report(self) -> ProviderReport:
        """Return what a dry run of a creation says in each region, zone and shape."""
        regions = [region for _, region in sorted(self._regions.items())]
        return await report_of(self._settings.key_id, regions, self._image)

    async def _create(
        self,
        key: str,
        spec: MachineSpec,
        region: AlibabaRegion,
        attempt: Attempt,
        params: Mapping[str, str],
    ) -> MachineAtProvider:
        token = self._tokens.unspent(
            lambda number: create_token(
                key,
                spec.generation,
                attempt.zone,
                f"{attempt.shape} {number}" if number else attempt.shape,
                spec.user_data,
            )
        )
        tried = {**params, **where(region, attempt), "ClientToken": token}
        try:
            instance_id = await region.create(f"create {key}", tried)
        except ProviderCapacityError:
            self._tokens.spend(token)
            raise
        except TokenMismatchError:
            # Another run's request has the token. If it made a machine, that will be listed.
            self._tokens.spend(token, LISTED_WITHIN)
            raise
        self._tokens.spend(token, LISTED_WITHIN)
        created = MachineAtProvider(
            key=key,
            provider=self.name,
            provider_id=f"{region.name}:{instance_id}",
            region=region.name,
            architecture=region.location.architecture,
            status=MachineStatus.PROVISIONING,
            owner=spec.owner,
            generation=spec.generation,
            created_by=spec.created_by or None,
        )
        self._unlisted.add(created)
        return await self._get_in(region, instance_id) or created

    async def _image(self, region: AlibabaRegion, spec: MachineSpec) -> Mapping[str, str]:
        """Return the parameter that names the image.

        Raises:
            ProviderInvalidError: the region has no image whose name begins with the prefix.
            ProviderError: the images could not be listed.
        """
        location = region.location
        named = spec.image or location.image
        if named.startswith(FAMILY):
            return {"ImageFamily": named.removeprefix(FAMILY)}
        if named:
            return {"ImageId": named}
        newest = await self._newest.get(region.name, region.newest_image)
        if newest is None:
            raise ProviderInvalidError(
                self.name,
                f"find the image of {region.name}",
                f"there is none for {location.architecture} whose name begins with "
                f"{location.image_prefix}",
            )
        return {"ImageId": newest.id}

    async def _get_in(self, region: AlibabaRegion, instance_id: str) -> MachineAtProvider | None:
        provider_id = f"{region.name}:{instance_id}"
        machines = await self._machines(
            f"find {provider_id}",
            region,
            {"InstanceIds": json.dumps([instance_id])},
            lambda machine: machine.provider_id == provider_id,
        )
        return machines[0] if machines else None

    async def _find_in(self, region: AlibabaRegion, key: str) -> MachineAtProvider | None:
        machines = await self._machines(
            f"find {key}",
            region,
            {"Tag.1.Key": KEY, "Tag.1.Value": key},
            lambda machine: (machine.region, machine.key) == (region.name, key),
        )
        return self._only(key, machines)

    def _only(self, key: str, machines: Sequence[MachineAtProvider]) -> MachineAtProvider | None:
        if len(machines) > 1:
            ids = ", ".join(machine.provider_id for machine in machines)
            raise MachineConflictError(self.name, f"find {key}", f"several have this label: {ids}")
        return machines[0] if machines else None

    async def _machines(
        self,
        attempted: str,
        region: AlibabaRegion,
        params: Mapping[str, str],
        belongs: Callable[[MachineAtProvider], bool],
    ) -> Sequence[MachineAtProvider]:
        """Return the machines that a listing has, or lacks only because they are new."""
        machines: list[MachineAtProvider] = []
        for entry in await region.machines(attempted, params):
            # Each has to be understood: one that is not may be the machine.
            if isinstance(entry, ProviderAnswerError):
                raise entry
            machines.append(entry)
        found = await self._completed(attempted, machines, belongs)
        return [each for each in found if belongs(each)]

    async def _completed(
        self,
        attempted: str,
        listed: Iterable[MachineAtProvider],
        belongs: Callable[[MachineAtProvider], bool],
    ) -> Sequence[MachineAtProvider]:
        """Return the machines of a listing, each once, and those that it lacks and that exist."""
        found = {machine.provider_id: machine for machine in listed}
        missing = self._unlisted.missing(found, belongs)
        exist = await asyncio.gather(
            *(self._exists(attempted, machine.provider_id) for machine in missing)
        )
        for machine, exists in zip(missing, exist, strict=True):
            if exists:
                found[machine.provider_id] = machine
            else:
                self._unlisted.remove(machine.provider_id)
        return [*found.values()]

    async def _exists(self, attempted: str, provider_id: str) -> bool:
        regions, instance_id = self._place(provider_id)
        for region in regions:
            if await region.exists(attempted, instance_id):
                return True
        return False

    async def _require_absent(self, attempted: str, provider_id: str) -> None:
        """Check that an instance which is not listed does not exist either.

        Raises:
            ProviderUnavailableError: it exists, and its key is not known yet.
        """
        if await self._exists(attempted, provider_id):
            raise ProviderUnavailableError(
                self.name, attempted, f"{provider_id} exists, but is not listed yet"
            )

    def _place(self, provider_id: str) -> tuple[tuple[AlibabaRegion, ...], str]:
        """Return the regions that an instance may be in, and the vendor's id of it.

        Raises:
            UnknownLocationError: its region is not configured any more.
        """
        region, _, instance_id = provider_id.rpartition(":")
        regions = (self._region(region),) if region else tuple(self._regions.values())
        return regions, instance_id
