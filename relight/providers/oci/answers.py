"""What Oracle Cloud Infrastructure's Compute API answers, as far as the driver reads it."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    IPvAnyAddress,
    StringConstraints,
    TypeAdapter,
)
from pydantic.alias_generators import to_camel

from relight.domain.machine import MachineStatus
from relight.providers.api import Refusal, error_for_status
from relight.providers.driver import (
    ProviderAnswerError,
    ProviderCapacityError,
    ProviderCredentialsError,
    ProviderError,
    ProviderInvalidError,
    ProviderQuotaError,
    ProviderUnavailableError,
)

Text = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class State(StrEnum):
    """The `lifecycleState` of an instance. Any other one is `UNKNOWN`, and says nothing."""

    PROVISIONING = "PROVISIONING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    MOVING = "MOVING"
    CREATING_IMAGE = "CREATING_IMAGE"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    TERMINATING = "TERMINATING"
    TERMINATED = "TERMINATED"
    UNKNOWN = ""

    @classmethod
    def _missing_(cls, value: object) -> "State | None":
        return cls.UNKNOWN if isinstance(value, str) else None


STATUSES: Final[Mapping[State, MachineStatus]] = {
    State.PROVISIONING: MachineStatus.PROVISIONING,
    State.STARTING: MachineStatus.PROVISIONING,
    State.RUNNING: MachineStatus.RUNNING,
    # It runs again by itself, on another host or after its image was made.
    State.MOVING: MachineStatus.RUNNING,
    State.CREATING_IMAGE: MachineStatus.RUNNING,
    State.STOPPING: MachineStatus.FAILED,
    State.STOPPED: MachineStatus.FAILED,
    State.TERMINATING: MachineStatus.DELETING,
    State.UNKNOWN: MachineStatus.PROVISIONING,
}
"""Of every instance that exists; one that is TERMINATED does not."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel)


class Source(_Answer):
    """What an instance was made of."""

    image_id: str | None = None


class Instance(_Answer):
    """An instance. Its `region` is left out: that of some regions is a short code, as `phx`."""

    id: Text
    display_name: Text
    lifecycle_state: State
    freeform_tags: Mapping[str, str] = {}
    source_details: Source = Source()
    time_created: AwareDatetime

    @property
    def is_gone(self) -> bool:
        """Whether it is only still listed."""
        return self.lifecycle_state is State.TERMINATED


class VnicAttachment(_Answer):
    """Says which VNIC an instance has."""

    instance_id: Text
    lifecycle_state: str
    vnic_id: Text | None = None


class Vnic(_Answer):
    """A network interface; an instance has one that is the primary."""

    is_primary: bool = False
    private_ip: IPvAnyAddress | None = None
    public_ip: IPvAnyAddress | None = None


class Image(_Answer):
    """An image."""

    id: Text
    display_name: Text
    time_created: AwareDatetime


class Offered(_Answer):
    """A shape that a zone offers."""

    shape: Text


class ConsoleHistory(_Answer):
    """A capture of a console; its text is read apart."""

    id: Text
    lifecycle_state: str


INSTANCE = TypeAdapter(Instance)
ATTACHMENT = TypeAdapter(VnicAttachment)
VNIC = TypeAdapter(Vnic)
IMAGE = TypeAdapter(Image)
SHAPE = TypeAdapter(Offered)
HISTORY = TypeAdapter(ConsoleHistory)


class AbsentOrForbiddenError(ProviderCredentialsError):
    """A resource does not exist, or our policies do not permit the request: OCI does not say."""


class TokenSpentError(ProviderUnavailableError):
    """A retry token was used before, and what it created is gone or another payload was sent."""


_NO_ROOM = re.compile(r"out of (host )?capacity|in a different availability domain", re.IGNORECASE)
"""Some limits of an account are those of one zone: then OCI advises to try another."""

_BY_CODE: Final[dict[str, type[ProviderError]]] = {
    "LimitExceeded": ProviderQuotaError,
    "QuotaExceeded": ProviderQuotaError,
    "SignUpRequired": ProviderCredentialsError,
    "NotAuthorizedOrNotFound": AbsentOrForbiddenError,
    # Only creations answer it. Names of instances need not be unique: it is about our policies.
    "NotAuthorizedOrResourceAlreadyExists": ProviderCredentialsError,
    "InvalidatedRetryToken": TokenSpentError,
}
"""Codes that say more than their status."""

_INVALID: Final = frozenset({400, 402, 404, 405, 411, 412, 413, 414, 415, 422, 431, 501})
"""Where no code says more, a retry of the same request cannot help."""


def classify(refusal: Refusal) -> ProviderError:
    """Return the error that a refusal is. No answer of OCI says that something does not exist."""
    code, message = refusal.fields.get("code"), refusal.fields.get("message")
    if not isinstance(code, str) or not isinstance(message, str):
        # A page of a proxy, which knows nothing of instances.
        known = error_for_status(refusal.status)
        return refusal.error(ProviderAnswerError if known is ProviderError else known)
    request_id = refusal.headers.get("opc-request-id", "")
    words = f"{code}: {message}{f' (opc-request-id {request_id})' if request_id else ''}"
    return refusal.error(_kind(refusal.status, code, message), words)


def _kind(status: int, code: str, message: str) -> type[ProviderError]:
    # First: OCI answers 500 InternalError where a host has no room.
    if _NO_ROOM.search(message):
        return ProviderCapacityError
    if code in _BY_CODE:
        return _BY_CODE[code]
    return ProviderInvalidError if status in _INVALID else error_for_status(status)
