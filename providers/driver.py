"""What every provider's driver does. One contract test holds all of them to it."""

from collections.abc import Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict, SecretStr

from messages.machine import Machine, MachineRef, Region


class MachineSpec(BaseModel):
    """What to create. It carries the user-data, which holds keys, so it is no message."""

    model_config = ConfigDict(frozen=True)

    region: str
    user_data: SecretStr
    image: str | None = None


class ProviderDriver(Protocol):
    """One cloud. Every call may be made twice, and may have been made before."""

    name: str

    async def region(self, name: str) -> Region | None:
        """Return the region of this name, None when the provider has none."""

    async def ensure(self, key: str, spec: MachineSpec) -> Machine:
        """Return the machine whose label is `key`; create it if there is none.

        It looks before it creates, also after an ambiguous answer. The machine may still be
        `provisioning` and without an address.

        Raises:
            ProviderError: it is not there and could not be created.
        """

    async def find(self, key: str) -> Machine | None:
        """Return the machine whose label is `key`, None when there is none."""

    async def list(self) -> Sequence[Machine]:
        """Return every machine of this account, ordered by key."""

    async def destroy(self, machine: MachineRef) -> bool:
        """Ask for the machine's end, and return whether it was still there.

        The provider id and the key must both match; absent is success. The end comes later:
        `find` returns None once the machine is gone.

        Raises:
            MachineConflictError: the id belongs to a machine with another key.
        """

    async def close(self) -> None:
        """Give up its connections."""
