"""Answers over HTTP that are larger than what is read, or than they look."""

import gzip
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest

from relight.bounded import AnswerRefusedError, read_bounded

LIMIT = 1000


def answer(body: bytes, encoding: str = "", piece: int = 100) -> httpx.Response:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), piece):
            yield body[start : start + piece]

    headers = {"Content-Encoding": encoding} if encoding else {}
    return httpx.Response(200, headers=headers, content=pieces())


@pytest.mark.parametrize("piece", [1, 7, 100_000])
@pytest.mark.parametrize("body", [b"", b"x", b"xyz" * 300, b"x" * LIMIT])
async def test_an_answer_within_the_limit_is_complete(body: bytes, piece: int) -> None:
    assert await read_bounded(answer(body, piece=piece), LIMIT) == body
    packed = gzip.compress(body)
    assert await read_bounded(answer(packed, "gzip", piece), LIMIT) == body


@pytest.mark.parametrize("piece", [1, 100_000])
@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"x" * (LIMIT + 1), ""),
        (gzip.compress(b"x" * (LIMIT + 1), mtime=0), "gzip"),
        (gzip.compress(bytes(50_000_000), mtime=0), "gzip"),
    ],
)
async def test_an_answer_beyond_the_limit_is_refused(
    body: bytes, encoding: str, piece: int
) -> None:
    with pytest.raises(AnswerRefusedError, match="more than 1000 bytes"):
        await read_bounded(answer(body, encoding, piece), LIMIT)


@pytest.mark.parametrize("body", [b"no gzip", zlib.compress(b"x")])
async def test_what_is_not_the_gzip_that_it_claims_to_be_is_refused(body: bytes) -> None:
    with pytest.raises(AnswerRefusedError, match="cannot be decompressed"):
        await read_bounded(answer(body, "gzip"), LIMIT)


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "deflate"])
async def test_what_is_compressed_in_another_way_is_not_decompressed(encoding: str) -> None:
    assert await read_bounded(answer(b"any bytes", encoding), LIMIT) == b"any bytes"
