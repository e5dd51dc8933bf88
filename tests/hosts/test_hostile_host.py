"""A hostile host is bounded in bytes and in time, named in its fault, and harms nobody else."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncssh
import pytest

from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.text import visible
from relight.hosts import metering
from relight.hosts import shell as shell_module
from relight.hosts.connections import connect
from relight.hosts.errors import (
    CommandFailedError,
    CommandTimeoutError,
    ConnectionLostError,
    Destination,
    HostMisbehavesError,
    HostUnreachableError,
    LoginRefusedError,
    RemoteError,
    fault_of,
)
from relight.hosts.keys import derive_host_key
from starter.local.children import wait_until
from tests.support import hostile_server as hostile
from tests.support.hostile_server import HostileServer, hostile_server
from tests.support.ssh_server import link_to

pytestmark = pytest.mark.attack("a host that floods, trickles or hangs")

HOST_KEY = derive_host_key(bytes(32), "de-1-g1")
CLIENT_KEY = asyncssh.generate_private_key("ssh-ed25519")
SOON = timedelta(seconds=20)
AT_ONCE = timedelta(milliseconds=500)
MAX_FAULT_BYTES = 32 * 1024
"""Of a fault as JSON: its texts have 16 KiB, and JSON escapes a line feed or a backslash."""


def destination(port: int) -> Destination:
    return Destination(address="127.0.0.1", port=port, user="relight", machine_key="de-1-g1")


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[HostileServer]:
    async with hostile_server(asyncssh.import_private_key(HOST_KEY.private), CLIENT_KEY) as server:
        yield server


async def fault_from(call: Awaitable[object], kind: type[RemoteError]) -> Fault:
    """Return the fault in which a call ends: it names the host, and is small and visible."""
    with pytest.raises(RemoteError) as caught:
        await call
    assert type(caught.value) is kind, caught.value
    fault = fault_of(caught.value)
    assert (fault.host, fault.machine_key) == ("127.0.0.1", "de-1-g1")
    assert fault.fault_class is FaultClass.HOST
    text = fault.model_dump_json()
    assert len(text) < MAX_FAULT_BYTES
    assert text.isprintable()
    assert len(str(caught.value)) <= 4096
    assert str(caught.value) == visible(str(caught.value))
    return fault


async def ran(port: int, timeout: timedelta) -> None:
    async with connect(destination(port), [CLIENT_KEY], [HOST_KEY.public], SOON) as shell:
        await shell.run(["relight-host", "observe"], timeout=timeout)


async def logged_in(port: int, timeout: timedelta = AT_ONCE) -> None:
    async with connect(destination(port), [CLIENT_KEY], [HOST_KEY.public], timeout):
        pass


async def until_closed(server: HostileServer) -> None:
    """Wait until nothing goes on: what floods would take the time of all tests that follow."""

    async def closed() -> bool:
        return not server.open and not server.running

    await wait_until(closed, SOON)


@pytest.mark.parametrize(
    "behave", [hostile.flood_stdout, hostile.flood_stderr, hostile.one_long_line]
)
async def test_output_without_end_is_cut_and_the_connection_closed(
    server: HostileServer, behave: Callable[[hostile.Process], object]
) -> None:
    server.behave = behave
    began = time.monotonic()
    fault = await fault_from(ran(server.port, SOON), HostMisbehavesError)
    assert time.monotonic() - began < 5
    assert fault.kind == "host-misbehaves"
    assert "printed more than 1048576 bytes" in fault.summary
    assert fault.attempted == "run relight-host"
    assert fault.stderr_tail
    await until_closed(server)


async def test_messages_beside_the_output_are_counted(server: HostileServer) -> None:
    server.behave = hostile.flood_debug
    fault = await fault_from(ran(server.port, SOON), HostMisbehavesError)
    assert "sends without end" in fault.summary
    assert fault.argv[0] == "relight-host"
    await until_closed(server)


@pytest.mark.parametrize("behave", [hostile.trickle, hostile.hang])
async def test_a_command_without_end_is_given_up(
    server: HostileServer, behave: Callable[[hostile.Process], object]
) -> None:
    server.behave = behave
    await fault_from(ran(server.port, AT_ONCE), CommandTimeoutError)
    await until_closed(server)


async def test_a_command_that_ends_without_an_exit_code_is_lost(server: HostileServer) -> None:
    server.behave = hostile.close_without_exit
    await fault_from(ran(server.port, SOON), ConnectionLostError)


async def test_the_reason_of_a_disconnection_is_shown_with_escapes(server: HostileServer) -> None:
    server.farewell = "\x1b]52;c;cHduZWQ=\x07\u202egone"
    try:
        fault = await fault_from(logged_in(server.port, SOON), HostUnreachableError)
    finally:
        server.farewell = ""
    assert r"\x1b]52;c;cHduZWQ=\x07\u202egone" in fault.summary


async def test_what_a_host_prints_is_shown_with_escapes(server: HostileServer) -> None:
    server.behave = hostile.escapes
    fault = await fault_from(ran(server.port, SOON), CommandFailedError)
    shown = r"\x1b]52;c;cHduZWQ=\x07\x9b2J\x9b2J\u202eevil\xff"
    assert fault.stderr_tail == shown
    assert fault.summary.endswith(shown)


async def test_many_lines_are_read_completely(server: HostileServer) -> None:
    async def lines(process: hostile.Process) -> None:
        for number in range(10_000):
            process.stdout.write(b"line %d\n" % number)  # a packet each
        process.exit(0)

    server.behave = lines
    async with connect(destination(server.port), [CLIENT_KEY], [HOST_KEY.public], SOON) as shell:
        completed = await shell.run(["relight-host"], timeout=SOON)
    assert completed.stdout.splitlines() == [f"line {number}" for number in range(10_000)]


async def test_the_limit_is_for_one_command_not_for_a_connection(server: HostileServer) -> None:
    async def print_much(process: hostile.Process) -> None:
        process.stdout.write(b"x" * shell_module.MAX_OUTPUT_BYTES)
        process.exit(0)

    server.behave = print_much
    async with connect(destination(server.port), [CLIENT_KEY], [HOST_KEY.public], SOON) as shell:
        for _ in range(2 * metering.MAX_ALLOWANCE_BYTES // shell_module.MAX_OUTPUT_BYTES):
            completed = await shell.run(["relight-host"], timeout=SOON)
            assert len(completed.stdout) == shell_module.MAX_OUTPUT_BYTES


# ---------------------------------------------------------------- before the login


@asynccontextmanager
async def raw_server(
    answer: Callable[[asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """Serve a port with something that is no SSH server; the event is set once a client left."""
    left = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.ensure_future(answer(writer))
        try:
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass
        finally:
            talk.cancel()
            left.set()
            writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as listener:
        yield listener.sockets[0].getsockname()[1], left


def repeating(data: bytes, pause: float = 0) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def answer(writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(pause)

    return answer


@pytest.mark.parametrize(
    ("data", "pause", "kind"),
    [
        (b"welcome to this host" * 200 + b"\n", 0, HostMisbehavesError),
        (b"hello\n" * 400, 0, HostUnreachableError),  # asyncssh refuses 1,024 lines
        (b"SSH-2.0-x\r\n" + bytes(4000), 0, HostUnreachableError),
        (b"SSH-2.0-\xff\xfe\r\n", 0, HostUnreachableError),
        (b"x" * 65536, 0, HostUnreachableError),  # it refuses a line of 8 KiB
        (b"welcome\n", 0.02, HostUnreachableError),
        (b".", 0.02, HostUnreachableError),
        (b"SSH-2.0-OpenSSH_9.2\r\n\0\0\x01\0", 0.1, HostUnreachableError),
        (b"SSH-1.5-\x1b[2J\r\n", 0.1, HostUnreachableError),
    ],
)
async def test_a_server_that_does_not_come_to_a_login_is_given_up(
    data: bytes, pause: float, kind: type[RemoteError]
) -> None:
    async with raw_server(repeating(data, pause)) as (port, left):
        began = time.monotonic()
        await fault_from(logged_in(port, AT_ONCE if pause else SOON), kind)
        assert time.monotonic() - began < 5
        async with asyncio.timeout(SOON.total_seconds()):
            await left.wait()


async def test_a_banner_without_end_is_cut(server: HostileServer) -> None:
    server.banner = ("\x1b[2J" + "x" * 1000, 1000)
    try:
        fault = await fault_from(logged_in(server.port, SOON), HostMisbehavesError)
    finally:
        server.banner = ("", 0)
    assert fault.attempted == "connect"
    await until_closed(server)


async def test_a_banner_is_shown_with_escapes(server: HostileServer) -> None:
    server.banner = ("System is booting up \x1b]0;pwned\x07", 1)
    other = asyncssh.generate_private_key("ssh-ed25519")
    try:
        with pytest.raises(RemoteError) as caught:
            async with connect(destination(server.port), [other], [HOST_KEY.public], SOON):
                pytest.fail("it connected")
    finally:
        server.banner = ("", 0)
    assert caught.value.text == r"System is booting up \x1b]0;pwned\x07"


async def test_a_key_exchange_that_trickles_is_given_up(server: HostileServer) -> None:
    async with link_to(server.port) as link:
        closing = asyncio.create_task(_dribble(link.open))
        await fault_from(logged_in(link.port), HostUnreachableError)
        closing.cancel()
        link.open.set()
    await until_closed(server)


async def _dribble(gate: asyncio.Event) -> None:
    """Let a link forward one packet each 300 ms."""
    while True:
        gate.clear()
        await asyncio.sleep(0.3)
        gate.set()
        await asyncio.sleep(0)


async def test_a_login_with_another_key_is_refused_as_before(server: HostileServer) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(LoginRefusedError):
        async with connect(destination(server.port), [other], [HOST_KEY.public], SOON):
            pytest.fail("it connected")


async def test_an_account_that_has_expired_is_a_refused_login(server: HostileServer) -> None:
    server.banner = ("Your account has expired; please contact your system administrator\n", 1)
    server.farewell = "Access denied by PAM account configuration"
    refused = await fault_from(logged_in(server.port, SOON), LoginRefusedError)
    assert "Your account has expired" in refused.summary


# ---------------------------------------------------------------- memory

_CLIENT = """
import asyncio, json, resource, sys, time
from datetime import timedelta
import asyncssh
from relight.hosts.connections import connect
from relight.hosts.errors import Destination, RemoteError

async def main(port, client_key, host_key):
    there = Destination("127.0.0.1", port, "relight", "de-1-g1")
    key = asyncssh.read_private_key(client_key)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    try:
        async with connect(there, [key], [host_key], timedelta(seconds=20)) as shell:
            await shell.run(["relight-host", "observe"], timeout=timedelta(seconds=60))
        kind = "ended"
    except RemoteError as error:
        kind = error.kind
    print(json.dumps({"kind": kind, "seconds": time.monotonic() - began, "grown_mib":
        (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}))

asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
"""


async def test_three_gigabytes_of_output_cost_the_control_plane_no_memory(tmp_path: Path) -> None:
    host_key, client_key = tmp_path / "host", tmp_path / "client"
    host_key.write_text(HOST_KEY.private)
    CLIENT_KEY.write_private_key(client_key)
    pipe, environment = asyncio.subprocess.PIPE, {**os.environ, "PYTHONPATH": str(Path.cwd())}
    flooder = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.support.hostile_server", host_key, client_key),
        stdin=pipe,
        stdout=pipe,
        env=environment,
    )
    try:
        assert flooder.stdout is not None
        port = (await flooder.stdout.readline()).decode().strip()
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _CLIENT, port, client_key, HOST_KEY.public),
            stdout=pipe,
            env=environment,
        )
        printed, _ = await client.communicate()
    finally:
        flooder.kill()
        await flooder.wait()
    measured = json.loads(printed)
    assert measured["kind"] == "host-misbehaves"
    assert measured["seconds"] < 10
    assert measured["grown_mib"] < 64
