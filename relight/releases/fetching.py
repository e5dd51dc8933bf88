"""Fetches files of a repository over HTTP, each with a limit of bytes and a deadline.

Raises `RepositoryUnavailableError` and `RepositoryError`.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from types import MappingProxyType
from typing import Final

import httpx

from relight.domain.duration import span
from relight.domain.error_words import error_words
from relight.releases.errors import RepositoryError, RepositoryUnavailableError
from relight.releases.release_file import IndexFile

DEADLINE = timedelta(seconds=25)
"""For all requests of one read together.

A timeout of httpx applies to each single read of an answer: an answer that trickles never exceeds
it. Shorter than an attempt of an activity that resolves a release, so that the attempt fails with
this reason."""

MAX_SIGNED_BYTES = 16 * 1024 * 1024
"""Larger than any signed index of a suite."""

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

MAX_INDEX_BYTES = 128 * 1024 * 1024
"""Ten times the compressed package index of Debian itself."""


@asynccontextmanager
async def within(deadline: timedelta) -> AsyncIterator[None]:
    """Cancel what takes longer than a deadline.

    Raises:
        RepositoryUnavailableError: it was cancelled.
    """
    try:
        async with asyncio.timeout(deadline.total_seconds()):
            yield
    except TimeoutError as error:
        raise RepositoryUnavailableError(
            f"its answer was not complete after {span(deadline)}"
        ) from error


async def fetch_signed(
    client: httpx.AsyncClient, suite: httpx.URL, headers: Mapping[str, str] = NO_HEADERS
) -> bytes:
    """Return the signed index of a suite, whose URL ends with a slash.

    Raises:
        RepositoryUnavailableError: no answer, or the file does not exist.
        RepositoryError: the URL is not valid, the file is too large, or the repository has its
            index in the old format alone.
    """
    try:
        content = await _fetch(client, suite.join("InRelease"), MAX_SIGNED_BYTES, headers)
    except RepositoryUnavailableError as error:
        if error.is_missing:
            await _refuse_old_format(client, suite, headers)
        raise
    if len(content) > MAX_SIGNED_BYTES:
        raise RepositoryError("its answer is too large for a signed index")
    return content


async def _refuse_old_format(
    client: httpx.AsyncClient, suite: httpx.URL, headers: Mapping[str, str]
) -> None:
    try:
        await _fetch(client, suite.join("Release"), 1, headers)
    except RepositoryUnavailableError:
        return
    raise RepositoryError(
        f"{suite.path} has a Release and no InRelease: the repository is unsigned, or signed in "
        "the old format with Release.gpg; only an InRelease is supported, as apt-ftparchive with "
        "`gpg --clearsign`, reprepro and aptly make it"
    )


async def fetch_index(
    client: httpx.AsyncClient,
    suite: httpx.URL,
    index: IndexFile,
    *,
    by_hash: bool,
    headers: Mapping[str, str] = NO_HEADERS,
) -> bytes:
    """Return an index, still compressed, after checking it against the signed file's checksum.

    Under its checksum's name, an index stays available while the next one is published. Under its
    own name, it may already be the next one.

    Args:
        client: for requests.
        suite: the URL of the suite's folder, ending with a slash.
        index: the index to fetch.
        by_hash: whether the suite provides its indices under their checksums' names.
        headers: of the request.

    Raises:
        RepositoryUnavailableError: it does not exist, or its checksum differs.
        RepositoryError: the suite's URL is not valid, or the index is too large.
    """
    if index.size_bytes > MAX_INDEX_BYTES:
        raise RepositoryError(
            f"{index.name} has {index.size_bytes} bytes; an index may have {MAX_INDEX_BYTES}"
        )
    folder = index.name.rpartition("/")[0]
    name = f"{folder}/by-hash/SHA256/{index.sha256}".lstrip("/") if by_hash else index.name
    content = await _fetch(client, suite.join(name), index.size_bytes, headers)
    if len(content) != index.size_bytes:
        raise _differs(index, "size")
    if hashlib.sha256(content).hexdigest() != index.sha256:
        raise _differs(index, "SHA-256")
    return content


async def fetch_file(
    client: httpx.AsyncClient,
    url: httpx.URL,
    limit: int,
    headers: Mapping[str, str] = NO_HEADERS,
) -> bytes:
    """Return a small file, such as a list of checksums.

    Raises:
        RepositoryUnavailableError: no answer, or the file does not exist.
        RepositoryError: it is larger than `limit` bytes, or the URL is not valid.
    """
    content = await _fetch(client, url, limit, headers)
    if len(content) > limit:
        raise RepositoryError(f"{url.path} is larger than {limit} bytes")
    return content


async def fetch_beginning(
    client: httpx.AsyncClient, url: httpx.URL, count: int, headers: Mapping[str, str]
) -> bytes:
    """Return the first `count` bytes of a file, or all of it if it is shorter.

    A server that does not answer a request of a range sends the whole file: the connection is then
    closed after so many bytes.

    Raises:
        RepositoryUnavailableError: no answer, or the file does not exist.
        RepositoryError: the URL is not valid, or the server sends another part of the file.
    """
    wanted = {**headers, "Range": f"bytes=0-{count - 1}"}
    return (await _fetch(client, url, count, wanted))[:count]


async def stream(
    client: httpx.AsyncClient,
    url: httpx.URL,
    limit: int,
    headers: Mapping[str, str] = NO_HEADERS,
) -> AsyncGenerator[bytes, None]:
    """Yield a file piece by piece, until it has more than `limit` bytes.

    Raises:
        RepositoryUnavailableError: no answer, or the file does not exist.
        RepositoryError: the URL is not valid, or the server sends another part of the file.
    """
    # identity: if a server declares a .gz as content encoding, httpx would decompress it.
    headers = {"Accept-Encoding": "identity", "Cache-Control": "no-cache", **headers}
    size_bytes = 0
    try:
        async with client.stream("GET", url, headers=headers, follow_redirects=True) as answer:
            _check_status(answer, url, in_part="Range" in headers)
            async for chunk in answer.aiter_raw():
                yield chunk
                size_bytes += len(chunk)
                if size_bytes > limit:
                    break
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise RepositoryError(f"the request failed: {error}") from error
    except httpx.HTTPError as error:
        raise RepositoryUnavailableError(f"{url.path}: {error_words(error)}") from error


async def _fetch(
    client: httpx.AsyncClient, url: httpx.URL, limit: int, headers: Mapping[str, str] = NO_HEADERS
) -> bytes:
    """Return a file, cut after `limit` + 1 bytes."""
    content = bytearray()
    async with aclosing(stream(client, url, limit, headers)) as chunks:
        async for chunk in chunks:
            content += chunk
    return bytes(content[: limit + 1])


def _check_status(answer: httpx.Response, url: httpx.URL, *, in_part: bool) -> None:
    if in_part and answer.status_code == httpx.codes.PARTIAL_CONTENT:
        if not answer.headers.get("Content-Range", "").startswith("bytes 0-"):
            raise RepositoryError(f"{url.path}: the server sends another part of the file")
        return
    if answer.status_code == httpx.codes.OK:
        return
    text = f"{url.path}: {answer.status_code} {answer.reason_phrase}"
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise RepositoryError(
            f"{text}: check the login, RELIGHT_REPOSITORY__USER and "
            "RELIGHT_REPOSITORY__PASSWORD_FILE, or RELIGHT_GITHUB__TOKEN_FILE"
        )
    error = RepositoryUnavailableError(text)
    error.is_missing = answer.status_code == httpx.codes.NOT_FOUND
    raise error


def _differs(index: IndexFile, what: str) -> RepositoryUnavailableError:
    return RepositoryUnavailableError(
        f"the {what} of {index.name} differs from the signed index: the repository may be in the "
        "middle of being published"
    )
