"""How an activity comes to a host."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import asyncssh

from relight.domain.machine import Machine
from relight.hosts import shell
from relight.hosts.errors import Destination, HostUnreachableError, RemoteError
from relight.hosts.keys import derive_host_key
from relight.hosts.shell import Shell


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


IDLE = timedelta(seconds=5)
"""Longer than the time between two steps of an operation, shorter than anybody would notice."""

LOGINS = 64
"""How many log in at once. A login is a few milliseconds of ours, and of each host's."""

JITTER = timedelta(milliseconds=50)

Key = tuple[str, str]


@dataclass
class _Connection:
    """A connection, with how many activities use it."""

    opened: asyncio.Future[Shell]
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    users: int = 0
    end: asyncio.TimerHandle | None = None


class ConnectionPool:
    """The way to every host, in which an operation finds its own connection again."""

    def __init__(
        self,
        hosts: Hosts,
        operation_id: Callable[[], str],
        idle: timedelta = IDLE,
        logins: int = LOGINS,
    ) -> None:
        """Open nothing yet.

        Args:
            hosts: opens the connections.
            operation_id: returns the id of the operation that asks.
            idle: how long a connection is kept after its last use.
            logins: how many log in at once.
        """
        self._hosts = hosts
        self._operation_id = operation_id
        self._idle = idle
        self._logins = asyncio.Semaphore(logins)
        self._connections: dict[Key, _Connection] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def connect(self, machine: Machine) -> AsyncIterator[Shell]:
        """Use the operation's connection to the machine; open it if there is none."""
        key = (self._operation_id(), machine.provider_id)
        connection = self._connections.get(key)
        if connection is None:
            connection = self._connections[key] = _Connection(
                asyncio.get_running_loop().create_future()
            )
            await self._open(key, connection, machine)
        connection.users += 1
        if connection.end is not None:
            connection.end.cancel()
        try:
            # Whoever came while it was being opened waits, and shares its fate.
            yield await asyncio.shield(connection.opened)
        except RemoteError as error:
            if error.retryable:
                self._forget(key, connection)
            raise
        finally:
            connection.users -= 1
            self._rest(key, connection)

    async def close(self) -> None:
        """Close every connection."""
        for key, connection in list(self._connections.items()):
            self._forget(key, connection)
            self._close(connection)
        await asyncio.gather(*self._closing)

    async def _open(self, key: Key, connection: _Connection, machine: Machine) -> None:
        try:
            async with self._logins:
                await asyncio.sleep(random.uniform(0, JITTER.total_seconds()))  # noqa: S311
                shell = await connection.stack.enter_async_context(self._hosts.connect(machine))
        except RemoteError as error:
            self._give_up(key, connection, error)
            raise
        except asyncio.CancelledError:
            called_off = HostUnreachableError("whoever was logging in was called off")
            self._give_up(key, connection, called_off)
            raise
        connection.opened.set_result(shell)

    def _give_up(self, key: Key, connection: _Connection, error: RemoteError) -> None:
        self._forget(key, connection)
        connection.opened.set_exception(error)
        connection.opened.exception()  # it is told to whoever waits for it; nobody need

    def _rest(self, key: Key, connection: _Connection) -> None:
        """Close a connection that nobody uses: at once if it was given up, else after a while."""
        if connection.users > 0:
            return
        if self._connections.get(key) is not connection:
            self._close(connection)
            return
        connection.end = asyncio.get_running_loop().call_later(
            self._idle.total_seconds(), self._end, key, connection
        )

    def _end(self, key: Key, connection: _Connection) -> None:
        self._forget(key, connection)
        self._close(connection)

    def _forget(self, key: Key, connection: _Connection) -> None:
        if self._connections.get(key) is connection:
            del self._connections[key]
        if connection.end is not None:
            connection.end.cancel()

    def _close(self, connection: _Connection) -> None:
        task = asyncio.create_task(connection.stack.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


# MERGEDOC """One connection per operation and host, shared by the operation's activities.
#
# A swap is several activities on one host, seconds apart: a login for each would cost the host more
# than what it is asked. SSH carries any number of commands on one connection. An operation's own
# connection is kept for a while after its last use, and given up at once when it proved unsound, so
# that the next attempt comes afresh. sshd limits how many may log in at a time; each host sees one,
# and logins over the whole fleet are bounded and spread.
# """
