"""What Linode's API answers, as far as it is read. Fields that are not read may be anything."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_network
from typing import Annotated

import httpx
from pydantic import BaseModel, Field, JsonValue, StringConstraints

from relight.domain.image.image import ImageAtProvider, ImageStatus, Visibility
from relight.domain.machine import MachineAtProvider, MachineStatus
from relight.providers.api import Refusal, error_for_status
from relight.providers.driver import (
    ProviderCapacityError,
    ProviderError,
    ProviderInvalidError,
    ProviderQuotaError,
    ProviderUnavailableError,
)
from relight.providers.first_boot import may_boot
from relight.providers.image_driver import whole_answer
from relight.providers.tags import ARCHITECTURE, IDENTITY, OWNER, from_texts, read_tags

REGION = "relight-region"
"""The tag with the region of an upload: an image names no region until it is stored."""

_STATUSES: Mapping[str, MachineStatus] = {
    "running": MachineStatus.RUNNING,
    "deleting": MachineStatus.DELETING,
    "offline": MachineStatus.FAILED,
    "shutting_down": MachineStatus.FAILED,
    "billing_suspension": MachineStatus.FAILED,
}
"""Every other status ends by itself: `provisioning`, `booting`, `migrating`."""

_LEAVING, _TIMED_OUT = "pending deletion", "timedout"

_COPY_STATUSES: Mapping[str, ImageStatus] = {
    "available": ImageStatus.AVAILABLE,
    _LEAVING: ImageStatus.DELETING,
    _TIMED_OUT: ImageStatus.FAILED,
}
"""Every other status ends by itself: `creating`, `pending`, `replicating`, and the like."""

_PRIVATE = ip_network("192.168.128.0/17")
"""Linode's private addresses, which are listed with the public ones."""

_REASONS: Sequence[tuple[str, type[ProviderError]]] = (
    ("linode busy", ProviderUnavailableError),
    # It was taken after `find`, perhaps by our own request: it is searched again.
    ("label must be unique", ProviderUnavailableError),
    ("limit reached", ProviderQuotaError),
    ("quota", ProviderQuotaError),
    ("no open slots", ProviderCapacityError),
    ("capacity", ProviderCapacityError),
    ("sold out", ProviderCapacityError),
)
"""What the reasons of status 400 and 422 contain; the first that fits counts: it has no codes."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class LinodeInstance(BaseModel):
    """A machine. Its times are in UTC, and do not say so."""

    id: int = Field(ge=1)
    label: Text
    region: Text
    type: str | None = None
    image: str | None = None
    status: Text
    ipv4: tuple[IPv4Address, ...] = ()
    tags: tuple[str, ...] = ()
    created: datetime | None = None


class LinodePage(BaseModel):
    """A page of a listing; `page` and `pages` are 1-based."""

    data: list[JsonValue]
    page: int = Field(ge=1)
    pages: int = Field(ge=0)
    results: int = Field(ge=0)


class LinodeImageRegion(BaseModel):
    """A copy of an image in a region."""

    region: str
    status: str


class _SharedWith(BaseModel):
    """How many groups of other accounts may use an image."""

    sharegroup_count: int | None = None


class _Sharing(BaseModel):
    shared_with: _SharedWith | None = None


class LinodeImage(BaseModel):
    """An image. A public one is in every region, and names none."""

    id: Text
    label: str
    created: datetime
    is_public: bool | None = None
    status: str = "available"
    deprecated: bool = False
    capabilities: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    regions: tuple[LinodeImageRegion, ...] = ()
    image_sharing: _Sharing | None = None

    @property
    def kept_regions(self) -> list[str]:
        """The regions with a copy, without those that lose it or never got it."""
        gone = {_LEAVING, _TIMED_OUT}
        return [each.region for each in self.regions if each.status not in gone]

    @property
    def visibility(self) -> Visibility:
        """Who can use it."""
        shared = self.image_sharing and self.image_sharing.shared_with
        if self.is_public or (shared and shared.sharegroup_count):
            return Visibility.PUBLIC
        return Visibility.UNKNOWN if self.is_public is None else Visibility.PRIVATE

    def is_usable_in(self, region: str) -> bool:
        """Return whether a machine of a region can be made of it, with user-data."""
        copies = [each.status for each in self.regions if each.region == region]
        is_there = "available" in copies or bool(self.is_public and not self.regions)
        return is_there and self.status == "available" and "cloud-init" in self.capabilities


class LinodeRegion(BaseModel):
    """A region."""

    id: Text
    status: str
    capabilities: tuple[str, ...] = ()


class LinodeProfile(BaseModel):
    """The user of the token."""

    username: Text
    restricted: bool = False


def machine_of(found: LinodeInstance, provider: str, architecture: str) -> MachineAtProvider:
    """Return the machine that an answer describes.

    Raises:
        pydantic.ValidationError: a field has no value that it can have.
    """
    tags = read_tags(from_texts(found.tags))
    created_at = None if found.created is None else utc(found.created)
    status = _STATUSES.get(found.status, MachineStatus.PROVISIONING)
    if found.status == "offline" and may_boot(created_at):
        status = MachineStatus.PROVISIONING
    return MachineAtProvider(
        key=found.label,
        provider=provider,
        provider_id=str(found.id),
        region=found.region,
        architecture=architecture,
        status=status,
        address=next((str(each) for each in found.ipv4 if each not in _PRIVATE), None),
        owner=tags.owner,
        generation=tags.generation,
        created_by=tags.created_by,
        created_at=created_at,
    )


def image_at(
    image: LinodeImage, region: str | None, provider: str, answer: JsonValue
) -> ImageAtProvider | None:
    """Return an image as it is in a region; None if it is not there and not ordered for it.

    Args:
        image: as read.
        region: None for the image as a whole, in whichever regions it is.
        provider: the driver's name.
        answer: all that Linode says of it.
    """
    tags = from_texts(image.tags)
    copies = {each.region: each.status for each in image.regions}
    if region is None:
        region = next(iter(copies), tags.get(REGION, ""))
        status = ImageStatus.AVAILABLE if image.status == "available" else ImageStatus.IMPORTING
    elif region in copies:
        status = _COPY_STATUSES.get(copies[region], ImageStatus.IMPORTING)
    elif not copies and tags.get(REGION) == region:
        status = ImageStatus.IMPORTING
    else:
        return None
    return ImageAtProvider(
        name=image.label,
        provider=provider,
        region=region,
        image_id=image.id,
        status=status,
        architecture=tags.get(ARCHITECTURE),
        visibility=image.visibility,
        owner=tags.get(OWNER) or None,
        identity=tags.get(IDENTITY) or None,
        created_at=utc(image.created),
        words=whole_answer(answer) if status is ImageStatus.FAILED else "",
    )


def utc(time: datetime) -> datetime:
    """Return a time of Linode's with its zone."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def classify(refusal: Refusal) -> ProviderError | None:
    """Return the error that Linode's reasons mean; None for a 404."""
    if refusal.status == httpx.codes.NOT_FOUND:
        return None
    words = "; ".join(_reasons(refusal))
    kind = error_for_status(refusal.status)
    if refusal.status in (httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY):
        found = (error for text, error in _REASONS if text in words.lower())
        kind = next(found, ProviderInvalidError)
    return refusal.error(kind, words)


def _reasons(refusal: Refusal) -> Iterator[str]:
    errors = refusal.fields.get("errors")
    for each in errors if isinstance(errors, list) else ():
        if isinstance(each, dict) and isinstance(each.get("reason"), str):
            field = f"{each['field']}: " if isinstance(each.get("field"), str) else ""
            yield f"{field}{each['reason']}"
