"""What can go wrong at a provider, in the words of the field and not of one vendor's API."""

from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from relight.domain.fault.error import DomainError
from relight.domain.machine import MachineRef, Region
from relight.domain.names import OwnerTag
from relight.domain.sweep.sweep import MachineAtProvider, ProviderListing


class ProviderError(DomainError):
    """A provider did not do what it was asked.

    Attributes:
        provider: the driver's name.
        attempted: what it was asked for.
        answer: what it said.
    """

    kind = "provider-refused"

    def __init__(self, provider: str, attempted: str, answer: str) -> None:
        super().__init__(f"{provider}: {attempted}: {answer}")
        self.provider = provider
        self.attempted = attempted
        self.answer = answer


class ProviderUnavailableError(ProviderError):
    """No answer, or an answer that says nothing about what happened: look before acting again."""

    kind = "provider-unavailable"


class ProviderRateLimitedError(ProviderUnavailableError):
    """The provider asks for patience."""

    kind = "provider-rate-limited"


class ProviderCredentialsError(ProviderError):
    """The provider does not know us."""

    kind = "provider-credentials"


class MachineConflictError(ProviderError):
    """More than one machine, or somebody else's, has the key: a person has to look."""

    kind = "machine-conflict"


class MachineSpec(BaseModel):
    """What to create. It carries the user-data, which holds keys, so it is no message.

    Attributes:
        owner: our ownership tag.
        generation: of the machine's key. Both are written on the machine as it is created.
    """

    model_config = ConfigDict(frozen=True)

    region: str
    user_data: SecretStr
    owner: OwnerTag
    generation: int = Field(ge=1)
    image: str | None = None


class ProviderDriver(Protocol):
    """One cloud. Every call may be made twice, and may have been made before."""

    name: str

    async def region(self, name: str) -> Region | None:
        """Return the region of this name, None when the provider has none."""

    async def ensure(self, key: str, spec: MachineSpec) -> MachineAtProvider:
        """Return the machine whose label is `key`; create it if there is none.

        It looks before it creates, also after an ambiguous answer, and takes what it finds only
        where that bears our tag and the same generation. The machine may still be `provisioning`
        and without an address.

        Raises:
            MachineConflictError: another's machine, or another generation, has this label.
            ProviderError: it is not there and could not be created.
        """

    async def find(self, key: str) -> MachineAtProvider | None:
        """Return the machine whose label is `key`, whoever's it is, None when there is none."""

    async def list(self) -> ProviderListing:
        """Return every machine of this account, others' too, ordered by key.

        A listing of which only a part came says so; one that did not come at all is an error.
        """

    async def destroy(self, machine: MachineRef) -> bool:
        """Ask for the machine's end, and return whether it was still there.

        The provider id and the key must both match; absent is success. The end comes later:
        `find` returns None once the machine is gone.

        Raises:
            MachineConflictError: the id belongs to a machine with another key.
        """

    async def console(self, machine: MachineRef) -> str | None:
        """Return the last lines of a machine's console, None where there is none to be had."""

    async def close(self) -> None:
        """Give up its connections."""


def adopted(found: MachineAtProvider, spec: MachineSpec) -> MachineAtProvider:
    """Return a machine that has the key of one that is to be, if it is that one.

    Raises:
        MachineConflictError: it is another's, or of another generation.
    """
    tags, wanted = (found.owner, found.generation), (spec.owner, spec.generation)
    if tags != wanted:
        raise MachineConflictError(
            found.provider,
            f"create {found.key}",
            f"{found.provider_id} has this label: its owner is {found.owner or 'not said'} and its "
            f"generation {found.generation or 'not said'}, not {spec.owner} and {spec.generation}",
        )
    return found


# MERGEDOC """What every provider's driver does. One contract test holds all of them to it."""
