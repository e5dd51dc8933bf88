"""A disk as Linode takes it, raw and compressed by gzip, and its way there.

Nothing of it is left when a worker is killed: the files have no names.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx

from relight.bounded import GZIP, AnswerRefusedError, read_bounded
from relight.domain.error_words import error_words
from relight.domain.text import visible_head, without_queries
from relight.providers.disk_stream import DiskStream
from relight.providers.driver import ProviderError, ProviderInvalidError, ProviderUnavailableError
from relight.providers.image_driver import DiskFile

MAX_BYTES = 5 * 1000**3
"""Linode accepts no larger upload."""

_SHOWN_CHARACTERS = 300
_MAX_ANSWER_BYTES = 64 * 1024
_TIMEOUT = httpx.Timeout(60, read=600)
"""The answer comes once Linode has stored the whole disk."""


@contextmanager
def packed_file(disk: Path) -> Iterator[IO[bytes]]:
    """Yield a file for a packed disk; it is in the disk's folder, where there is room."""
    with tempfile.TemporaryFile(dir=disk.parent) as packed:
        yield packed


async def pack(provider: str, attempted: str, disk: Path, packed: IO[bytes]) -> int:
    """Write a qcow2 disk to a file as Linode takes it, and return its size in bytes.

    Raises:
        ProviderInvalidError: it is too large.
        ProviderError: it cannot be read or written, or a program is missing.
    """
    try:
        with tempfile.TemporaryFile(dir=disk.parent) as raw:
            argv = ("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(disk))
            await _run(*argv, str(_path_of(raw)), pass_fds=(raw.fileno(),))
            await _run("gzip", "--stdout", "--no-name", "--fast", stdin=raw, stdout=packed)
    except OSError as error:
        raise ProviderError(provider, attempted, f"{disk.name}: {error_words(error)}") from error
    except _ProgramError as error:
        raise ProviderError(provider, attempted, f"{disk.name}: {error}") from error
    size = os.fstat(packed.fileno()).st_size
    if size > MAX_BYTES:
        words = f"{disk.name} has {size} bytes compressed, and Linode takes {MAX_BYTES}"
        raise ProviderInvalidError(provider, attempted, words)
    return size


async def send(
    provider: str,
    attempted: str,
    url: str,
    packed: IO[bytes],
    progress: Callable[[int], None],
) -> None:
    """Send a packed disk to the URL of its upload, without our token.

    Args:
        provider: the driver's name.
        attempted: the operation.
        url: whoever knows it can upload, so it is in no message.
        packed: as `pack` wrote it.
        progress: called with the bytes sent so far.

    Raises:
        ProviderUnavailableError: it is not known whether all of it arrived.
    """
    content = DiskStream(DiskFile(_path_of(packed), progress))
    try:
        async with (
            httpx.AsyncClient(timeout=_TIMEOUT, headers=GZIP) as http,
            http.stream("PUT", url, content=content, headers=content.headers) as answer,
        ):
            body = await read_bounded(answer, _MAX_ANSWER_BYTES)
    except (httpx.HTTPError, httpx.InvalidURL, AnswerRefusedError) as error:
        words = f"the upload ended early: {error_words(error)}"
        raise ProviderUnavailableError(provider, attempted, words) from error
    if not answer.is_success:
        text = without_queries(body.decode(errors="replace"))
        words = visible_head(" ".join(text.split()), _SHOWN_CHARACTERS)
        words = f"the upload was answered with {answer.status_code} {words}"
        raise ProviderUnavailableError(provider, attempted, words)


def _path_of(file: IO[bytes]) -> Path:
    """Return a path of an open file that has no name, for this process and those that get it."""
    return Path(f"/proc/self/fd/{file.fileno()}")


class _ProgramError(Exception):
    """A program failed."""


async def _run(*argv: str, **files: Any) -> None:
    """Run a program, and end it with us."""
    process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE, **files)
    try:
        _, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        words = visible_head(stderr.decode(errors="replace").strip(), _SHOWN_CHARACTERS)
        raise _ProgramError(f"{argv[0]} exited with {process.returncode}: {words}")
