"""Listings in pages: by token, number and offset, each with an end."""

from collections.abc import Awaitable, Callable, Sequence

import pytest

from relight.providers.driver import ProviderAnswerError
from relight.providers.pages import MAX_PAGES, Page, next_number, next_offset, read_pages

MACHINES = [f"m-{number}" for number in range(7)]


def by_offset(items: Sequence[str], limit: int) -> Callable[[str | None], Awaitable[Page[str]]]:
    async def read(token: str | None) -> Page[str]:
        offset = int(token or 0)
        found = items[offset : offset + limit]
        return Page(found, next_offset(offset, len(found), len(items)), len(items))

    return read


async def test_pages_by_offset_have_all_items():
    pages = await read_pages("cloud", "list", by_offset(MACHINES, 3))
    assert list(pages.items) == MACHINES
    assert pages.complete


@pytest.mark.parametrize("size", [1, 6, 7, 8])
async def test_pages_by_number_have_all_items(size: int):
    count = -(-len(MACHINES) // size)

    async def read(token: str | None) -> Page[str]:
        number = int(token or 1)
        found = MACHINES[(number - 1) * size : number * size]
        return Page(found, next_number(number, count), len(MACHINES))

    pages = await read_pages("cloud", "list", read)
    assert list(pages.items) == MACHINES
    assert pages.complete


async def test_an_empty_listing_is_complete():
    pages = await read_pages("cloud", "list", by_offset([], 3))
    assert pages.items == ()
    assert pages.complete


async def test_an_item_that_moves_to_a_page_already_read_makes_the_listing_incomplete():
    items = list(MACHINES)

    async def read(token: str | None) -> Page[str]:
        page = await by_offset(items, 3)(token)
        if token is None:
            del items[0]  # m-3 moves to the first page
        return page

    pages = await read_pages("cloud", "list", read)
    assert "m-3" not in pages.items
    assert not pages.complete


async def test_a_page_with_fewer_items_than_it_says_makes_the_listing_incomplete():
    async def read(token: str | None) -> Page[str]:
        return Page(MACHINES[:2], None, total=3)

    assert not (await read_pages("cloud", "list", read)).complete


async def test_a_token_that_comes_again_is_an_error():
    async def read(token: str | None) -> Page[str]:
        return Page(["m-1"], "same")

    with pytest.raises(ProviderAnswerError, match="same page"):
        await read_pages("cloud", "list", read)


async def test_pages_without_an_end_are_an_error():
    count = 0

    async def read(token: str | None) -> Page[str]:
        nonlocal count
        count += 1
        return Page([], str(count))

    with pytest.raises(ProviderAnswerError, match=f"more than {MAX_PAGES} pages"):
        await read_pages("cloud", "list", read)
    assert count == MAX_PAGES
