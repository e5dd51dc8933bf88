"""A GET request over HTTP/1.1, as small as a health probe needs it.

It uses no proxy, follows no redirect and decompresses nothing. The lines of an answer are bounded,
and of the body only the start is read.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import NamedTuple

from relight.domain.text import visible_line

MAX_LINES_BYTES = 64 * 1024
"""The limit of an answer's lines together: those of its heads and of its chunks."""

SHOWN_CHARACTERS = 100
"""How much of a wrong line an error contains."""

_STATUS = re.compile(rb"HTTP/1\.\d ([1-9]\d\d)(?: [^\x00]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00]*)")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?")

_SWITCHING_PROTOCOLS = 101
_WITHOUT_BODY = (204, 304)


class BadAnswerError(Exception):
    """An answer is not complete, or is no answer of HTTP/1.1."""


class Answer(NamedTuple):
    """An answer.

    Attributes:
        headers: by name in lower case; of a repeated one the last.
        body: its start.
    """

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


async def get(address: str, port: int, host: str, target: str, max_body_bytes: int) -> Answer:
    """Send a request and return the answer. It has no time limit of its own.

    Args:
        address: to connect to.
        port: to connect to.
        host: for the header of that name.
        target: the path and the query, encoded.
        max_body_bytes: how much of the body is read.

    Raises:
        OSError: the connection failed.
        BadAnswerError: the answer is no HTTP, or ends too early.
    """
    reader, writer = await asyncio.open_connection(address, port, limit=MAX_LINES_BYTES)
    try:
        writer.write(
            f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: relight\r\nAccept: */*\r\n"
            "Accept-Encoding: identity\r\nConnection: close\r\n\r\n".encode("ascii")
        )
        return await _answer(_Answering(reader), max_body_bytes)
    finally:
        writer.transport.abort()


class _Answering:
    """Reads an answer by lines and bytes."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._left = MAX_LINES_BYTES

    async def line(self) -> bytes:
        """Return the next line without its end."""
        try:
            line = await self._reader.readline()
        except ValueError:  # longer than the reader's limit
            raise BadAnswerError("Receive buffer too long") from None
        is_first = self._left == MAX_LINES_BYTES
        self._left -= len(line)
        if self._left < 0:
            raise BadAnswerError("Receive buffer too long")
        if not line.endswith(b"\n"):
            end = "without sending a response" if is_first else "before the end of its answer"
            raise BadAnswerError(f"Server disconnected {end}.")
        return line.removesuffix(b"\n").removesuffix(b"\r")

    async def exactly(self, size: int, most: int) -> bytes:
        """Return `size` bytes, or the first `most` of them."""
        try:
            return await self._reader.readexactly(min(size, most))
        except asyncio.IncompleteReadError as error:
            raise BadAnswerError(
                "peer closed connection without sending complete message body "
                f"(received {len(error.partial)} bytes, expected {size})"
            ) from None

    async def to_end(self, most: int) -> bytes:
        """Return what comes until the connection ends, or the first `most` bytes of it."""
        try:
            return await self._reader.readexactly(most)
        except asyncio.IncompleteReadError as error:
            return error.partial


async def _answer(reading: _Answering, max_body_bytes: int) -> Answer:
    status, headers = await _head(reading)
    while status < 200 and status != _SWITCHING_PROTOCOLS:  # informational: the answer follows
        status, headers = await _head(reading)
    return Answer(status, headers, await _body(reading, status, headers, max_body_bytes))


async def _head(reading: _Answering) -> tuple[int, Mapping[bytes, bytes]]:
    status = _match(_STATUS, await reading.line(), "status line")
    headers: dict[bytes, bytes] = {}
    name = b""
    while line := await reading.line():
        if name and line[:1] in (b" ", b"\t"):  # the continuation of a header
            headers[name] += b" " + line.strip()
            continue
        header = _match(_HEADER, line, "header line")
        name = header[1].lower()
        headers[name] = header[2].rstrip()
    return int(status[1]), headers


async def _body(
    reading: _Answering, status: int, headers: Mapping[bytes, bytes], max_bytes: int
) -> bytes:
    if status in _WITHOUT_BODY:
        return b""
    if (encoding := headers.get(b"transfer-encoding")) is not None:
        if encoding.lower() != b"chunked":
            raise BadAnswerError("Only Transfer-Encoding: chunked is supported")
        return await _chunks(reading, max_bytes)
    if (length := headers.get(b"content-length")) is None:
        return await reading.to_end(max_bytes)
    if not re.fullmatch(rb"\d{1,18}", length):
        raise BadAnswerError("bad Content-Length")
    return await reading.exactly(int(length), max_bytes)


async def _chunks(reading: _Answering, max_bytes: int) -> bytes:
    body = b""
    while len(body) < max_bytes:
        size = int(_match(_CHUNK, await reading.line(), "chunk header")[1], base=16)
        if size == 0:
            break
        body += await reading.exactly(size, max_bytes - len(body))
        if len(body) < max_bytes and (end := await reading.line()):
            raise BadAnswerError(f"illegal chunk end: {_shown(end)}")
    return body


def _match(pattern: re.Pattern[bytes], line: bytes, name: str) -> re.Match[bytes]:
    found = pattern.fullmatch(line)
    if found is None:
        raise BadAnswerError(f"illegal {name}: {_shown(line)}")
    return found


def _shown(line: bytes) -> str:
    return visible_line(line[:SHOWN_CHARACTERS].decode(errors="backslashreplace"))
