"""Base images: the newest of a prefix, and listings that creations share."""

import asyncio
from datetime import UTC, datetime

import pytest

from relight.providers.driver import ProviderUnavailableError
from relight.providers.images import REMEMBERED, BaseImage, Remembered, newest_image


def image(name: str, day: int) -> BaseImage:
    return BaseImage(f"id-{name}", name, datetime(2026, 11, day, tzinfo=UTC))


def test_the_newest_image_of_a_prefix_is_taken():
    images = [image("base-2", 1), image("base-1", 9), image("base-0", 9), image("other", 30)]
    newest = newest_image(images, "base-")
    assert newest is not None
    assert newest.name == "base-1"
    assert newest_image(images, "Base-") is None
    assert newest_image([], "") is None


class Listing:
    def __init__(self) -> None:
        self.reads = 0
        self.fails = False

    async def __call__(self) -> int:
        self.reads += 1
        await asyncio.sleep(0)
        if self.fails:
            raise ProviderUnavailableError("cloud", "list images", "no answer")
        return self.reads


async def test_readers_share_what_was_read_until_it_is_old():
    now = 0.0
    remembered: Remembered[int] = Remembered(lambda: now)
    listing = Listing()
    found = await asyncio.gather(*(remembered.get("images", listing) for _ in range(5)))
    assert found == [1] * 5
    now = REMEMBERED.total_seconds() - 1
    assert await remembered.get("images", listing) == 1
    assert await remembered.get("others", listing) == 2
    now = REMEMBERED.total_seconds()
    assert await remembered.get("images", listing) == 3


async def test_an_error_is_not_remembered():
    remembered: Remembered[int] = Remembered()
    listing = Listing()
    listing.fails = True
    with pytest.raises(ProviderUnavailableError):
        await remembered.get("images", listing)
    listing.fails = False
    assert await remembered.get("images", listing) == 2
