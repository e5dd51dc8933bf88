"""The substitute of the mirror: known files are unchanged, and others do not exist."""

import httpx

from devkit.bench.mirror import mirror

FILE = "http://mirror.example/debian/dists/bookworm/InRelease"


async def test_known_files_are_unchanged_and_others_are_not_found():
    async with mirror("127.0.0.1") as proxy, httpx.AsyncClient(proxy=proxy) as http:
        conditional = {"If-Modified-Since": "Tue, 24 Nov 2026 20:19:00 GMT"}
        assert (await http.get(FILE, headers=conditional)).status_code == 304
        assert (await http.get(FILE)).status_code == 404
