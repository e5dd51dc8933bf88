"""How much a host may send: every byte of an SSH connection is counted before it is interpreted.

asyncssh limits a packet, not their number: a host can send banners, ignored messages or tiny
packets without end, all before or beside the output of a command. So a connection has an
allowance, which each command renews. A host that exceeds it loses the connection.
"""

import asyncio
from collections.abc import Callable

import asyncssh

from relight.hosts.errors import Destination, HostMisbehavesError

MAX_LOGIN_BYTES = 256 * 1024
"""From the first byte to the login, with every banner. A login takes some 3 KiB."""

MAX_COMMAND_BYTES = 2 * 1024 * 1024
"""For one command, in packets: lines that are sent one by one take several times their size."""

MAX_ALLOWANCE_BYTES = 4 * MAX_COMMAND_BYTES
"""For the commands that share a connection at the same time."""

_PIECE_BYTES = 16 * 1024
"""asyncssh copies the rest of its input for each packet: many small ones in a large input would
keep the event loop busy for a second."""


class Meter(asyncio.Protocol):
    """Stands between the socket and asyncssh's connection, and counts what the host sends.

    Attributes:
        is_connected: whether there was a connection.
        exceeded: the error that ended the connection; None while the host keeps to its allowance.
    """

    def __init__(self, destination: Destination) -> None:
        self.is_connected = False
        self.exceeded: HostMisbehavesError | None = None
        self._destination = destination
        self._allowance = MAX_LOGIN_BYTES
        self._attempted = "connect"

    def allow(self, attempted: str) -> None:
        """Renew the allowance for a command.

        Args:
            attempted: the command, for an error.
        """
        self._attempted = attempted
        self._allowance = min(self._allowance + MAX_COMMAND_BYTES, MAX_ALLOWANCE_BYTES)

    async def create_connection(
        self, factory: Callable[[], asyncssh.SSHClientConnection], host: str, port: int
    ) -> tuple[asyncio.BaseTransport, asyncssh.SSHClientConnection]:
        """Open the connection. asyncssh calls this, as of a tunnel."""
        self._connection = factory()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: self, host, port)
        return transport, self._connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass it on."""
        self.is_connected = True
        self._connection.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Count the data, and pass it on unless the allowance is used up."""
        self._allowance -= len(data)
        if self._allowance < 0:
            self._end()
        elif len(data) <= _PIECE_BYTES:
            self._connection.data_received(data)
        else:
            for start in range(0, len(data), _PIECE_BYTES):
                self._connection.data_received(data[start : start + _PIECE_BYTES])

    def eof_received(self) -> None:
        """Pass it on."""
        self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._connection.resume_writing()

    def _end(self) -> None:
        if self.exceeded is None:
            self.exceeded = HostMisbehavesError(
                "it sends without end; the connection was closed",
                destination=self._destination,
                attempted=self._attempted,
            )
            # Whoever waits for the connection gets this error.
            self._connection.connection_lost(self.exceeded)
