"""The host-key probe: whether the host at a machine's address is still that machine.

It opens one connection, exchanges keys, and hangs up before any login. In the exchange a host
proves that it has the private half of the key that it shows.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol

import asyncssh

from relight.domain.error_words import error_words
from relight.hosts.connections import EXCHANGES, HOST_KEY_ALGORITHMS
from relight.hosts.errors import Destination, HostMisbehavesError, HostUnreachableError
from relight.hosts.key_files import Keys
from relight.hosts.liveness import OUR_ERRORS
from relight.hosts.metering import Meter


class ShownKey(StrEnum):
    """What the host at an address has shown.

    `own`: the machine's host key. `other`: another key: the address is somebody else's. `none`:
    no connection. `unclear`: a connection, and no key: the machine may hang, or something else
    has its address.
    """

    OWN = "own"
    OTHER = "other"
    NONE = "none"
    UNCLEAR = "unclear"


class HostKeyProbe(Protocol):
    """Tells which host key an address shows."""

    async def __call__(self, machine_key: str, address: str) -> ShownKey:
        """Connect once to a machine's address.

        Raises:
            HostUnreachableError: this computer cannot open a connection at all.
        """


@dataclass(frozen=True)
class SshHostKeyProbe:
    """Asks the sshd at an address.

    Attributes:
        port: of each sshd.
        keys: returns the control plane's keys; while one is rotated a machine has either.
        timeout: for connection and exchange together.
    """

    port: int
    keys: Keys
    timeout: timedelta

    async def __call__(self, machine_key: str, address: str) -> ShownKey:
        """Connect, exchange keys, and hang up."""
        own = {
            asyncssh.import_public_key(each.host_key(machine_key).public).public_data
            for each in self.keys().secrets
        }
        destination = Destination(address, self.port, "", machine_key)
        meter = Meter(destination)
        tunnel: Any = meter  # asyncssh declares more than it calls.
        try:
            async with asyncio.timeout(self.timeout.total_seconds()):
                shown = await asyncssh.get_server_host_key(
                    address,
                    self.port,
                    tunnel=tunnel,
                    kex_algs=list(EXCHANGES),
                    server_host_key_algs=list(HOST_KEY_ALGORITHMS),
                    config=None,
                )
        except (asyncssh.Error, OSError, HostMisbehavesError) as error:  # A timeout is one, too.
            if isinstance(error, OSError) and error.errno in OUR_ERRORS:
                raise HostUnreachableError(
                    error_words(error), destination=destination, attempted="connect"
                ) from error
            return ShownKey.UNCLEAR if meter.is_connected else ShownKey.NONE
        if shown is None:
            return ShownKey.UNCLEAR
        return ShownKey.OWN if shown.public_data in own else ShownKey.OTHER
