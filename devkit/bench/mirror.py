"""A substitute for Debian's mirror, at the lab's gateway.

The machines have Debian's full index but cannot reach the mirror that it came from, so a refresh
of all sources would fail, as if the mirror were down. Instead apt on the machines uses this server
as an HTTP proxy for the mirror. It answers that each file is unchanged: the cheapest possible
answer for every tool that refreshes all sources.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n"
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@asynccontextmanager
async def mirror(address: str) -> AsyncIterator[str]:
    """Serve at a free port of an address until the block ends; yield the proxy's URL."""
    server = await asyncio.start_server(_serve, address, 0)
    try:
        yield f"http://{address}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            is_refresh = b"\r\nif-modified-since:" in head.lower()
            writer.write(_NOT_MODIFIED if is_refresh else _NOT_FOUND)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
