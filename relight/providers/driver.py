"""The contract of every provider's driver, and its errors.

One contract test, `tests/providers/test_contract.py`, runs against every driver.
"""

import base64
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, SecretBytes

from relight.domain.fault.error import DomainError
from relight.domain.machine import MachineAtProvider, MachineRef, Region
from relight.domain.names import OwnerTag
from relight.domain.sweep.sweep import ProviderListing


class ProviderError(DomainError):
    """A request to a provider failed.

    Attributes:
        provider: the driver's name.
        attempted: the operation.
        answer: the provider's answer.
    """

    kind = "provider-refused"

    def __init__(self, provider: str, attempted: str, answer: str) -> None:
        super().__init__(f"{provider}: {attempted}: {answer}")
        self.provider = provider
        self.attempted = attempted
        self.answer = answer


class ProviderUnavailableError(ProviderError):
    """No answer, or an ambiguous one: check the provider's state before trying again."""

    kind = "provider-unavailable"


class ProviderAnswerError(ProviderUnavailableError):
    """The provider's answer was not understood: nothing may be concluded from it."""

    kind = "provider-unreadable"


class ProviderRateLimitedError(ProviderUnavailableError):
    """The provider limits the rate of requests: this one was not fulfilled."""

    kind = "provider-rate-limited"

    def __init__(
        self, provider: str, attempted: str, answer: str, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(provider, attempted, answer)
        self.retry_after = retry_after


class ProviderCapacityError(ProviderError):
    """The provider has no room for the machine now, in any zone and shape of the location."""

    kind = "provider-capacity"


class ProviderQuotaError(ProviderError):
    """A limit of our account is reached."""

    kind = "provider-quota"


class ProviderInvalidError(ProviderError):
    """The request itself is wrong, as with user-data that is too large: a retry cannot help."""

    kind = "provider-invalid"


class ProviderCredentialsError(ProviderError):
    """The provider refuses the credentials."""

    kind = "provider-credentials"


class MachineConflictError(ProviderError):
    """Several machines, or a foreign one, have the key: a person has to decide."""

    kind = "machine-conflict"


class UnknownLocationError(ProviderError):
    """There is no such provider, or the provider has no such region."""

    kind = "unknown-location"


class MachineSpec(BaseModel):
    """The machine to create. It contains the user-data with private keys, so it is not a message.

    Attributes:
        region: at the provider.
        user_data: for cloud-init, compressed by gzip, which cloud-init knows by itself.
        owner: the fleet's ownership tag, written to the machine at its creation.
        generation: of the machine's key, written to the machine at its creation.
        created_by: the run that asks for it, written to the machine at its creation. It stays when
            another run finds the machine: so each run knows what it has created itself.
        image: the provider's image; None for its default.
        is_repeat: an earlier attempt, perhaps another worker's, may have requested the machine
            without an answer.
    """

    model_config = ConfigDict(frozen=True)

    region: str
    user_data: SecretBytes
    owner: OwnerTag
    generation: int = Field(ge=1)
    created_by: str = ""
    image: str | None = None
    is_repeat: bool = False


class UserDataLimit(NamedTuple):
    """How much user-data a provider accepts.

    Attributes:
        max_bytes: the limit.
        is_encoded: whether the limit is for the user-data in base64, not for its own bytes.
    """

    max_bytes: int
    is_encoded: bool = False


class ProviderDriver(Protocol):
    """One provider. Every call is idempotent: it may be repeated.

    Attributes:
        name: as in the settings.
        user_data_limit: how much user-data it accepts; None if no limit is known.
    """

    name: str
    user_data_limit: UserDataLimit | None

    async def regions(self) -> tuple[Region, ...]:
        """Return every region in which it can create machines, ordered by name."""

    async def ensure(self, key: str, spec: MachineSpec) -> MachineAtProvider:
        """Return the machine whose label is `key`; create it if there is none.

        It searches before it creates, and adopts a machine only if that has the same owner and
        generation. Only a new machine gets the spec's `created_by`. The machine may still be
        `provisioning` and without an address.

        Raises:
            MachineConflictError: a machine of another owner or generation has this label.
            ProviderCapacityError: no zone and shape of the region has room for it.
            ProviderQuotaError: a limit of our account is reached.
            ProviderInvalidError: the request is wrong, as by `require_user_data_fits`.
            ProviderUnavailableError: it is not known whether it was created.
            ProviderError: it does not exist and could not be created.
        """

    async def find(self, key: str) -> MachineAtProvider | None:
        """Return the machine whose label is `key`, of any owner; None if there is none."""

    async def get(self, provider_id: str) -> MachineAtProvider | None:
        """Return the machine with this id, whatever its label; None if there is none."""

    async def list(self, region: str | None = None) -> ProviderListing:
        """Return every machine of this account, of any owner, ordered by key.

        With a region, only its machines are returned. An incomplete listing is marked as such; a
        failed one is an error.
        """

    async def destroy(self, machine: MachineRef) -> bool:
        """Request the machine's deletion, and return whether it still existed.

        The provider id and the key must both match; absent is success. The deletion takes time:
        `find` returns None once the machine is gone.

        Raises:
            MachineConflictError: the id belongs to a machine with another key.
        """

    async def console(self, machine: MachineRef) -> str | None:
        """Return the last lines of a machine's console; None if there is no console."""

    async def close(self) -> None:
        """Close the driver's connections."""


@runtime_checkable
class Leaving(Protocol):
    """A driver whose machines may leave something behind that costs money, as a volume."""

    async def clear(self, machine: MachineRef, owner: str) -> None:
        """Delete what an absent machine has left; nothing is success.

        Args:
            machine: its provider id is empty if it is not known.
            owner: the fleet's ownership tag.

        Raises:
            ProviderError: something may be left.
        """


def driver_named(drivers: Mapping[str, ProviderDriver], provider: str) -> ProviderDriver:
    """Return the driver of a provider.

    Raises:
        UnknownLocationError: none is configured under this name.
    """
    try:
        return drivers[provider]
    except KeyError:
        known = ", ".join(sorted(drivers)) or "none"
        raise UnknownLocationError(
            provider, "find provider", f"it is not configured here; configured: {known}"
        ) from None


async def region_named(driver: ProviderDriver, name: str) -> Region:
    """Return the region of this name.

    Raises:
        UnknownLocationError: the provider has no such region.
        ProviderError: it could not be asked.
    """
    regions = await driver.regions()
    for region in regions:
        if region.name == name:
            return region
    known = ", ".join(each.name for each in regions) or "none"
    raise UnknownLocationError(
        driver.name, f"find region {name}", f"it has no such region; its regions: {known}"
    )


def require_user_data_fits(driver: ProviderDriver, attempted: str, user_data: SecretBytes) -> None:
    """Check the size of user-data before anything is requested.

    Raises:
        ProviderInvalidError: the provider would refuse it, or cut it.
    """
    limit = driver.user_data_limit
    if limit is None:
        return
    content = user_data.get_secret_value()
    size = len(base64.b64encode(content) if limit.is_encoded else content)
    if size > limit.max_bytes:
        raise ProviderInvalidError(
            driver.name,
            attempted,
            f"the user-data has {size} bytes{' in base64' if limit.is_encoded else ''}, and "
            f"{driver.name} takes at most {limit.max_bytes}: leave out files of the service "
            "(RELIGHT_SERVICE__FILES), and bring them by `relight configuration apply`",
        )


def adopted(found: MachineAtProvider, spec: MachineSpec) -> MachineAtProvider:
    """Return a found machine if it has the spec's owner and generation.

    Raises:
        MachineConflictError: it has another owner or generation.
    """
    if (found.owner, found.generation) != (spec.owner, spec.generation):
        raise MachineConflictError(
            found.provider,
            f"create {found.key}",
            f"{found.provider_id} has this label: its owner is {found.owner or 'unknown'} and its "
            f"generation {found.generation or 'unknown'}, not {spec.owner} and {spec.generation}",
        )
    return found
