"""What Linode's API answers, as far as it is read. Fields that are not read may be anything."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_network
from typing import Annotated

import httpx
from pydantic import BaseModel, Field, JsonValue, StringConstraints

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
from relight.providers.tags import from_texts, read_tags

_STATUSES: Mapping[str, MachineStatus] = {
    "running": MachineStatus.RUNNING,
    "deleting": MachineStatus.DELETING,
    "offline": MachineStatus.FAILED,
    "shutting_down": MachineStatus.FAILED,
    "billing_suspension": MachineStatus.FAILED,
}
"""Every other status ends by itself: `provisioning`, `booting`, `migrating`."""

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
"""What the reasons of status 400 contain; the first that fits counts. Linode has no error codes."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class LinodeInstance(BaseModel):
    """A machine. Its times are in UTC, and do not say so."""

    id: int = Field(ge=1)
    label: Text
    region: Text
    type: str | None = None
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


class LinodeImage(BaseModel):
    """An image. A public one is in every region, and names none."""

    id: Text
    label: str
    created: datetime
    is_public: bool = False
    status: str = "available"
    deprecated: bool = False
    capabilities: tuple[str, ...] = ()
    regions: tuple[LinodeImageRegion, ...] = ()

    def is_usable_in(self, region: str) -> bool:
        """Return whether a machine of a region can be made of it, with user-data."""
        copies = [each.status for each in self.regions if each.region == region]
        is_there = "available" in copies or (self.is_public and not self.regions)
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


def utc(time: datetime) -> datetime:
    """Return a time of Linode's with its zone."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def classify(refusal: Refusal) -> ProviderError | None:
    """Return the error that Linode's reasons mean; None for a 404."""
    if refusal.status == httpx.codes.NOT_FOUND:
        return None
    words = "; ".join(_reasons(refusal))
    kind = error_for_status(refusal.status)
    if refusal.status == httpx.codes.BAD_REQUEST:
        found = (error for text, error in _REASONS if text in words.lower())
        kind = next(found, ProviderInvalidError)
    return refusal.error(kind, words)


def _reasons(refusal: Refusal) -> Iterator[str]:
    errors = refusal.fields.get("errors")
    for each in errors if isinstance(errors, list) else ():
        if isinstance(each, dict) and isinstance(each.get("reason"), str):
            field = f"{each['field']}: " if isinstance(each.get("field"), str) else ""
            yield f"{field}{each['reason']}"
