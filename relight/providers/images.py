"""Base images: the newest one of a prefix, from a listing that all creations share."""

import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from relight.shared_reads import SharedReads

REMEMBERED = timedelta(minutes=1)
"""Providers limit the rate of listings of images more than that of creations."""

T = TypeVar("T")


@dataclass(frozen=True)
class BaseImage:
    """An image that a machine can be made of.

    Attributes:
        id: at the provider.
        name: whose beginning is the prefix.
        created_at: when it was made; with the same time the greater name is the newer.
    """

    id: str
    name: str
    created_at: datetime


def newest_image(images: Iterable[BaseImage], prefix: str) -> BaseImage | None:
    """Return the newest image whose name begins with a prefix; None if there is none."""
    found = [image for image in images if image.name.startswith(prefix)]
    return max(found, key=lambda image: (image.created_at, image.name, image.id), default=None)


class Remembered(Generic[T]):
    """What was read, by name, until it is older than `REMEMBERED`. Readers at once share a read."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Read nothing yet.

        Args:
            clock: seconds.
        """
        self._clock = clock
        self._found: dict[str, tuple[float, T]] = {}
        self._reads: SharedReads[T] = SharedReads()

    async def get(self, name: str, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what `read` returned not long ago, or returns now; its errors are not kept."""
        if name in self._found:
            since, found = self._found[name]
            if self._clock() - since < REMEMBERED.total_seconds():
                return found
        found = await self._reads.get(name, read)
        self._found[name] = self._clock(), found
        return found

    async def close(self) -> None:
        """Cancel what is being read."""
        await self._reads.close()
