"""Answers over HTTP, read up to a limit of bytes."""

import zlib

import httpx


class AnswerRefusedError(Exception):
    """An answer has more bytes than are read, or cannot be decompressed."""


GZIP = {"Accept-Encoding": "gzip"}
"""Headers of a request whose answer is read here."""

_GZIP_FORMAT = 16 + zlib.MAX_WBITS


async def read_bounded(answer: httpx.Response, max_bytes: int) -> bytes:
    """Return the body of a streamed answer, decompressed if it is gzip.

    httpx decompresses each piece that it receives as a whole, and several times if the answer says
    so: a kilobyte may become a gigabyte. Here no more is decompressed than is returned.

    Raises:
        AnswerRefusedError: it has more than `max_bytes`, and the rest was not read; or it is not
            the gzip that it claims to be.
    """
    is_gzip = answer.headers.get("Content-Encoding", "").strip().lower() == "gzip"
    gzip = zlib.decompressobj(_GZIP_FORMAT) if is_gzip else None
    body = bytearray()
    try:
        async for chunk in answer.aiter_raw():
            body += gzip.decompress(chunk, max_bytes + 1 - len(body)) if gzip else chunk
            if len(body) > max_bytes:
                raise AnswerRefusedError(f"its answer has more than {max_bytes} bytes")
    except zlib.error as error:
        raise AnswerRefusedError(f"its answer cannot be decompressed: {error}") from error
    return bytes(body)
