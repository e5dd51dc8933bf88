"""Sources that answer byte by byte: no request for a release waits longer than its deadline."""

import asyncio
import hashlib
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import httpx
import pytest

from relight.releases import fetching, index
from relight.releases.errors import RepositoryError, RepositoryUnavailableError
from relight.releases.github_releases import GitHubReleases
from starter.local.children import wait_until
from tests.releases.conftest import MakeSource, Sign
from tests.support.apt_repository import Repository, Served
from tests.support.fake_github import REPOSITORY, FakeGitHub, fake_github, list_path, tag_path

DEADLINE = timedelta(milliseconds=500)
BOUND = timedelta(seconds=10)
"""Without a deadline each of these sources would take minutes."""

LATE = "its answer was not complete after 0.5 s"


async def late(request: Coroutine[Any, Any, object]) -> str:
    with pytest.raises(RepositoryUnavailableError) as caught:
        async with asyncio.timeout(BOUND.total_seconds()):
            await request
    return str(caught.value)


@pytest.mark.parametrize("trickled", ["InRelease", "Packages.xz"])
async def test_an_apt_repository_that_trickles_fails_all_that_share_the_read(
    make_source: MakeSource, served: Served, trickled: str
) -> None:
    source = make_source(deadline=DEADLINE)
    served.trickled = (trickled,)
    texts = await asyncio.gather(*(late(source.resolve("v0.0.74", ["amd64"])) for _ in range(20)))
    assert all(LATE in text for text in texts)
    assert served.count("InRelease") == 1
    served.trickled = ()
    assert (await source.resolve("v0.0.74", ["amd64"])).version == "0.0.74"


async def test_who_joins_a_slow_read_later_waits_no_longer_than_it(
    make_source: MakeSource, served: Served
) -> None:
    source = make_source(deadline=DEADLINE)
    served.trickled = ("InRelease",)
    first = asyncio.create_task(late(source.resolve("v0.0.74", ["amd64"])))
    await asyncio.sleep(0)
    first.cancel()  # The shared read goes on without it, and still ends.
    assert LATE in await late(source.resolve("v0.0.74", ["amd64"]))
    assert served.count("InRelease") == 1


async def test_an_index_that_is_too_large_is_not_fetched(
    make_source: MakeSource, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MAX_INDEX_BYTES", 100)
    with pytest.raises(RepositoryError, match="an index may have 100"):
        await make_source().resolve("v0.0.74", ["amd64"])
    assert served.count("Packages.xz") == 0


@pytest.mark.parametrize("ending", ["", ".gz", ".xz"])
async def test_an_index_that_is_too_large_when_decompressed_is_refused(
    make_source: MakeSource,
    repository: Repository,
    sign: Sign,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
) -> None:
    monkeypatch.setattr(index, "MAX_TEXT_BYTES", 100)
    content = repository.index("amd64", ending).read_bytes()
    with pytest.raises(RepositoryError, match="more than 100 bytes of text"):
        list(index.parse_packages(content, f"Packages{ending}", "lantern-box"))


async def test_one_slow_release_of_github_holds_up_no_other() -> None:
    with fake_github() as github:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            source = github_source(github, client, timedelta(seconds=3))
            github.trickled = (tag_path("v0.0.74"),)
            slow = [asyncio.create_task(late(source.resolve("v0.0.74", []))) for _ in range(20)]

            async def requested() -> bool:
                return github.count(tag_path("v0.0.74")) == 1

            await wait_until(requested, BOUND)
            assert (await source.resolve("v0.0.73", ["amd64"])).version == "0.0.73"
            assert not any(task.done() for task in slow)
            assert all("after 3 s" in text for text in await asyncio.gather(*slow))
            assert github.count(tag_path("v0.0.74")) == 1
            await source.close()


@pytest.mark.parametrize("trickled", [list_path(), "SHA256SUMS"])
async def test_a_slow_list_or_checksum_file_of_github_has_a_deadline(trickled: str) -> None:
    with fake_github() as github:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            source = github_source(github, client)
            name = "lantern-box_0.0.74_amd64.deb"
            asset = next(each for each in github.releases[0]["assets"] if each["name"] == name)
            asset["digest"] = None
            digest = hashlib.sha256(b"other").hexdigest()
            github.attach(github.releases[0], "SHA256SUMS", f"{digest}  {name}\n".encode() * 9)
            github.trickled = (trickled,)
            if trickled == list_path():
                assert LATE in await late(source.list_releases())
                assert LATE in await late(source.resolve("v9.9.9", []))
            else:
                assert LATE in await late(source.resolve("v0.0.74", []))
                # A release without its digest is left out, and told; the others are listed.
                async with asyncio.timeout(BOUND.total_seconds()):
                    listed = await source.list_releases()
                assert [each.tag for each in listed.releases] == ["v0.0.73"]
                [left_out] = listed.left_out
                assert (left_out.name, left_out.kind) == ("v0.0.74", "repository-unavailable")
                assert LATE in left_out.reason
                assert listed.is_partial
            await source.close()


def github_source(
    github: FakeGitHub, client: httpx.AsyncClient, deadline: timedelta = DEADLINE
) -> GitHubReleases:
    github.publish("v0.0.73", "amd64")
    github.publish("v0.0.74", "amd64")
    return GitHubReleases(
        repository=REPOSITORY,
        package="lantern-box",
        api_url=github.url,
        client=client,
        deadline=deadline,
    )
