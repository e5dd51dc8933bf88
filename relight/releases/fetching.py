"""Files of a repository over HTTP. Raises `RepositoryUnavailableError` and `RepositoryError`."""

import hashlib

import httpx

from relight.releases.errors import RepositoryError, RepositoryUnavailableError
from relight.releases.release_file import IndexFile

LARGEST_SIGNED_BYTES = 16 * 1024 * 1024
"""More than any signed index of a suite: whoever sends more is no repository."""


async def fetch_signed(client: httpx.AsyncClient, suite: httpx.URL) -> bytes:
    """Return the signed index of a suite, whose address ends in a slash.

    Raises:
        RepositoryUnavailableError: nobody answers, or it is not there.
        RepositoryError: this is no address, or no signed index.
    """
    content = await _fetch(client, suite.join("InRelease"), LARGEST_SIGNED_BYTES)
    if len(content) > LARGEST_SIGNED_BYTES:
        raise RepositoryError("what it answers is far too long for a signed index")
    return content


async def fetch_index(
    client: httpx.AsyncClient, suite: httpx.URL, index: IndexFile, *, by_hash: bool
) -> bytes:
    """Return an index, still compressed, whose checksum the signed file names.

    By its checksum's name it stays there while the next one is published. By its own name it may
    be the next one already.

    Args:
        client: asks.
        suite: the suite's folder, its address ending in a slash.
        index: what to fetch.
        by_hash: whether the suite keeps its indices under their checksums' names.

    Raises:
        RepositoryUnavailableError: it is not there, or it is another one.
        RepositoryError: the suite's address is none.
    """
    folder = index.name.rpartition("/")[0]
    name = f"{folder}/by-hash/SHA256/{index.sha256}" if by_hash else index.name
    content = await _fetch(client, suite.join(name), index.size_bytes)
    if len(content) != index.size_bytes:
        raise _torn(index, "size")
    if hashlib.sha256(content).hexdigest() != index.sha256:
        raise _torn(index, "SHA-256")
    return content


async def fetch_text(client: httpx.AsyncClient, url: httpx.URL, limit: int) -> str:
    """Return a small text, as a list of checksums.

    Raises:
        RepositoryUnavailableError: nobody answers, or it is not there.
        RepositoryError: it is no text, longer than `limit` bytes, or the address is none.
    """
    content = await _fetch(client, url, limit)
    if len(content) > limit:
        raise RepositoryError(f"{url.path} is far too long for what it should be")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise RepositoryError(f"{url.path} is no text: {error}") from error


async def _fetch(client: httpx.AsyncClient, url: httpx.URL, limit: int) -> bytes:
    """Return a file, or its first `limit` bytes and one more where it is longer."""
    content = bytearray()
    # The bytes as they lie there: a server that declares a .gz as encoded would have it unpacked.
    headers = {"Accept-Encoding": "identity", "Cache-Control": "no-cache"}
    try:
        async with client.stream("GET", url, headers=headers, follow_redirects=True) as answer:
            if answer.status_code != httpx.codes.OK:
                raise RepositoryUnavailableError(
                    f"{url.path}: {answer.status_code} {answer.reason_phrase}"
                )
            async for chunk in answer.aiter_raw():
                content += chunk
                if len(content) > limit:
                    break
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise RepositoryError(f"it cannot be asked: {error}") from error
    except httpx.HTTPError as error:
        text = str(error) or type(error).__name__
        raise RepositoryUnavailableError(f"{url.path}: {text}") from error
    return bytes(content[: limit + 1])


def _torn(index: IndexFile, what: str) -> RepositoryUnavailableError:
    return RepositoryUnavailableError(
        f"{index.name} has another {what} than its signed index says: it may be in the middle of "
        "being published"
    )
