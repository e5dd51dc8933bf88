"""How an activity comes to a host."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import asyncssh

from messages.machine import Machine
from remote import shell
from remote.destination import Destination
from remote.errors import HostUnreachableError
from remote.identity import derive_host_key
from remote.shell import Shell


class Hosts(Protocol):
    """The way to every host of the fleet."""

    def connect(self, machine: Machine) -> AbstractAsyncContextManager[Shell]:
        """Open a shell on the machine, whose host key must be the derived one.

        Raises:
            RemoteError: it cannot be reached, or is not the machine that it should be.
        """


@dataclass(frozen=True)
class SshHosts:
    """Over SSH, with one key to log in and one secret to know every machine by."""

    user: str
    port: int
    client_key: asyncssh.SSHKey
    host_key_secret: bytes = field(repr=False)
    connect_timeout: timedelta

    @asynccontextmanager
    async def connect(self, machine: Machine) -> AsyncIterator[Shell]:
        """Log in on the machine."""
        destination = Destination(machine.address or "", self.port, self.user, machine.key)
        if machine.address is None:
            raise HostUnreachableError(
                "it has no address", destination=destination, attempted="connect"
            )
        host_key = derive_host_key(self.host_key_secret, machine.key)
        async with shell.connect(
            destination, self.client_key, host_key.public, self.connect_timeout
        ) as opened:
            yield opened
