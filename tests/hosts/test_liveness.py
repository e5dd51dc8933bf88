"""The liveness probe, against listeners on this computer."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

import asyncssh
import pytest

from relight.domain.liveness import ProbeResult
from relight.hosts.liveness import IDENTIFICATION, MAX_BYTES, SshLivenessProbe

TIMEOUT = timedelta(seconds=0.5)
HOST = "127.0.0.1"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve, host: str = HOST) -> AsyncIterator[SshLivenessProbe]:
    """Yield a probe of a listener that serves each connection so."""
    writers = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await serve(reader, writer)

    server = await asyncio.start_server(serve_one, host, 0)
    try:
        yield SshLivenessProbe(server.sockets[0].getsockname()[1], TIMEOUT)
    finally:
        for writer in writers:
            writer.transport.abort()
        server.close()
        await server.wait_closed()


def sending(*parts: bytes) -> Serve:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)

    return serve


@pytest.mark.parametrize(
    "parts",
    [
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",),
        (b"SS", b"H-2.0-x\r\n"),
        (b"welcome\r\n", b"SSH-2.0-x\r\n"),
    ],
    ids=["at once", "in parts", "after another line"],
)
async def test_a_server_that_identifies_itself_has_answered(parts):
    async with listening(sending(*parts)) as probe:
        assert await probe("a-g1", HOST) is ProbeResult.ANSWERED


async def test_a_real_ssh_server_answers():
    key = asyncssh.generate_private_key("ssh-ed25519")
    async with await asyncssh.listen(HOST, 0, server_host_keys=[key]) as server:
        probe = SshLivenessProbe(server.get_port(), TIMEOUT)
        assert await probe("a-g1", HOST) is ProbeResult.ANSWERED


async def test_the_probe_names_itself_to_the_server():
    received = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-x\r\n")
        received.set_result(await reader.read(100))

    async with listening(serve) as probe:
        assert await probe("a-g1", HOST) is ProbeResult.ANSWERED
        assert await received == IDENTIFICATION


@pytest.mark.parametrize(
    "parts",
    [(), (b"HTTP/1.1 400 Bad Request\r\n",), (b"Exceeded MaxStartups\r\n",), (b"xSSH-2.0-x\r\n",)],
    ids=["nothing, as a machine that hangs", "http", "a refusal", "not at a line's start"],
)
async def test_an_open_port_without_an_identification_is_silence(parts):
    async with listening(sending(*parts)) as probe:
        assert await probe("a-g1", HOST) is ProbeResult.SILENT


async def test_a_server_that_hangs_up_is_silent():
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with listening(serve) as probe:
        assert await probe("a-g1", HOST) is ProbeResult.SILENT


async def test_no_more_than_a_few_kilobytes_are_read_of_a_server_that_sends_without_end():
    sent = 0

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with_pauses = b"x" * 1024
        try:
            while True:
                writer.write(with_pauses)
                await writer.drain()
                sent += len(with_pauses)
                await asyncio.sleep(0.001)
        except ConnectionError:
            pass

    async with listening(serve) as probe:
        assert await probe("a-g1", HOST) is ProbeResult.SILENT
    assert sent <= 16 * MAX_BYTES


async def test_a_closed_port_is_silence():
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        probe = SshLivenessProbe(unused.getsockname()[1], TIMEOUT)
        assert await probe("a-g1", HOST) is ProbeResult.SILENT


async def test_an_address_of_ipv6_is_probed():
    async with listening(sending(b"SSH-2.0-x\r\n"), "::1") as probe:
        assert await probe("a-g1", "::1") is ProbeResult.ANSWERED


@pytest.mark.parametrize("address", ["", "no such name.invalid", "\x00", "é" * 300])
async def test_an_address_that_is_none_was_not_probed(address):
    assert await SshLivenessProbe(1, TIMEOUT)("a-g1", address) is ProbeResult.NOT_PROBED


@contextmanager
def no_sockets_left():
    """Let this process open no further file until the block ends."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as newest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(3, newest.fileno()), before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_control_plane_without_sockets_says_nothing_about_a_machine():
    async with listening(sending(b"SSH-2.0-x\r\n")) as probe:
        with no_sockets_left():
            answer = await probe("a-g1", HOST)
        assert answer is ProbeResult.NOT_PROBED
        assert await probe("a-g1", HOST) is ProbeResult.ANSWERED
