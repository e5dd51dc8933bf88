"""Listings of Linode's API, whose pages have numbers."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue, TypeAdapter

from relight.providers.api import ProviderApi, Response
from relight.providers.linode.answers import LinodePage
from relight.providers.pages import Page, Pages, next_number, read_numbered_pages

PAGE_SIZE = 500

PAGE = TypeAdapter(LinodePage)


def page_options(number: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a request for a page, of entries that are filtered and ordered."""
    headers = {"X-Filter": json.dumps(known)} if known else {}
    return {"params": {"page": number, "page_size": str(PAGE_SIZE)}, "headers": headers}


async def read_listing(
    api: ProviderApi, provider: str, attempted: str, path: str, known: Mapping[str, Any]
) -> Pages[tuple[Response, JsonValue]]:
    """Return the entries of a listing, each with the response that it is in.

    Args:
        api: of the account.
        provider: the driver's name.
        attempted: the operation.
        path: of the listing.
        known: what the entries are filtered and ordered by.
    """

    async def read(token: str | None) -> Page[tuple[Response, JsonValue]]:
        response = await api.request(attempted, "GET", path, **page_options(token or "1", known))
        if response is None:
            # Machines that were deleted meanwhile have left no such page.
            return Page((), None, total=-1)
        page = response.read(PAGE)
        items = [(response, entry) for entry in page.data]
        return Page(items, next_number(page.page, page.pages), page.results)

    def id_of(item: tuple[Response, JsonValue]) -> str:
        entry = item[1]
        return str(entry.get("id") if isinstance(entry, dict) else entry)

    return await read_numbered_pages(provider, attempted, read, id_of)
