"""`python -m devkit.bench.scale.hosts`: one process that plays all hosts of a fleet, over SSH and HTTP.

Each host has an address of its own in loopback, and a host key of its own. A listening socket for
each would be ten thousand; so one listens on every address, and whom a connection is for is where
it came to. That address would be open to the network, so who comes from elsewhere is hung up on.

Its first line of output says on which ports it listens, as JSON.
"""

import asyncio
import contextlib
import functools
import ipaddress
import json
import resource
import socket
from pathlib import Path
from typing import Annotated

import asyncssh
import typer

from devkit.bench.scale.fleet import PlayedRoute, at_address
from devkit.bench.scale.host import PlayedHost
from relight.hosts.keys import (
    derive_host_key,
    load_client_key,
    load_secret,
)

_ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - see above
_BACKLOG = 1024
_END_OF_REQUEST = b"\r\n\r\n"
_SSH = {
    "config": None,
    "encoding": None,
    "allow_pty": False,
    "agent_forwarding": False,
    "x11_forwarding": False,
    "compression_algs": None,
    "gss_host": None,
}


class Hosts:
    """Every host of the fleet, from the first time that somebody came to it."""

    def __init__(
        self,
        routes: int,
        authorized: asyncssh.SSHKey,
        host_key_secret: bytes,
        version: str,
        architecture: str,
        change_seconds: float,
    ) -> None:
        self._routes = routes
        self._authorized = authorized
        self._secret = host_key_secret
        self._new = functools.partial(PlayedHost, version, architecture, change_seconds)
        self._hosts: dict[int, PlayedHost] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def at(self, address: str) -> tuple[PlayedRoute, PlayedHost] | None:
        """Return the host that has an address, and whose it is; None where none has it."""
        route = at_address(address)
        if not 0 <= route.number < self._routes:
            return None
        host = self._hosts.get(route.number)
        if host is None:
            host = self._hosts[route.number] = self._new()
        return route, host

    async def serve_ssh(self, listener: socket.socket) -> None:
        """Take whoever comes, until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            connection, (peer, _) = await loop.sock_accept(listener)
            task = loop.create_task(self._serve_ssh(connection, peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve_ssh(self, connection: socket.socket, peer: str) -> None:
        found = self.at(connection.getsockname()[0]) if _is_local(peer) else None
        if found is None:
            connection.close()
            return
        route, host = found
        key = asyncssh.import_private_key(derive_host_key(self._secret, route.machine_key).private)
        # Who hangs up before he is logged in has his reasons, and says them himself.
        with contextlib.suppress(asyncssh.Error, OSError):
            await asyncssh.run_server(
                connection,
                server_factory=functools.partial(_Login, self._authorized),
                process_factory=functools.partial(_run, host),
                server_host_keys=[key],
                **_SSH,
            )


class _Login(asyncssh.SSHServer):
    """Lets in who has the control plane's key."""

    def __init__(self, authorized: asyncssh.SSHKey) -> None:
        self._authorized = authorized

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
        return key.public_data == self._authorized.public_data


async def _run(host: PlayedHost, process: asyncssh.SSHServerProcess[bytes]) -> None:
    answer = await host.run(process.command or "")
    process.stdout.write(answer.stdout.encode())
    process.stderr.write(answer.stderr.encode())
    process.exit(answer.exit_code)


class Health(asyncio.Protocol):
    """Answers one GET with what the daemon of that host says of itself."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a caller who comes from this computer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not _is_local(transport.get_extra_info("peername")[0]):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Answer when all is asked."""
        self._asked += data
        if _END_OF_REQUEST not in self._asked:
            return
        found = self._hosts.at(self._transport.get_extra_info("sockname")[0])
        status, body = ("404 Not Found", "") if found is None else ("200 OK", found[1].health)
        self._transport.write(
            f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            f"{body}".encode()
        )
        self._transport.close()


def listen() -> socket.socket:
    """Return a socket that listens on every address, at a port that is free."""
    listener = socket.socket()
    listener.setblocking(False)
    listener.bind((_ALL_ADDRESSES, 0))
    listener.listen(_BACKLOG)
    return listener


def _is_local(peer: str) -> bool:
    return ipaddress.IPv4Address(peer).is_loopback


async def _serve(hosts: Hosts) -> None:
    ssh, probe = listen(), listen()
    health = functools.partial(Health, hosts)
    async with await asyncio.get_running_loop().create_server(health, sock=probe):
        ports = {"ssh_port": ssh.getsockname()[1], "probe_port": probe.getsockname()[1]}
        print(json.dumps(ports), flush=True)  # noqa: T201 - the caller waits for it
        await hosts.serve_ssh(ssh)


def main(
    routes: Annotated[int, typer.Option(min=1)],
    client_key: Annotated[Path, typer.Option(help="The file with the key that is let in.")],
    host_key_secret: Annotated[Path, typer.Option(help="The file with the host keys' secret.")],
    version: Annotated[str, typer.Option(help="What the hosts run at first.")],
    architecture: Annotated[str, typer.Option()] = "amd64",
    change_seconds: Annotated[float, typer.Option(min=0, help="How long a change takes.")] = 0.5,
) -> None:
    """Play the hosts until SIGTERM."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    hosts = Hosts(
        routes=routes,
        authorized=load_client_key(client_key),
        host_key_secret=load_secret(host_key_secret),
        version=version,
        architecture=architecture,
        change_seconds=change_seconds,
    )
    asyncio.run(_serve(hosts))


if __name__ == "__main__":
    typer.run(main)
