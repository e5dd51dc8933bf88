"""The body of a request that sends a disk: read while it is sent, and reported."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from relight.providers.image_driver import DiskFile

CHUNK_BYTES = 1024 * 1024


class DiskStream:
    """Each use reads the file from its beginning: a request may have to be sent twice."""

    def __init__(self, disk: DiskFile) -> None:
        """Open nothing yet.

        Raises:
            OSError: there is no such file.
        """
        self._disk = disk
        self.headers: Mapping[str, str] = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(disk.path.stat().st_size),
        }

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Return its bytes, and report after each piece how many were sent."""
        sent = 0
        with await asyncio.to_thread(self._disk.path.open, "rb") as opened:
            while chunk := await asyncio.to_thread(opened.read, CHUNK_BYTES):
                yield chunk
                sent += len(chunk)
                self._disk.progress(sent)
