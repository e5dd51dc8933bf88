"""The driver of OpenStack: the project of one cloud in `clouds.yaml`, in one or more regions.

Nova has no token for a creation, and accepts a name twice. So a machine is looked for before it is
created, and again after an answer that was lost; the tags are metadata of the same request.
"""

import asyncio
import base64
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from pydantic import JsonValue

from relight.domain.duration import span
from relight.domain.machine import MachineAtProvider, MachineRef, MachineStatus, Region
from relight.domain.sweep.sweep import ProviderListing
from relight.providers.driver import (
    MachineConflictError,
    MachineSpec,
    ProviderError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
    UserDataLimit,
    adopted,
    require_user_data_fits,
)
from relight.providers.locations import (
    Attempt,
    CapacityFallback,
    LocationSettings,
)
from relight.providers.openstack.api import OpenStackApi
from relight.providers.openstack.cloud import read_cloud
from relight.providers.openstack.compute import Compute
from relight.providers.openstack.floating import FloatingAddresses
from relight.providers.openstack.images import OpenStackImages
from relight.providers.openstack.names import OpenStackNames
from relight.providers.openstack.recent import RecentCreations
from relight.providers.openstack.report import limits_of, region_report
from relight.providers.openstack.server import Server
from relight.providers.openstack.settings import (
    CONFIG_DRIVE,
    FLOATING_NETWORK,
    SECURITY_GROUPS,
    VOLUME_TYPE,
    OpenStackSettings,
)
from relight.providers.report import ProviderReport, RegionReport
from relight.providers.tags import read_tags, tags_of

PLACED_WITHIN: Final = timedelta(seconds=20)
"""How long a creation waits for nova to choose a host: only then is it known that none has room."""

GONE_WITHIN: Final = timedelta(seconds=20)
"""How long a machine that never ran may take to be deleted."""

TAG: Final = "relight"
"""Nova's own tag on each machine, for people: `openstack server list --tags relight`."""


class _Seen(NamedTuple):
    """A server, where it was seen, and the machine that it is."""

    region: str
    server: Server
    machine: MachineAtProvider


class OpenStackDriver(OpenStackImages):
    """The machine's key is the server's name."""

    name = "openstack"
    user_data_limit: UserDataLimit | None = UserDataLimit(65_535, is_encoded=True)

    def __init__(
        self,
        settings: OpenStackSettings,
        *,
        settle: timedelta = timedelta(seconds=30),
        poll: timedelta = timedelta(seconds=1),
    ) -> None:
        """Request nothing yet.

        Args:
            settings: of the cloud.
            settle: how long after a request to create a machine a listing may lack it.
            poll: between two looks at a machine that is created or deleted.

        Raises:
            SecretFileError: a file of clouds cannot be used.
        """
        cloud = read_cloud(settings.clouds_file, settings.cloud, settings.secure_file)
        self._settings = settings
        self._poll = poll.total_seconds()
        super().__init__(self.name, OpenStackApi(self.name, cloud, settings.timeout))
        self._compute = Compute(self.name, self._api)
        self._names = OpenStackNames(self.name, self._api)
        self._floating = FloatingAddresses(self.name, self._api)
        self._recent = RecentCreations(settle)
        self._capacity = CapacityFallback(self.name)

    async def regions(self) -> tuple[Region, ...]:
        """Return every region that is configured."""
        return self._settings.regions(self.name)

    async def ensure(self, key: str, spec: MachineSpec) -> MachineAtProvider:
        """Adopt the machine of this key, or create it where there is room.

        A machine that nova could not place anywhere is deleted before the next attempt.
        """
        require_user_data_fits(self, f"create {key}", spec.user_data)
        location = self._settings.location(self.name, spec.region)
        async with self._recent.alone(key):
            found = await self._find(key)
            while found is None and self._recent.is_recent(key):
                await asyncio.sleep(self._poll)
                found = await self._find(key)
            if found is not None:
                adopted(found.machine, spec)
                if found.server.refusal is None:
                    return await self._addressed(found)
                await self._remove(found)
            return await self._capacity.create(
                key, location, lambda attempt: self._create(key, spec, location, attempt)
            )

    async def find(self, key: str) -> MachineAtProvider | None:
        """Return the machine of this key."""
        found = await self._find(key)
        return None if found is None else found.machine

    async def get(self, provider_id: str) -> MachineAtProvider | None:
        """Return the machine with this id."""
        found = await self._get(f"find {provider_id}", provider_id)
        return None if found is None else found.machine

    async def list(self, region: str | None = None) -> ProviderListing:
        """Return every server of the project.

        It is incomplete if a part of the cloud is down, or an entry is not understood.
        """
        asked_at = datetime.now(UTC)
        regions = sorted(self._settings.locations) if region is None else [region]
        listings = await asyncio.gather(*(self._compute.listed(each) for each in regions))
        machines = [
            self._seen(each, server).machine
            for each, (servers, _) in zip(regions, listings, strict=True)
            for server in servers
        ]
        return ProviderListing(
            provider=self.name,
            asked_at=asked_at,
            machines=tuple(sorted(machines, key=lambda machine: machine.key)),
            complete=all(is_complete for _, is_complete in listings),
        )

    async def destroy(self, machine: MachineRef) -> bool:
        """Request the server's deletion, with its boot volume and its floating address."""
        attempted = f"destroy {machine.key}"
        found = await self._get(attempted, machine.provider_id)
        if found is not None and found.machine.key != machine.key:
            raise MachineConflictError(
                self.name, attempted, f"{machine.provider_id} is named {found.machine.key}"
            )
        for region in self._settings.locations if found is None else [found.region]:
            if self._floating_network(region):
                await self._floating.release(region, machine.key, machine.provider_id)
        if found is None:
            self._recent.forget(machine.key)
            return False
        return await self._compute.delete(found.region, attempted, found.server)

    async def console(self, machine: MachineRef) -> str | None:
        """Return the last lines of the server's console."""
        attempted = f"read the console of {machine.key}"
        found = await self._get(attempted, machine.provider_id)
        if found is None:
            return None
        return await self._compute.console(found.region, attempted, machine.provider_id)

    async def image_of(self, provider_id: str) -> str | None:
        """Return the id of a server's image; None for one that boots from a volume."""
        found = await self._get(f"find the image of {provider_id}", provider_id)
        image = None if found is None else found.server.image
        return image.id if image else None

    async def report(self) -> ProviderReport:
        """Return what the cloud says of the project, and of each configured region."""
        account, roles = await self._api.account()
        limits: dict[str, str] = {}
        regions: list[RegionReport] = []
        for name, location in sorted(self._settings.locations.items()):
            limits |= await limits_of(self._api, name)
            regions.append(await region_report(self._api, self._names, name, location))
        return ProviderReport(account, roles, tuple(regions), limits)

    async def close(self) -> None:
        """Close its connections."""
        await self._api.close()

    async def _find(self, key: str) -> _Seen | None:
        """Return the server of a key, even one of a recent creation that is not listed yet."""
        regions = sorted(self._settings.locations)
        listings = await asyncio.gather(*(self._compute.named(each, key) for each in regions))
        found = [
            self._seen(region, server)
            for region, servers in zip(regions, listings, strict=True)
            for server in servers
        ]
        if len(found) > 1:
            ids = ", ".join(sorted(each.server.id for each in found))
            raise MachineConflictError(
                self.name, f"find {key}", f"{len(found)} machines have this name: {ids}"
            )
        if found:
            return found[0]
        recent = self._recent.id_of(key)
        created = None if recent is None else await self._get(f"find {key}", recent)
        if recent is not None and created is None:
            self._recent.forget(key)
        return created

    async def _get(self, attempted: str, provider_id: str) -> _Seen | None:
        """Return the server with an id, in whatever region it is."""
        regions = sorted(self._settings.locations)
        found = await asyncio.gather(
            *(self._compute.get(each, attempted, provider_id) for each in regions)
        )
        for region, server in zip(regions, found, strict=True):
            if server is not None:
                return self._seen(region, server)
        return None

    def _seen(self, region: str, server: Server) -> _Seen:
        tags = read_tags(server.metadata)
        machine = MachineAtProvider(
            key=server.name,
            provider=self.name,
            provider_id=server.id,
            region=region,
            architecture=self._settings.location(self.name, region).architecture,
            status=server.machine_status,
            address=server.address(is_floating=bool(self._floating_network(region))),
            owner=tags.owner,
            generation=tags.generation,
            created_by=tags.created_by,
            created_at=server.created,
        )
        return _Seen(region, server, machine)

    async def _create(
        self, key: str, spec: MachineSpec, location: LocationSettings, attempt: Attempt
    ) -> MachineAtProvider:
        attempted = f"create {key}"
        server = await self._server(key, spec, location, attempt)
        self._recent.note(key)
        try:
            provider_id = await self._compute.create(spec.region, attempted, server)
        except (ProviderError, asyncio.CancelledError) as error:
            if _is_unclear(error):
                self._recent.note(key)
            else:
                self._recent.forget(key)
                self._names.forget()
            raise
        self._recent.note(key, provider_id)
        created = await self._placed(spec.region, attempted, provider_id)
        refusal = created.server.refusal
        if refusal is None:
            return await self._addressed(created)
        await self._remove(created)
        raise refusal(self.name, attempted, created.server.fault_words)

    async def _server(
        self, key: str, spec: MachineSpec, location: LocationSettings, attempt: Attempt
    ) -> dict[str, JsonValue]:
        """Return the server to create, as nova takes it."""
        region, extra = spec.region, location.extra
        image = await self._names.image(region, location, spec.image)
        server: dict[str, Any] = {
            "name": key,
            "flavorRef": await self._names.flavor(region, attempt.shape),
            "metadata": tags_of(key, spec),
            "tags": [TAG],
            "user_data": base64.b64encode(spec.user_data.get_secret_value()).decode(),
            "networks": "auto",
        }
        if location.subnet:
            server["networks"] = [{"uuid": await self._names.network(region, location.subnet)}]
        if attempt.zone:
            server["availability_zone"] = attempt.zone
        groups = extra.get(SECURITY_GROUPS)
        if isinstance(groups, tuple):
            server["security_groups"] = [{"name": name} for name in groups]
        if extra.get(CONFIG_DRIVE):
            server["config_drive"] = True
        if location.disk_gib is None:
            return server | {"imageRef": image}
        volume: dict[str, Any] = {
            "boot_index": 0,
            "source_type": "image",
            "uuid": image,
            "destination_type": "volume",
            "volume_size": location.disk_gib,
            "delete_on_termination": True,
        }
        if volume_type := extra.get(VOLUME_TYPE):
            volume["volume_type"] = volume_type
        return server | {"block_device_mapping_v2": [volume]}

    async def _placed(self, region: str, attempted: str, provider_id: str) -> _Seen:
        """Return a new server once nova has chosen its host, found none, or taken too long."""
        deadline = time.monotonic() + PLACED_WITHIN.total_seconds()
        while True:
            server = await self._compute.get(region, attempted, provider_id)
            is_over = time.monotonic() >= deadline
            if server is not None and (server.is_placed or is_over):
                return self._seen(region, server)
            if is_over:
                raise ProviderUnavailableError(
                    self.name, attempted, f"{provider_id} was created, and is not found"
                )
            await asyncio.sleep(self._poll)

    async def _addressed(self, found: _Seen) -> MachineAtProvider:
        """Return a machine after it was given a floating address, if its region has them."""
        network = self._floating_network(found.region)
        if network and found.machine.status in {MachineStatus.PROVISIONING, MachineStatus.RUNNING}:
            network_id = await self._names.network(found.region, network)
            await self._floating.ensure(
                found.region, network_id, found.machine.key, found.server.id
            )
        return found.machine

    async def _remove(self, found: _Seen) -> None:
        """Delete a server that never ran, and return when it is gone."""
        attempted = f"remove {found.machine.key}, which was not started"
        await self.destroy(found.machine.ref)
        deadline = time.monotonic() + GONE_WITHIN.total_seconds()
        while await self._compute.get(found.region, attempted, found.server.id) is not None:
            if time.monotonic() >= deadline:
                raise ProviderUnavailableError(
                    self.name,
                    attempted,
                    f"{found.server.id} still exists after {span(GONE_WITHIN)}",
                )
            await asyncio.sleep(self._poll)

    def _floating_network(self, region: str) -> str:
        return str(self._settings.location(self.name, region).extra.get(FLOATING_NETWORK, ""))


def _is_unclear(error: BaseException) -> bool:
    """Return whether a creation that failed, or was cancelled, may have made a machine."""
    if not isinstance(error, ProviderError):
        return True
    is_rate_limited = isinstance(error, ProviderRateLimitedError)
    return isinstance(error, ProviderUnavailableError) and not is_rate_limited
