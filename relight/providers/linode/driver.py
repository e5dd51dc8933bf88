"""The driver of Linode (Akamai). The key is the label, which Linode keeps unique in an account.

Linode has neither zones nor tokens for creations: the label is the lock. A machine's disks go with
it; volumes are never made here, and those that a person attached are only detached.
"""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self
from urllib.parse import quote

from pydantic import JsonValue, TypeAdapter, model_validator

from relight.domain.machine import MachineAtProvider, MachineRef, Region
from relight.domain.sweep.sweep import ProviderListing
from relight.providers.api import ProviderApi, Response
from relight.providers.driver import (
    MachineConflictError,
    MachineSpec,
    ProviderAnswerError,
    ProviderInvalidError,
    UserDataLimit,
    adopted,
    require_user_data_fits,
)
from relight.providers.images import BaseImage, Remembered, newest_image
from relight.providers.linode.answers import (
    LinodeImage,
    LinodeInstance,
    LinodeProfile,
    LinodeRegion,
    classify,
    machine_of,
    utc,
)
from relight.providers.linode.images import MAX_TAG_CHARACTERS, LinodeImages
from relight.providers.linode.listing import read_listing
from relight.providers.locations import (
    Attempt,
    CapacityFallback,
    LocationSettings,
    ProviderSettings,
    read_secret,
)
from relight.providers.pages import Pages
from relight.providers.rate import Call, Rate, RateLimits
from relight.providers.report import ProviderReport, RegionReport
from relight.providers.tags import as_texts, tags_of

URL = "https://api.linode.com/v4"

RATES = {
    Call.READ: Rate(800, timedelta(minutes=1)),
    Call.CREATE: Rate(20, timedelta(seconds=15)),
    Call.DESTROY: Rate(800, timedelta(minutes=1)),
}

_EXTRA = {"firewall_id"}

_INSTANCE = TypeAdapter(LinodeInstance)
_IMAGE = TypeAdapter(LinodeImage)
_REGION = TypeAdapter(LinodeRegion)
_PROFILE = TypeAdapter(LinodeProfile)
_OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


class LinodeSettings(ProviderSettings):
    """How to log in to Linode.

    Attributes:
        token_file: the file with a personal access token of an unrestricted user, with the scopes
            `linodes:read_write` and `images:read_only`; with `images:read_write` it can also
            publish base images.
    """

    url: str = URL
    token_file: Path

    @model_validator(mode="after")
    def _fits_linode(self) -> Self:
        for name, location in self.locations.items():
            if location.zones:
                msg = f"locations.{name}: Linode has no zones"
                raise ValueError(msg)
            unknown = sorted(set(location.extra) - _EXTRA)
            if unknown:
                msg = f"locations.{name}: extra has {', '.join(unknown)}; known: firewall_id"
                raise ValueError(msg)
            if location.subnet and not location.subnet.isdigit():
                msg = f"locations.{name}: subnet is the number of a VPC's subnet"
                raise ValueError(msg)
        return self


class LinodeDriver(LinodeImages):
    """One account at Linode."""

    user_data_limit: UserDataLimit | None = UserDataLimit(65_535)

    def __init__(self, settings: LinodeSettings, limits: RateLimits | None = None) -> None:
        """Request nothing yet.

        Raises:
            SecretFileError: the token's file cannot be read.
        """
        self._settings = settings
        token = read_secret(settings.token_file).get_secret_value()
        api = ProviderApi(
            self.name,
            settings.url,
            {"Authorization": f"Bearer {token}"},
            settings.timeout,
            classify=classify,
            limits=limits or RateLimits(RATES),
        )
        super().__init__(api)
        self._fallback = CapacityFallback(self.name)
        self._remembered: Remembered[Sequence[LinodeImage]] = Remembered()

    async def regions(self) -> tuple[Region, ...]:
        """Return the configured regions."""
        return self._settings.regions(self.name)

    async def ensure(self, key: str, spec: MachineSpec) -> MachineAtProvider:
        """Adopt the machine of this key, or create it."""
        require_user_data_fits(self, f"create {key}", spec.user_data)
        location = self._settings.location(self.name, spec.region)
        found = await self.find(key)
        if found is not None:
            return adopted(found, spec)
        image = spec.image or location.image or await self._image(spec.region, location)
        if image is None:
            raise ProviderInvalidError(
                self.name,
                f"create {key}",
                f"there is no image {_wanted(location)} with cloud-init in {spec.region}",
            )
        return await self._fallback.create(
            key, location, lambda attempt: self._create(key, spec, location, attempt, image)
        )

    async def find(self, key: str) -> MachineAtProvider | None:
        """Return the machine of this key."""
        attempted = f"find {key}"
        found = await self._instances(attempted, {"label": key})
        machines = {machine.provider_id: machine for machine in found.items if machine.key == key}
        if len(machines) > 1:
            raise MachineConflictError(
                self.name, attempted, f"{len(machines)} machines have this label"
            )
        if not machines and not found.complete:
            raise ProviderAnswerError(self.name, attempted, "the listing is incomplete")
        return next(iter(machines.values()), None)

    async def get(self, provider_id: str) -> MachineAtProvider | None:
        """Return the machine with this id."""
        instance = await self._instance(f"find {provider_id}", provider_id)
        return None if instance is None else self._machine(*instance)

    async def list(self, region: str | None = None) -> ProviderListing:
        """Return every machine of the account."""
        asked_at = datetime.now(UTC)
        known = {} if region is None else {"region": region}
        found = await self._instances("list machines", known)
        machines = {
            machine.provider_id: machine
            for machine in found.items
            if region in {None, machine.region}
        }
        return ProviderListing(
            provider=self.name,
            asked_at=asked_at,
            machines=tuple(sorted(machines.values(), key=lambda machine: machine.key)),
            complete=found.complete,
        )

    async def destroy(self, machine: MachineRef) -> bool:
        """Request the machine's deletion; its disks are deleted with it."""
        attempted = f"destroy {machine.key}"
        found = await self._instance(attempted, machine.provider_id)
        if found is None:
            return False
        _, instance = found
        if instance.label != machine.key:
            raise MachineConflictError(
                self.name, attempted, f"{machine.provider_id} is labelled {instance.label}"
            )
        deleted = await self._api.request(attempted, "DELETE", _path(machine.provider_id))
        if deleted is not None:
            deleted.read(_OBJECT)
        return deleted is not None

    async def console(self, machine: MachineRef) -> str | None:
        """Return None: Linode's API gives no console."""
        del machine
        return None

    async def image_of(self, provider_id: str) -> str | None:
        """Return the id of the image that a machine was made of."""
        instance = await self._instance(f"find the image of {provider_id}", provider_id)
        return None if instance is None else instance[1].image

    async def close(self) -> None:
        """Close its connections."""
        await self._remembered.close()
        await self._api.close()

    async def report(self) -> ProviderReport:
        """Return what Linode says of the token, the regions, their shapes and their images."""
        response = await self._api.existing("read the profile", "GET", "/profile")
        profile = response.read(_PROFILE)
        scopes = tuple(response.headers.get("X-OAuth-Scopes", "").split())
        problems = (
            ("the user is restricted, and may not tag machines: use an unrestricted user",)
            if profile.restricted
            else ()
        )
        limits = {
            f"requests ({name})": value
            for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining")
            if (value := response.headers.get(name))
        }
        regions = [
            await self._region_report(name, location)
            for name, location in sorted(self._settings.locations.items())
        ]
        return ProviderReport(profile.username, scopes, tuple(regions), limits, problems)

    # ------------------------------------------------------------------ one call each

    async def _create(
        self, key: str, spec: MachineSpec, location: LocationSettings, attempt: Attempt, image: str
    ) -> MachineAtProvider:
        body = creation(key, spec, location, attempt, image)
        response = await self._api.existing(f"create {key}", "POST", "/linode/instances", json=body)
        created = self._machine(response, response.read(_INSTANCE))
        if created.key != key:
            raise response.unreadable(f"it is about {created.key}")
        return created

    async def _instance(
        self, attempted: str, provider_id: str
    ) -> tuple[Response, LinodeInstance] | None:
        if not (provider_id.isascii() and provider_id.isdigit()):
            return None  # It is none of Linode's ids, all of which are numbers.
        response = await self._api.request(attempted, "GET", _path(provider_id))
        if response is None:
            return None
        instance = response.read(_INSTANCE)
        if str(instance.id) != provider_id:
            raise response.unreadable(f"it is about {instance.id}, not {provider_id}")
        return response, instance

    async def _instances(
        self, attempted: str, known: Mapping[str, str]
    ) -> Pages[MachineAtProvider]:
        """Return the machines of a filter; an entry that is not understood makes it incomplete."""
        ordered = {**known, "+order_by": "id", "+order": "asc"}
        complete = True

        def read(response: Response, entry: JsonValue) -> MachineAtProvider | None:
            nonlocal complete
            try:
                instance = response.understood(lambda: _INSTANCE.validate_python(entry))
                return self._machine(response, instance)
            except ProviderAnswerError:
                complete = False
                return None

        path = "/linode/instances"
        pages = await read_listing(self._api, self.name, attempted, path, ordered)
        machines = [read(response, entry) for response, entry in pages.items]
        return Pages(
            tuple(machine for machine in machines if machine is not None),
            pages.complete and complete,
        )

    async def _image(self, region: str, location: LocationSettings) -> str | None:
        """Return the image of a location's machines; None if there is none that can be used."""
        images = await self._remembered.get("images", self._all_images)
        usable = [
            BaseImage(image.id, image.label, utc(image.created))
            for image in images
            if image.is_usable_in(region)
        ]
        if location.image:
            return location.image if location.image in {image.id for image in usable} else None
        newest = newest_image(usable, location.image_prefix)
        return None if newest is None else newest.id

    async def _all_images(self) -> Sequence[LinodeImage]:
        pages = await read_listing(self._api, self.name, "list images", "/images", {})
        return [_image_of(response, entry) for response, entry in pages.items]

    async def _region_report(self, name: str, location: LocationSettings) -> RegionReport:
        problems: list[str] = []
        response = await self._api.request("read a region", "GET", f"/regions/{quote(name)}")
        if response is None:
            problems.append("Linode has no such region")
        else:
            region = response.read(_REGION)
            if region.status != "ok":
                problems.append(f"its status is {region.status}")
            if "Metadata" not in region.capabilities:
                problems.append("it has no metadata service, so user-data does not arrive")
        for shape in location.shapes:
            path = f"/linode/types/{quote(shape, safe='')}"
            if await self._api.request("read a type", "GET", path) is None:
                problems.append(f"there is no shape {shape}")
        image = await self._image(name, location)
        if image is None:
            problems.append(f"there is no image {_wanted(location)} with cloud-init for it")
        return RegionReport(name, location.architecture, image, tuple(problems))

    def _machine(self, response: Response, found: LinodeInstance) -> MachineAtProvider:
        location = self._settings.locations.get(found.region)
        architecture = location.architecture if location else "amd64"
        return response.understood(lambda: machine_of(found, self.name, architecture))


def creation(
    key: str, spec: MachineSpec, location: LocationSettings, attempt: Attempt, image: str
) -> dict[str, JsonValue]:
    """Return the body of a creation. Nobody learns the root password, which Linode wants."""
    user_data = spec.user_data.get_secret_value()
    tags: list[JsonValue] = [*as_texts(tags_of(key, spec), MAX_TAG_CHARACTERS)]
    body: dict[str, JsonValue] = {
        "label": key,
        "region": spec.region,
        "type": attempt.shape,
        "image": image,
        "root_pass": secrets.token_urlsafe(48),
        "booted": True,
        "tags": tags,
        "metadata": {"user_data": base64.b64encode(user_data).decode()},
    }
    if location.subnet:
        body["interfaces"] = [
            {"purpose": "public", "primary": True},
            {"purpose": "vpc", "subnet_id": int(location.subnet)},
        ]
    if "firewall_id" in location.extra:
        body["firewall_id"] = int(str(location.extra["firewall_id"]))
    return body


def _wanted(location: LocationSettings) -> str:
    return location.image or f"{location.image_prefix}*"


def _image_of(response: Response, entry: JsonValue) -> LinodeImage:
    return response.understood(lambda: _IMAGE.validate_python(entry))


def _path(provider_id: str) -> str:
    return f"/linode/instances/{quote(provider_id, safe='')}"
