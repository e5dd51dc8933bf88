"""Listings of Linode's API, whose pages have numbers."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue, TypeAdapter

from relight.providers.api import ProviderApi, Response
from relight.providers.linode.answers import LinodePage
from relight.providers.pages import Page, Pages, next_number, read_pages

PAGE_SIZE = 500

_PAGE = TypeAdapter(LinodePage)


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
    headers = {"X-Filter": json.dumps(known)} if known else {}

    async def read(token: str | None) -> Page[tuple[Response, JsonValue]]:
        response = await api.request(
            attempted,
            "GET",
            path,
            params={"page": token or "1", "page_size": str(PAGE_SIZE)},
            headers=headers,
        )
        if response is None:
            # Machines that were deleted meanwhile have left no such page.
            return Page((), None, total=-1)
        page = response.read(_PAGE)
        items = [(response, entry) for entry in page.data]
        return Page(items, next_number(page.page, page.pages), page.results)

    return await read_pages(provider, attempted, read)
