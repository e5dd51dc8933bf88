"""A hostile host: a real SSH server with the right host key that does all it can to a client.

It runs in the test's process, or as a process of its own (`python -m tests.support.hostile_server
HOST_KEY CLIENT_KEY`), which prints its port and serves until its standard input ends.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from tests.support.ssh_server import listening

CHUNK = b"x" * 65536
GIGABYTES_3 = 3 * 1024**3

Process = asyncssh.SSHServerProcess[bytes]


async def _flood(process: Process, stream: asyncssh.SSHWriter[bytes], chunk: bytes) -> None:
    for _ in range(GIGABYTES_3 // len(chunk)):
        stream.write(chunk)
        await stream.drain()


async def flood_stdout(process: Process) -> None:
    await _flood(process, process.stdout, b"a line\n" * 9000)


async def flood_stderr(process: Process) -> None:
    await _flood(process, process.stderr, CHUNK)


async def one_long_line(process: Process) -> None:
    process.stdout.write(b"x" * 100_000_000 + b"\n")
    await process.stdout.drain()
    process.exit(1)


async def trickle(process: Process) -> None:
    while True:
        process.stdout.write(b".")
        await asyncio.sleep(0.01)


async def hang(process: Process) -> None:
    await process.wait_closed()


async def flood_debug(process: Process) -> None:
    """Messages that belong to no command, and that a client ignores."""
    connection = process.get_extra_info("connection")
    # It does not learn by its messages that the connection is closed.
    while not connection.is_closed():
        for _ in range(500):
            connection.send_debug("x")
        await asyncio.sleep(0)


async def close_without_exit(process: Process) -> None:
    process.close()


async def escapes(process: Process) -> None:
    process.stderr.write(b"\x1b]52;c;cHduZWQ=\x07\x9b2J\xc2\x9b2J\xe2\x80\xaeevil\xff")
    process.exit(1)


@dataclass
class HostileServer:
    """A running server.

    Attributes:
        port: of its sshd.
        behave: what it does for every command.
        banner: what it sends before each login, so many times.
        farewell: the reason with which it disconnects before a login; empty to admit it.
        open: the connections that are open.
        running: how many commands it answers now.
    """

    authorized: asyncssh.SSHKey
    port: int = 0
    behave: Callable[[Process], object] = hang
    banner: tuple[str, int] = ("", 0)
    farewell: str = ""
    open: set[asyncssh.SSHServerConnection] = field(default_factory=set)
    running: int = 0

    async def run(self, process: Process) -> None:
        self.running += 1
        try:
            await self.behave(process)  # type: ignore[misc]
        except (asyncssh.Error, OSError):
            process.close()  # the client is gone
        finally:
            self.running -= 1


class _Login(asyncssh.SSHServer):
    def __init__(self, server: HostileServer) -> None:
        self._server = server

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._server.open.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.open.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        text, times = self._server.banner
        for _ in range(times):
            self._connection.send_auth_banner(text)
        if self._server.farewell:
            self._connection.disconnect(asyncssh.DISC_PROTOCOL_ERROR, self._server.farewell)
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return key.public_data == self._server.authorized.public_data


@asynccontextmanager
async def hostile_server(
    host_key: asyncssh.SSHKey, authorized: asyncssh.SSHKey
) -> AsyncIterator[HostileServer]:
    server = HostileServer(authorized)
    async with listening(host_key, lambda: _Login(server), server.run) as server.port:
        try:
            yield server
        finally:
            for connection in list(server.open):
                connection.abort()


async def _serve(host_key: Path, authorized: Path) -> None:
    key, client = asyncssh.read_private_key(host_key), asyncssh.read_private_key(authorized)
    async with hostile_server(key, client) as server:
        server.behave = flood_stdout
        sys.stdout.write(f"{server.port}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), Path(sys.argv[2])))
