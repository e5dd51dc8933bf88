"""A GET request over HTTP/1.1, as small as a health probe needs it, over h11.

It uses no proxy, follows no redirect and decompresses nothing. An answer is bounded, and of the
body only the start is read.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import NamedTuple

import h11

from relight.domain.text import visible_line

MAX_BYTES = 64 * 1024
"""How much is read of an answer."""

MAX_HEAD_BYTES, PIECE_BYTES = 8 * 1024, 1024
"""The limit of a head and of a trailer, and how much is read at once: h11 knows no limit of one
that it gets as a whole. A header of many blanks takes it a time that grows with the square of their
number: 64 KiB would stop the event loop for 14 seconds."""

SHOWN_CHARACTERS = 100
"""How much of a wrong line an error contains."""

# Checked here: h11 waits for the end of the head, and a server of another protocol sends a greeting
# and no more. 101 switches to another protocol, for which nobody asked.
_STATUS = re.compile(rb"HTTP/1\.\d (?!101)[1-9]")

_QUOTED = re.compile(r"bytearray\(b(['\"])(.*?)(?:\\r\\n)?\1\)")
"""A line in h11's errors."""


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
    request = h11.Request(
        method="GET",
        target=target,
        headers=[
            ("Host", host),
            ("User-Agent", "relight"),
            ("Accept", "*/*"),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ],
    )
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(connection.send(request) or b"")
        connection.send(h11.EndOfMessage())
        return await _answer(_Reading(reader, connection), max_body_bytes)
    except h11.RemoteProtocolError as error:
        raise BadAnswerError(_words(error)) from None
    finally:
        writer.transport.abort()


async def _answer(reading: "_Reading", max_body_bytes: int) -> Answer:
    head, body = None, b""
    while head is None or len(body) < max_body_bytes:
        event = await reading.event()
        if isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            break
    assert head is not None  # h11 refuses what has no head.
    return Answer(head.status_code, dict(head.headers), body[:max_body_bytes])


class _Reading:
    """Reads an answer, up to its limit."""

    def __init__(self, reader: asyncio.StreamReader, connection: h11.Connection) -> None:
        self._reader = reader
        self._connection = connection
        self._received = 0
        self._first_line = b""

    async def event(self) -> object:
        """Return the next event of h11."""
        while (event := self._connection.next_event()) is h11.NEED_DATA:
            if self._received > MAX_BYTES:
                raise BadAnswerError("Receive buffer too long")
            await self._receive()
        return event

    async def _receive(self) -> None:
        data = await self._reader.read(PIECE_BYTES)
        self._received += len(data)
        if b"\n" not in self._first_line:
            self._first_line += data
            _check_status_line(self._first_line)
        if not data and self._connection.their_state is h11.SEND_RESPONSE:
            complete = b"\n" in self._first_line
            end = "before the end of its answer" if complete else "without sending a response"
            raise BadAnswerError(f"Server disconnected {end}.")
        self._connection.receive_data(data)


def _check_status_line(received: bytes) -> None:
    """Check how an answer begins, as soon as its first line is there."""
    line, end, _ = received.partition(b"\n")
    if (end or line[:1] < b"!") and received and not _STATUS.match(line):
        raise BadAnswerError("illegal status line: " + _shown(line.removesuffix(b"\r")))


def _words(error: h11.RemoteProtocolError) -> str:
    """Return h11's text, cut. It quotes lines as Python writes bytes."""
    # Only the first: a line may contain what looks like many.
    text = _QUOTED.sub(lambda quoted: quoted[2][:SHOWN_CHARACTERS], str(error), count=1)
    return text[: 2 * SHOWN_CHARACTERS]


def _shown(line: bytes) -> str:
    return visible_line(line[:SHOWN_CHARACTERS].decode(errors="backslashreplace"))
