"""`python -m devkit.bench.scale.host_server`: one process simulates all hosts, over SSH and HTTP.

Each host has its own loopback address and host key. A listening socket per host would need ten
thousand sockets, so one socket listens on every address, and a connection's local address selects
the host. Such a socket is open to the network, so connections from elsewhere are closed. A third
port only sends the identification line of SSH, which is all that a liveness probe reads.

The first line of output contains the ports, as JSON.
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

from devkit.bench.scale.fleet import SimulatedRoute, at_address
from devkit.bench.scale.simulated_host import SimulatedHost
from relight.hosts.keys import derive_host_key, load_client_key, load_secret

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


class HostServer:
    """All hosts of the fleet; each is created at its first connection."""

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
        self._new = functools.partial(SimulatedHost, version, architecture, change_seconds)
        self._hosts: dict[int, SimulatedHost] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def at(self, address: str) -> tuple[SimulatedRoute, SimulatedHost] | None:
        """Return the route and the host at an address, None if there is none."""
        route = at_address(address)
        if not 0 <= route.number < self._routes:
            return None
        host = self._hosts.get(route.number)
        if host is None:
            host = self._hosts[route.number] = self._new()
        return route, host

    async def serve_ssh(self, listener: socket.socket) -> None:
        """Accept SSH connections until cancelled."""
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
        # A client that disconnects before it is logged in reports the reason itself.
        with contextlib.suppress(asyncssh.Error, OSError):
            await asyncssh.run_server(
                connection,
                server_factory=functools.partial(_Login, self._authorized),
                process_factory=functools.partial(_run, host),
                server_host_keys=[key],
                **_SSH,
            )


class _Login(asyncssh.SSHServer):
    """Accepts only the control plane's key."""

    def __init__(self, authorized: asyncssh.SSHKey) -> None:
        self._authorized = authorized

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
        return key.public_data == self._authorized.public_data


async def _run(host: SimulatedHost, process: asyncssh.SSHServerProcess[bytes]) -> None:
    result = await host.run(process.command or "")
    process.stdout.write(result.stdout.encode())
    process.stderr.write(result.stderr.encode())
    process.exit(result.exit_code)


class HealthProtocol(asyncio.Protocol):
    """Answers one HTTP request with the health of the host's service."""

    def __init__(self, hosts: HostServer) -> None:
        self._hosts = hosts
        self._request = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close the connection if it does not come from this computer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not _is_local(transport.get_extra_info("peername")[0]):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Answer when the request is complete."""
        self._request += data
        if _END_OF_REQUEST not in self._request:
            return
        found = self._hosts.at(self._transport.get_extra_info("sockname")[0])
        status, body = ("404 Not Found", "") if found is None else ("200 OK", found[1].health)
        self._transport.write(
            f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            f"{body}".encode()
        )
        self._transport.close()


class IdentificationProtocol(asyncio.Protocol):
    """Sends the identification line of an SSH server, as the host of a connection's address.

    Attributes:
        silent_every: each host whose number is a multiple of it accepts connections and sends
            nothing, as a host that hangs. 0: none.
    """

    def __init__(self, silent_every: int) -> None:
        self._silent_every = silent_every

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the line, unless the host is silent or the connection comes from elsewhere."""
        assert isinstance(transport, asyncio.Transport)
        if not _is_local(transport.get_extra_info("peername")[0]):
            transport.abort()
            return
        route = at_address(transport.get_extra_info("sockname")[0])
        if not self._silent_every or route.number % self._silent_every:
            transport.write(b"SSH-2.0-simulated\r\n")


def _listen() -> socket.socket:
    """Return a socket that listens on every address, at a free port."""
    listener = socket.socket()
    listener.setblocking(False)
    listener.bind((_ALL_ADDRESSES, 0))
    listener.listen(_BACKLOG)
    return listener


def _is_local(peer: str) -> bool:
    return ipaddress.IPv4Address(peer).is_loopback


async def _serve(hosts: HostServer, silent_every: int) -> None:
    ssh, probe, identification = _listen(), _listen(), _listen()
    loop = asyncio.get_running_loop()
    health = functools.partial(HealthProtocol, hosts)
    identify = functools.partial(IdentificationProtocol, silent_every)
    async with (
        await loop.create_server(health, sock=probe),
        await loop.create_server(identify, sock=identification),
    ):
        ports = {
            "ssh_port": ssh.getsockname()[1],
            "probe_port": probe.getsockname()[1],
            "identification_port": identification.getsockname()[1],
        }
        print(json.dumps(ports), flush=True)  # noqa: T201 - the parent process waits for it
        await hosts.serve_ssh(ssh)


def main(
    routes: Annotated[int, typer.Option(min=1)],
    client_key: Annotated[Path, typer.Option(help="The file with the key that may log in.")],
    host_key_secret: Annotated[Path, typer.Option(help="The file with the host keys' secret.")],
    version: Annotated[str, typer.Option(help="The version on every host at the start.")],
    architecture: Annotated[str, typer.Option()] = "amd64",
    change_seconds: Annotated[float, typer.Option(min=0, help="How long a change takes.")] = 0.5,
    silent_every: Annotated[
        int, typer.Option(min=0, help="Each such host identifies itself to no liveness probe.")
    ] = 0,
) -> None:
    """Simulate the hosts until SIGTERM."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    hosts = HostServer(
        routes=routes,
        authorized=load_client_key(client_key),
        host_key_secret=load_secret(host_key_secret),
        version=version,
        architecture=architecture,
        change_seconds=change_seconds,
    )
    asyncio.run(_serve(hosts, silent_every))


if __name__ == "__main__":
    typer.run(main)
