"""A stand-in for Debian's mirror, at the lab's gateway.

The machines carry Debian's full index, and have no way to the mirror that it came from. To a
general tool that would be a mirror that is down: its refresh would fail. So their apt is told of a
proxy for that mirror, and this is the proxy. It says of every file that it is as it was: the
cheapest answer that there is, for those who ask at all.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_UNCHANGED = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n"
_UNKNOWN = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            known = b"\r\nif-modified-since:" in head.lower()
            writer.write(_UNCHANGED if known else _UNKNOWN)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


@asynccontextmanager
async def mirror(address: str) -> AsyncIterator[str]:
    """Serve at a free port of an address until the block ends; yield the proxy's URL."""
    server = await asyncio.start_server(_answer, address, 0)
    try:
        yield f"http://{address}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
