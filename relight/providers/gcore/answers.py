"""What Gcore's API answers: its machines, its tasks, and its errors as ours."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyAddress,
    JsonValue,
    StringConstraints,
)

from relight.domain.machine import MachineAtProvider, MachineStatus
from relight.domain.text import visible_head, without_queries
from relight.providers.api import SHOWN_CHARACTERS, Refusal, error_for_status
from relight.providers.driver import (
    ProviderAnswerError,
    ProviderCapacityError,
    ProviderCredentialsError,
    ProviderError,
    ProviderInvalidError,
    ProviderQuotaError,
    ProviderUnavailableError,
)
from relight.providers.tags import read_tags

Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Id = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{1,64}$")]
Architecture = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


def _in_utc(time: datetime | None) -> datetime | None:
    # The API's own times have no time zone.
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


Time = Annotated[datetime | None, AfterValidator(_in_utc)]

DEBIAN_ARCHITECTURE: Mapping[str, str] = {"x86_64": "amd64", "aarch64": "arm64"}

GONE = "DELETED"

_STATUSES = {
    "ACTIVE": MachineStatus.RUNNING,
    "VERIFY_RESIZE": MachineStatus.RUNNING,
    # These run again by themselves.
    "BUILD": MachineStatus.PROVISIONING,
    "HARD_REBOOT": MachineStatus.PROVISIONING,
    "MIGRATING": MachineStatus.PROVISIONING,
    "PASSWORD": MachineStatus.PROVISIONING,
    "REBOOT": MachineStatus.PROVISIONING,
    "REBUILD": MachineStatus.PROVISIONING,
    "RESIZE": MachineStatus.PROVISIONING,
    "REVERT_RESIZE": MachineStatus.PROVISIONING,
    "UNKNOWN": MachineStatus.PROVISIONING,
    # It can be restored until it is reclaimed, and its volumes are there: it is not gone.
    "SOFT_DELETED": MachineStatus.DELETING,
    # It does not start by itself.
    "ERROR": MachineStatus.FAILED,
    "PAUSED": MachineStatus.FAILED,
    "RESCUE": MachineStatus.FAILED,
    "SHELVED": MachineStatus.FAILED,
    "SHELVED_OFFLOADED": MachineStatus.FAILED,
    "SHUTOFF": MachineStatus.FAILED,
    "SUSPENDED": MachineStatus.FAILED,
}
"""A status that is not here says nothing."""


class TaskIds(BaseModel):
    """The answer to what takes time."""

    tasks: list[Id] = Field(min_length=1)


class Found(BaseModel):
    """A page of a listing; `count` is of all pages."""

    count: int = Field(ge=0)
    results: list[JsonValue]


class Created(BaseModel):
    """What a task has made."""

    instances: list[Id] | None = None
    images: list[Id] | None = None


class Task(BaseModel):
    """A task: NEW, RUNNING, FINISHED or ERROR. What is not read of it is kept, too."""

    model_config = ConfigDict(extra="allow")

    id: Id
    state: str
    task_type: str = ""
    created_on: Time = None
    finished_on: Time = None
    region_id: int | None = None
    data: JsonValue = None
    error: str | None = None
    created_resources: Created | None = None

    @property
    def is_pending(self) -> bool:
        """Whether it may still change something."""
        return self.state not in {"FINISHED", "ERROR"}

    @property
    def name(self) -> str | None:
        """The name of the machine or the image that it makes; None if it does not say."""
        return self._of_data("name")

    @property
    def shape(self) -> str | None:
        """The flavor of the machine that it makes; None if it does not say."""
        return self._of_data("flavor_name") or self._of_data("flavor")

    @property
    def instances(self) -> list[str]:
        """The ids of the machines that it has made."""
        return (self.created_resources and self.created_resources.instances) or []

    @property
    def image(self) -> str | None:
        """The id of the image that it has made."""
        images = self.created_resources and self.created_resources.images
        return images[0] if images else None

    def made_in(self, region: int) -> list[str]:
        """Return the ids of the machines that it has made in a region, or perhaps there."""
        return self.instances if self.region_id in {None, region} else []

    def _of_data(self, key: str) -> str | None:
        value = self.data.get(key) if isinstance(self.data, dict) else None
        return value if isinstance(value, str) else None


class Tag(BaseModel):
    """A tag of ours, or of the provider."""

    key: str
    value: str


class _Attached(BaseModel):
    id: Id
    is_marked: bool = Field(default=False, alias="delete_on_termination")


class _Flavor(BaseModel):
    architecture: Architecture


class _Address(BaseModel):
    addr: IPvAnyAddress
    type: str


class Instance(BaseModel):
    """A machine."""

    id: Id
    name: Name
    status: str
    created_at: AwareDatetime | None = None
    flavor: _Flavor
    tags: list[Tag] = []
    addresses: Mapping[str, list[_Address]] = {}
    volumes: list[_Attached] = []
    task_id: Id | None = None
    task_state: str | None = None

    @property
    def tags_by_key(self) -> dict[str, str]:
        """All of its tags, also those of the provider."""
        return {tag.key: tag.value for tag in self.tags}


class Volume(BaseModel):
    """A volume, attached or not."""

    id: Id
    attachments: list[JsonValue] | None = None
    volume_image_metadata: Mapping[str, JsonValue] | None = None


class Image(BaseModel):
    """An image in one region. What is not read of it is kept, too."""

    model_config = ConfigDict(extra="allow")

    id: Id
    name: str
    architecture: str
    status: str
    min_disk: int = Field(ge=0)
    created_at: Time = None
    visibility: str | None = None
    tags_v2: list[Tag] = []
    creator_task_id: str | None = None
    task_id: str | None = None


class Project(BaseModel):
    """The project: whose it is."""

    name: str
    client_id: int
    state: str


class RegionName(BaseModel):
    """A region: its number, and the name that the vendor advises for it."""

    id: int
    slug: str


class RegionState(BaseModel):
    """A region, as the API describes it."""

    display_name: str
    state: str
    has_kvm: bool


class Flavor(BaseModel):
    """A shape in one region."""

    flavor_name: str
    architecture: str
    disabled: bool


def machine_of(
    instance: Instance, *, provider: str, region: str, provider_id: str
) -> MachineAtProvider:
    """Return a machine as all drivers describe it."""
    tags = read_tags(instance.tags_by_key)
    status = _STATUSES.get(instance.status, MachineStatus.PROVISIONING)
    if instance.task_state == "deleting":
        status = MachineStatus.DELETING
    architecture = instance.flavor.architecture
    return MachineAtProvider(
        key=instance.name,
        provider=provider,
        provider_id=provider_id,
        region=region,
        architecture=DEBIAN_ARCHITECTURE.get(architecture, architecture),
        status=status,
        address=_address(address for each in instance.addresses.values() for address in each),
        owner=tags.owner,
        generation=tags.generation,
        created_by=tags.created_by,
        created_at=instance.created_at,
    )


def _address(addresses: Iterable[_Address]) -> str | None:
    """Return the address for SSH: a floating one, then a public one, then IPv4."""
    ordered = sorted(
        addresses,
        key=lambda each: (each.type != "floating", each.addr.is_private, each.addr.version),
    )
    return str(ordered[0].addr) if ordered else None


class GcoreNotFoundError(ProviderInvalidError):
    """The project, the region, or what else the request names does not exist."""


class GcoreConflictError(ProviderUnavailableError):
    """Something else is done with it now, or something needs it: the words say which."""


_NO_ROOM = re.compile(
    r"reached the limit of flavor|no valid host|not enough (hosts|resources|capacity)"
    r"|(insufficient|out of|no|lack of) (\w+ )?(capacity|resources|stock)",
    re.IGNORECASE,
)
_NO_PERMISSION = re.compile(r"permission|not permitted|not allowed|access|role", re.IGNORECASE)
_QUOTA = re.compile(r"\bquota\b", re.IGNORECASE)
_PARTIAL_TOKEN = re.compile(r"(Bad permanent token).*", re.DOTALL)


def classify(refusal: Refusal) -> ProviderError:
    """Return the error that a refusal is; what does not exist is a `GcoreNotFoundError`."""
    code, message = (str(refusal.fields.get(key) or "") for key in ("exception_class", "message"))
    # That message has a part of the key.
    message = _PARTIAL_TOKEN.sub(r"\1", message)
    words = ": ".join(filter(None, (code, message)))
    return refusal.error(_kind(refusal.status, code, message), words)


def _kind(status: int, code: str, message: str) -> type[ProviderError]:
    match status, code:
        case (_, "QuotaLimitExceed"):
            return ProviderQuotaError
        case (404, "NotFoundError"):
            return GcoreNotFoundError
        case (404, _):
            # Of a gateway: it says nothing of what was asked for.
            return ProviderAnswerError
        case (403, "ForbiddenError") if not _NO_PERMISSION.search(message):
            # The vendor: it is no matter of permissions, but of the region's room.
            return ProviderCapacityError
        case (401 | 403, _):
            return ProviderCredentialsError
        case (409, _):
            return GcoreConflictError
        case (408 | 429, _):
            return error_for_status(status)
    return ProviderInvalidError if status < 500 else error_for_status(status)


def kind_of_failure(task: Task) -> type[ProviderError]:
    """Return the error that a failed task is. It made nothing, so it may be tried again."""
    words = task.error or ""
    if _QUOTA.search(words):
        return ProviderQuotaError
    return ProviderCapacityError if _NO_ROOM.search(words) else ProviderUnavailableError


def failure(
    provider: str, attempted: str, task: Task, kind: type[ProviderError] | None = None
) -> ProviderError:
    """Return the error of a failed task, of a kind or by its words, and with them."""
    words = visible_head(without_queries(task.error or "it does not say why"), SHOWN_CHARACTERS)
    kind = kind or kind_of_failure(task)
    return kind(provider, attempted, f"its task {task.id} failed: {words}")


def not_done(provider: str, attempted: str, task: Task) -> ProviderUnavailableError:
    """Return the error that a task is not done, so that its result is not known."""
    since = f" since {task.created_on:%Y-%m-%d %H:%M:%S} UTC" if task.created_on else ""
    whose = "its task" if task.name else "a task that does not name its machine,"
    return ProviderUnavailableError(
        provider, attempted, f"{whose} {task.id} is {task.state}{since}"
    )
