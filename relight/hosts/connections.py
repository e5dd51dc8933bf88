"""SSH connections to hosts, pooled per operation.

An operation such as a swap is several activities on one host, seconds apart, and a login costs the
host more than most commands. So all activities of an operation share one connection per host. It
is closed some seconds after its last use, and at once after an error, so that the next attempt
opens a new one. sshd limits concurrent logins: each host sees one, and the total over the fleet is
limited and spread.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import asyncssh

from relight.domain.duration import span
from relight.domain.error_words import error_words
from relight.domain.machine import Machine
from relight.domain.text import MAX_TEXT_BYTES
from relight.hosts.errors import (
    AlgorithmsDifferError,
    Destination,
    HostKeyMismatchError,
    HostMisbehavesError,
    HostNotReadyError,
    HostUnreachableError,
    LoginRefusedError,
    RemoteError,
    on_host,
)
from relight.hosts.key_files import Keys
from relight.hosts.metering import Meter
from relight.hosts.shell import Shell, SshShell

KEEPALIVE = timedelta(seconds=5)
"""Interval of keepalive messages on a silent connection; three unanswered ones end it."""

# First what every supported Debian and Ubuntu offers. OpenSSH's default post-quantum key exchange
# costs 59 of a connection's 69 ms of CPU time. The others are for hosts that allow little. No
# Diffie-Hellman over finite fields: it goes from the library that computes it.
EXCHANGES = (
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
)
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes256-gcm@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
)
HOST_KEY_ALGORITHMS = ("ssh-ed25519",)

# Messages of pam_nologin when it refuses a login. They contain systemd's text in /run/nologin.
_NOT_READY = ("System is booting up", "System is going down", "not permitted to log in yet")

# Of pam_unix: an account's end refuses every login, before any key is checked to its end.
_EXPIRED = "account has expired"

IDLE_TIMEOUT = timedelta(seconds=5)
"""Longer than the time between two activities of an operation."""

MAX_LOGINS = 64
"""How many logins run at once. Each costs some milliseconds of CPU here and on the host."""

JITTER = timedelta(milliseconds=50)


class Hosts(Protocol):
    """Opens shells on the hosts of the fleet."""

    def connect(self, machine: Machine) -> AbstractAsyncContextManager[Shell]:
        """Open a shell on the machine, which must present its derived host key.

        Raises:
            RemoteError: the machine cannot be reached, or has another host key.
        """


class KeyedHosts(Protocol):
    """Opens new connections, with one of several keys if need be."""

    def connect_with(
        self, machine: Machine, *, client: str | None = None, secret: str | None = None
    ) -> AbstractAsyncContextManager[Shell]:
        """Open a shell on the machine.

        Args:
            machine: it must present a host key that is derived for it.
            client: the fingerprint of the one client key that is offered; None: all.
            secret: that of the one secret whose host key is accepted; None: all.

        Raises:
            KeyNotHereError: this worker does not have the key.
            RemoteError: the machine cannot be reached, or refuses, or has another host key.
        """


@dataclass(frozen=True)
class SshHosts:
    """Opens a new SSH connection for each shell.

    While a key is rotated there are two of a kind. Both client keys are offered, the one in use
    first, and the host keys of both secrets are accepted.

    Attributes:
        user: the user to log in as.
        port: of each sshd.
        keys: returns the control plane's keys.
        connect_timeout: for one login.
    """

    user: str
    port: int
    keys: Keys
    connect_timeout: timedelta

    @asynccontextmanager
    async def connect(self, machine: Machine) -> AsyncIterator[Shell]:
        """Log in on the machine."""
        async with self.connect_with(machine) as shell:
            yield shell

    @asynccontextmanager
    async def connect_with(
        self, machine: Machine, *, client: str | None = None, secret: str | None = None
    ) -> AsyncIterator[Shell]:
        """Log in on the machine, as described in `KeyedHosts`."""
        destination = Destination(machine.address or "", self.port, self.user, machine.key)
        if machine.address is None:
            raise HostUnreachableError(
                "it has no address", destination=destination, attempted="connect"
            )
        ring = self.keys()
        clients = ring.clients if client is None else (ring.client(client),)
        secrets = ring.secrets if secret is None else (ring.secret(secret),)
        async with connect(
            destination,
            [each.private for each in clients],
            [each.host_key(machine.key).public for each in secrets],
            self.connect_timeout,
        ) as opened:
            yield opened


Key = tuple[str, str]
"""The ids of an operation and of a machine at its provider."""


@dataclass
class _Connection:
    """A connection.

    Attributes:
        login: the task that opens it; it returns the shell, or raises for every caller.
        stack: closes it.
        users: how many activities use it now.
        idle_timer: closes it after its last use.
    """

    login: asyncio.Task[Shell]
    stack: AsyncExitStack
    users: int = 0
    idle_timer: asyncio.TimerHandle | None = None


class ConnectionPool:
    """Opens one connection per operation and machine, and shares it."""

    def __init__(
        self,
        hosts: Hosts,
        operation_id: Callable[[], str],
        idle_timeout: timedelta = IDLE_TIMEOUT,
        logins: AbstractAsyncContextManager[object] | None = None,
    ) -> None:
        """Create an empty pool.

        Args:
            hosts: opens the connections.
            operation_id: returns the id of the operation that calls `connect`.
            idle_timeout: how long a connection is kept after its last use.
            logins: limits the logins at once; by default to `MAX_LOGINS` of this pool.
        """
        self._hosts = hosts
        self._operation_id = operation_id
        self._idle_timeout = idle_timeout
        self._logins = logins or asyncio.Semaphore(MAX_LOGINS)
        self._connections: dict[Key, _Connection] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def connect(self, machine: Machine) -> AsyncIterator[Shell]:
        """Use the operation's connection to the machine; open it if there is none."""
        key = (self._operation_id(), machine.provider_id)
        connection = self._connections.get(key) or self._open(key, machine)
        connection.users += 1
        if connection.idle_timer is not None:
            connection.idle_timer.cancel()
        try:
            # Concurrent callers wait for the one login, and get its shell or its error. If one of
            # them is cancelled, the login continues for the others.
            shell = await asyncio.shield(connection.login)
            with on_host(shell.destination):
                yield shell
        except RemoteError as error:
            if error.retryable or isinstance(error, HostMisbehavesError):
                self._remove(key, connection)
            raise
        finally:
            connection.users -= 1
            self._release(key, connection)

    async def close(self) -> None:
        """Close every connection."""
        for key, connection in list(self._connections.items()):
            self._remove(key, connection)
            self._close(connection)
        await asyncio.gather(*self._closing)

    def _open(self, key: Key, machine: Machine) -> _Connection:
        """Begin a login. If it fails, whatever the error, the next caller begins another one."""
        stack = AsyncExitStack()
        connection = _Connection(asyncio.create_task(self._log_in(stack, machine)), stack)
        self._connections[key] = connection

        def drop_failed(login: asyncio.Task[Shell]) -> None:
            if login.cancelled() or login.exception() is not None:
                self._remove(key, connection)

        connection.login.add_done_callback(drop_failed)
        return connection

    async def _log_in(self, stack: AsyncExitStack, machine: Machine) -> Shell:
        async with self._logins:
            await asyncio.sleep(random.uniform(0, JITTER.total_seconds()))  # noqa: S311 - jitter
            return await stack.enter_async_context(self._hosts.connect(machine))

    def _release(self, key: Key, connection: _Connection) -> None:
        """Close an unused connection: at once if it was removed, else after the idle timeout."""
        if connection.users > 0:
            return
        if self._connections.get(key) is not connection:
            self._close(connection)
            return
        connection.idle_timer = asyncio.get_running_loop().call_later(
            self._idle_timeout.total_seconds(), self._expire, key, connection
        )

    def _expire(self, key: Key, connection: _Connection) -> None:
        self._remove(key, connection)
        self._close(connection)

    def _remove(self, key: Key, connection: _Connection) -> None:
        if self._connections.get(key) is connection:
            del self._connections[key]
        if connection.idle_timer is not None:
            connection.idle_timer.cancel()

    def _close(self, connection: _Connection) -> None:
        task = asyncio.create_task(_end(connection))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _end(connection: _Connection) -> None:
    """Close a connection; give up its login if that still runs."""
    connection.login.cancel()
    await asyncio.wait([connection.login])
    await connection.stack.aclose()


@asynccontextmanager
async def connect(
    destination: Destination,
    client_keys: Sequence[asyncssh.SSHKey],
    host_keys: Sequence[str],
    timeout: timedelta,
) -> AsyncIterator[SshShell]:
    """Open a shell on a host that presents exactly one of these host keys.

    Args:
        destination: the address and the user.
        client_keys: the control plane's private keys, in the order in which they are offered.
        host_keys: the machine's derived public key lines.
        timeout: for one attempt, from the first packet to the login.

    Raises:
        HostUnreachableError: no connection could be opened.
        HostKeyMismatchError: the host key is another one.
        AlgorithmsDifferError: the host allows no algorithm that is offered.
        LoginRefusedError: the host refuses the login.
        HostNotReadyError: the host is booting or shutting down.
        HostMisbehavesError: it sends without end.
    """
    client, meter = _Client(), Meter(destination)
    try:
        # asyncssh's own timeouts cover parts of the attempt; this one covers all of it.
        async with asyncio.timeout(timeout.total_seconds()):
            connection = await asyncssh.connect(
                destination.address,
                destination.port,
                client_factory=lambda: client,
                tunnel=meter,
                username=destination.user,
                client_keys=list(client_keys),
                known_hosts=([asyncssh.import_public_key(each) for each in host_keys], [], []),
                server_host_key_algs=list(HOST_KEY_ALGORITHMS),
                config=None,
                agent_path=None,
                preferred_auth="publickey",
                kex_algs=list(EXCHANGES),
                encryption_algs=list(_CIPHERS),
                compression_algs=None,
                keepalive_interval=KEEPALIVE.total_seconds(),
                keepalive_count_max=3,
            )
    except TimeoutError as error:
        raise HostUnreachableError(
            f"no SSH login after {span(timeout)}",
            destination=destination,
            attempted="connect",
        ) from error
    except HostMisbehavesError:
        raise
    except Exception as error:
        # Some of what no SSH server sends ends a connection with an error that is not asyncssh's
        # own, as a UnicodeDecodeError.
        if not isinstance(error, asyncssh.Error | OSError) and error is not client.lost:
            raise
        raise _refusal(error, client.banner, destination) from error
    async with connection:
        yield SshShell(connection, destination, meter)


class _Client(asyncssh.SSHClient):
    """Keeps the beginning of the server's banner, which explains a refused login.

    Attributes:
        banner: what the server says before the login.
        lost: why the connection ended, if it was not closed from here.
    """

    def __init__(self) -> None:
        self.banner = ""
        self.lost: Exception | None = None

    def auth_banner_received(self, msg: str, lang: str) -> None:  # noqa: ARG002
        self.banner = (self.banner + msg)[:MAX_TEXT_BYTES]

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc


def _refusal(error: Exception, banner: str, destination: Destination) -> RemoteError:
    """Return the error for a connection that failed with `error`."""
    text = error_words(error)
    kind: type[RemoteError] = HostUnreachableError
    if any(message in banner or message in text for message in _NOT_READY):
        kind, text = HostNotReadyError, banner.strip() or text
    elif isinstance(error, asyncssh.HostKeyNotVerifiable):
        kind = HostKeyMismatchError
        text = f"its host key is not the one derived for it ({text})"
    elif isinstance(error, asyncssh.KeyExchangeFailed) and "host key" in text:
        kind = HostKeyMismatchError
        text = f"it has no host key of the derived key's type ({text})"
    elif isinstance(error, asyncssh.KeyExchangeFailed) and text.startswith("No matching"):
        kind = AlgorithmsDifferError
    elif _EXPIRED in banner:
        kind, text = LoginRefusedError, banner.strip()
    elif isinstance(error, asyncssh.PermissionDenied):
        kind = LoginRefusedError
    return kind(text, destination=destination, attempted="connect")
