"""Whether a machine that a listing lacks is really gone. Nothing is changed."""

from collections.abc import Mapping

from activities.machine.polls import search
from relight.domain.machine import Machine, MachineAtProvider
from relight.hosts import host_program
from relight.hosts.connections import Hosts
from relight.hosts.errors import HostKeyMismatchError, HostUnreachableError, RemoteError
from relight.hosts.observation import observe
from relight.providers.driver import ProviderDriver, driver_named

_NOT_THERE = (HostUnreachableError, HostKeyMismatchError)
"""Errors of a connection after which nothing shows that our machine exists: no host answers, or
another one does, at an address that was given to it since."""


class Presence:
    """Searches a machine by its key and its id, and connects to it.

    A listing may lack a machine that exists. It is gone only if nothing of this finds it.

    Attributes:
        drivers: of the providers, by name.
    """

    def __init__(self, drivers: Mapping[str, ProviderDriver], hosts: Hosts) -> None:
        self.drivers = drivers
        self._hosts = hosts

    def driver(self, provider: str) -> ProviderDriver:
        """Return the driver of a provider.

        Raises:
            UnknownLocationError: none is configured under this name.
        """
        return driver_named(self.drivers, provider)

    async def find(self, machine: Machine) -> MachineAtProvider | None:
        """Return the machine as its provider describes it now; None if it has none.

        Raises:
            ProviderError: it gave no answer.
        """
        return await search(self.driver(machine.provider), machine.key, machine.provider_id)

    async def exists(self, machine: Machine) -> bool:
        """Return whether the machine's host is there, even if it cannot be worked on."""
        try:
            async with self._hosts.connect(machine):
                return True
        except RemoteError as error:
            return not isinstance(error, _NOT_THERE)

    async def answers(self, machine: Machine) -> bool:
        """Return whether the machine's host can be worked on: its program answers."""
        try:
            async with self._hosts.connect(machine) as shell:
                await observe(shell, host_program.observe())
        except RemoteError:
            return False
        return True

    async def is_absent(self, machine: Machine) -> bool:
        """Return whether the provider has no such machine, and no host answers for it.

        Raises:
            ProviderError: the provider gave no answer.
        """
        return await self.find(machine) is None and not await self.exists(machine)
