"""The mirror's stand-in: all is as it was, and what one never had is not there."""

import httpx

from devkit.bench.mirror import mirror

FILE = "http://mirror.example/debian/dists/bookworm/InRelease"


async def test_what_a_host_has_is_as_it_was_and_nothing_else_is_there():
    async with mirror("127.0.0.1") as proxy, httpx.AsyncClient(proxy=proxy) as http:
        dated = {"If-Modified-Since": "Tue, 24 Nov 2026 20:19:00 GMT"}
        assert (await http.get(FILE, headers=dated)).status_code == 304
        assert (await http.get(FILE)).status_code == 404
