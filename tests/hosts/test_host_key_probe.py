"""The host-key probe, against servers on this computer."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncssh
import pytest

from relight.hosts.host_key_probe import ShownKey, SshHostKeyProbe
from relight.hosts.key_files import KeyRing, client_key_of, host_secret_of
from relight.hosts.keys import derive_host_key
from tests.support.ssh_server import ssh_server

HOST, KEY = "127.0.0.1", "de-1-g1"
OLD, NEW = bytes(range(32)), bytes(range(32, 64))
CLIENT = asyncssh.generate_private_key("ssh-ed25519")


def probe(port: int) -> SshHostKeyProbe:
    """Return a probe while the secret of host keys is rotated."""
    ring = KeyRing((client_key_of(CLIENT),), (host_secret_of(OLD), host_secret_of(NEW)))
    return SshHostKeyProbe(port, lambda: ring, timedelta(seconds=1))


@asynccontextmanager
async def sending(content: bytes) -> AsyncIterator[int]:
    """Serve something that is no SSH server; yield its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("secret", "machine_key", "shown"),
    [
        (OLD, KEY, ShownKey.OWN),
        (NEW, KEY, ShownKey.OWN),
        (OLD, "de-1-g2", ShownKey.OTHER),
        (bytes(32), KEY, ShownKey.OTHER),
    ],
)
async def test_the_key_of_a_host_tells_whose_it_is_without_a_login(secret, machine_key, shown):
    host_key = asyncssh.import_private_key(derive_host_key(secret, machine_key).private)
    async with ssh_server(host_key, CLIENT) as server:
        assert await probe(server.port)(KEY, HOST) is shown
        assert server.logins == 0


@pytest.mark.parametrize("content", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"x" * 1_000_000])
async def test_a_connection_without_a_key_is_unclear(content):
    async with sending(content) as port:
        assert await probe(port)(KEY, HOST) is ShownKey.UNCLEAR


async def test_a_host_with_another_kind_of_key_is_unclear():
    async with ssh_server(asyncssh.generate_private_key("ssh-rsa"), CLIENT) as server:
        assert await probe(server.port)(KEY, HOST) is ShownKey.UNCLEAR


async def test_where_nothing_listens_no_key_is_shown():
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    assert await probe(port)(KEY, HOST) is ShownKey.NONE
