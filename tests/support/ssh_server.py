"""A real SSH server on loopback, in this process: each command is really run by a shell."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncssh

HANG = "hang"
"""A command that starts and never ends."""


@dataclass
class SshServer:
    """One server.

    Attributes:
        authorized: the client key that it lets in.
        banner: what it says to whoever wants to log in.
        logins: how often somebody tried to.
        commands: what it was asked to run.
        hangs: set once a command hangs.
    """

    authorized: asyncssh.SSHKey
    banner: str = ""
    port: int = 0
    logins: int = 0
    commands: list[str] = field(default_factory=list)
    hangs: asyncio.Event = field(default_factory=asyncio.Event)
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)

    def cut(self) -> None:
        """Have every connection break."""
        for connection in self.connections:
            connection.abort()

    async def run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = process.command or ""
        self.commands.append(command)
        if command == HANG:
            self.hangs.set()
            await asyncio.Event().wait()
        # As sshd does not: it waits for the end of the input first, so one left open shows.
        given = await process.stdin.read()
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", f"exec {command}", stdin=pipe, stdout=pipe, stderr=pipe
        )
        stdout, stderr = await child.communicate(given)
        process.stdout.write(stdout)
        process.stderr.write(stderr)
        code = child.returncode
        assert code is not None
        if code < 0:
            process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
        else:
            process.exit(code)


class _Login(asyncssh.SSHServer):
    def __init__(self, server: SshServer) -> None:
        self._server = server

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._server.connections.append(conn)

    def begin_auth(self, username: str) -> bool:
        self._server.logins += 1
        if self._server.banner:
            self._connection.send_auth_banner(self._server.banner)
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return not self._server.banner and key.public_data == self._server.authorized.public_data


@asynccontextmanager
async def ssh_server(
    host_key: asyncssh.SSHKey, authorized: asyncssh.SSHKey, banner: str = ""
) -> AsyncIterator[SshServer]:
    server = SshServer(authorized, banner)
    listener = await asyncssh.create_server(
        lambda: _Login(server),
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        process_factory=server.run,
        encoding=None,
    )
    server.port = listener.get_port()
    try:
        yield server
    finally:
        server.cut()
        listener.close()
        await listener.wait_closed()


@dataclass
class Link:
    """A wire to a server that can turn into a black hole: it takes all, and carries nothing."""

    port: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def link_to(port: int) -> AsyncIterator[Link]:
    link = Link()
    link.open.set()
    tasks: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                await link.open.wait()
                writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        tasks.add(asyncio.create_task(carry(reader, back)))
        tasks.add(asyncio.create_task(carry(there, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as listener:
        link.port = listener.sockets[0].getsockname()[1]
        try:
            yield link
        finally:
            link.open.set()
            await asyncio.wait(tasks, timeout=5)
