"""A real SSH server on loopback, in this process. A shell runs each command."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncssh

HANG = "hang"
"""A command that never ends."""

UNREAD = "unread"
"""A command that ends with 3 at once, and does not read its input."""


@dataclass
class SshServer:
    """A running server.

    Attributes:
        authorized: the client key that it accepts.
        banner: is sent at each login, which is then refused; empty accepts logins.
        port: its port.
        logins: the number of attempted logins.
        commands: the commands that it ran.
        hangs: is set once a command hangs.
        connections: all connections so far.
    """

    authorized: asyncssh.SSHKey
    banner: str = ""
    port: int = 0
    logins: int = 0
    commands: list[str] = field(default_factory=list)
    hangs: asyncio.Event = field(default_factory=asyncio.Event)
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)

    def cut(self) -> None:
        """Break every connection."""
        for connection in self.connections:
            connection.abort()

    async def run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = process.command or ""
        self.commands.append(command)
        if command == UNREAD:
            process.exit(3)
            return
        if command == HANG:
            self.hangs.set()
            await asyncio.Event().wait()
        # Unlike sshd, it waits for the end of the input: an input that stays open makes it hang.
        received = await process.stdin.read()
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", f"exec {command}", stdin=pipe, stdout=pipe, stderr=pipe
        )
        stdout, stderr = await child.communicate(received)
        process.stdout.write(stdout)
        process.stderr.write(stderr)
        code = child.returncode
        assert code is not None
        if code < 0:
            process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
        else:
            process.exit(code)


class Login(asyncssh.SSHServer):
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
async def listening(
    host_key: asyncssh.SSHKey,
    login: Callable[[], asyncssh.SSHServer],
    run: Callable[[asyncssh.SSHServerProcess[bytes]], object],
    algorithms: Mapping[str, list[str]] | None = None,
) -> AsyncIterator[int]:
    """Serve SSH on a free port of loopback. Yields the port."""
    listener = await asyncssh.create_server(
        login,
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        process_factory=run,
        encoding=None,
        **(algorithms or {}),
    )
    try:
        yield listener.get_port()
    finally:
        listener.close()
        await listener.wait_closed()


@asynccontextmanager
async def ssh_server(
    host_key: asyncssh.SSHKey,
    authorized: asyncssh.SSHKey,
    banner: str = "",
    algorithms: Mapping[str, list[str]] | None = None,
) -> AsyncIterator[SshServer]:
    """Serve SSH with its commands; `algorithms` are options of asyncssh that allow only these."""
    server = SshServer(authorized, banner)
    async with listening(host_key, lambda: Login(server), server.run, algorithms) as server.port:
        try:
            yield server
        finally:
            server.cut()


@dataclass
class Link:
    """A forwarded port that can stop forwarding without closing its connections.

    Attributes:
        port: the local port.
        open: cleared while nothing is forwarded.
    """

    port: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def link_to(port: int) -> AsyncIterator[Link]:
    link = Link()
    link.open.set()
    tasks: set[asyncio.Task[None]] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                await link.open.wait()
                writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        tasks.add(asyncio.create_task(forward(reader, server_writer)))
        tasks.add(asyncio.create_task(forward(server_reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as listener:
        link.port = listener.sockets[0].getsockname()[1]
        try:
            yield link
        finally:
            link.open.set()
            await asyncio.wait(tasks, timeout=5)
