"""Listings that come in pages, each page with what asks for the next one.

A vendor's token (in a header or in the body), a page's number and an offset are all a text here,
the token: a driver's function reads one page, and says which token follows.
"""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from relight.providers.driver import ProviderAnswerError

MAX_PAGES = 1000

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page.

    Attributes:
        items: in the vendor's order.
        next: the token of the next page; None for the last one.
        total: how many items all pages have together, if the page says so.
    """

    items: Sequence[T]
    next: str | None = None
    total: int | None = None


@dataclass(frozen=True)
class Pages(Generic[T]):
    """The items of all pages.

    Attributes:
        items: in the vendor's order; an item may be there twice.
        complete: whether nothing can be missing.
        count: how many pages there were.
    """

    items: tuple[T, ...]
    complete: bool
    count: int = 1


def next_number(page: int, pages: int) -> str | None:
    """Return the token of the page after `page` of `pages`, both 1-based; None after the last."""
    return str(page + 1) if page < pages else None


def next_offset(offset: int, count: int, total: int) -> str | None:
    """Return the token after `count` items from `offset` of `total`; None after the last one."""
    return str(offset + count) if count and offset + count < total else None


async def read_pages(
    provider: str, attempted: str, read: Callable[[str | None], Awaitable[Page[T]]]
) -> Pages[T]:
    """Return the items of all pages.

    Args:
        provider: the driver's name.
        attempted: the operation.
        read: returns the page of a token; the first page has the token None.

    Raises:
        ProviderAnswerError: a token comes again, or there are more than `MAX_PAGES`.
        ProviderError: of `read`.
    """
    items: list[T] = []
    totals: set[int] = set()
    seen: set[str] = set()
    token: str | None = None
    for count in range(1, MAX_PAGES + 1):
        page = await read(token)
        items += page.items
        if page.total is not None:
            totals.add(page.total)
        token = page.next
        if token is None:
            complete = not totals or totals == {len(items)}
            return Pages(tuple(items), complete, count)
        if token in seen:
            raise ProviderAnswerError(
                provider, attempted, "its pages have no end: the same page follows again"
            )
        seen.add(token)
    raise ProviderAnswerError(provider, attempted, f"it has more than {MAX_PAGES} pages")


async def read_numbered_pages(
    provider: str,
    attempted: str,
    read: Callable[[str | None], Awaitable[Page[T]]],
    key: Callable[[T], Hashable],
) -> Pages[T]:
    """Return the items of all pages of a listing whose pages have numbers.

    An item that is deleted meanwhile moves those behind it to the page before, which was read
    already; the total stays the same if one is created, too. So several pages are read twice, and
    are complete only if both times have the same items.

    Args:
        provider: the driver's name.
        attempted: the operation.
        read: as of `read_pages`.
        key: returns what an item is known by.

    Raises:
        ProviderError: as of `read_pages`.
    """
    first = await read_pages(provider, attempted, read)
    if first.count == 1 or not first.complete:
        return first
    again = await read_pages(provider, attempted, read)
    is_same = [key(each) for each in first.items] == [key(each) for each in again.items]
    return Pages(again.items, again.complete and is_same, again.count)
