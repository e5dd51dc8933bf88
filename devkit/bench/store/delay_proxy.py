"""A proxy on loopback that makes a round trip to a PostgreSQL server longer, as a network does."""

import asyncio
import multiprocessing
import selectors
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

_PROCESSES = multiprocessing.get_context("spawn")


@contextmanager
def delayed(server: Path, round_trip_seconds: float) -> Iterator[int]:
    """Run a proxy in a process of its own, before a server's Unix socket; yield its port."""
    ours, theirs = _PROCESSES.Pipe()
    process = _PROCESSES.Process(target=_serve, args=(str(server), round_trip_seconds, theirs))
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _serve(server: str, seconds: float, parent: Connection) -> None:
    # Other selectors round times up to milliseconds.
    selector = selectors.SelectSelector()
    with asyncio.Runner(loop_factory=partial(asyncio.SelectorEventLoop, selector)) as runner:
        runner.run(_listen(server, seconds, parent))


async def _listen(server: str, seconds: float, parent: Connection) -> None:
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: _Client(server, seconds), "127.0.0.1", 0)
    parent.send(listener.sockets[0].getsockname()[1])
    await listener.serve_forever()


class _Client(asyncio.Protocol):
    """A connection of a client. All of a round trip's delay is on the way to the server."""

    def __init__(self, server: str, seconds: float) -> None:
        self._server, self._seconds = server, seconds
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        # Nothing is read before the server is connected.
        transport.pause_reading()
        self._connecting = self._loop.create_task(self._connect(transport))

    async def _connect(self, client: asyncio.Transport) -> None:
        self._upstream, _ = await self._loop.create_unix_connection(
            lambda: _Upstream(client), self._server
        )
        client.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._loop.call_later(self._seconds, self._upstream.write, data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._upstream.close()


class _Upstream(asyncio.Protocol):
    """A connection to the server: what it sends goes to the client at once."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._client.close()
