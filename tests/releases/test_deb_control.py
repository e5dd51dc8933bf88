"""What a .deb says of itself, read from its beginning; and the packages of real releases."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.releases.deb_control import (
    MAX_CONTROL_BYTES,
    DebControl,
    IncompleteError,
    read_control,
)
from relight.releases.errors import ReleaseUnknownError, RepositoryError
from relight.releases.github_releases import GitHubReleases
from tests.support.debs import deb
from tests.support.fake_github import DOWNLOADS, REPOSITORY, FakeGitHub, fake_github

MD5SUMS = "".join(f"{hashlib.sha256(b'%d' % n).hexdigest()[:32]}  usr/{n}\n" for n in range(3000))


@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "zstd"])
@pytest.mark.parametrize("version", ["0.0.74", "5:7.0.15-1~deb12u10", "1.22.1-9+deb12u11"])
def test_the_control_file_is_read_in_every_compression(compression: str, version: str) -> None:
    made = deb("lantern-box", version, "arm64", compression)
    assert read_control(made) == DebControl("lantern-box", version, "arm64")


@pytest.mark.parametrize("compression", ["none", "xz", "zstd"])
def test_a_beginning_that_is_too_short_says_how_much_is_needed(compression: str) -> None:
    made = deb("lantern-box", "0.0.74", "all", compression, md5sums=MD5SUMS)
    asked, count = [], 0
    while True:
        try:
            found = read_control(made[:count])
        except IncompleteError as error:
            count = error.needed_bytes
            asked.append(count)
        else:
            break
    assert found == DebControl("lantern-box", "0.0.74", "all")
    assert asked == sorted(set(asked))
    assert asked[-1] < len(made)


@given(st.binary(max_size=300), st.integers(0, 200))
def test_what_is_no_package_is_an_error_and_asks_for_no_more_than_the_limit(
    junk: bytes, at: int
) -> None:
    made = deb("lantern-box", "0.0.74", "amd64")
    for content in (junk, made[:at] + junk):
        with pytest.raises((IncompleteError, RepositoryError)) as caught:
            read_control(content)
        if isinstance(caught.value, IncompleteError):
            assert len(content) < caught.value.needed_bytes <= MAX_CONTROL_BYTES


def test_a_control_file_that_unpacks_to_too_much_is_refused() -> None:
    made = deb("lantern-box", "0.0.74", "amd64", "gzip", md5sums="0" * 40_000_000)
    with pytest.raises(RepositoryError, match="has more than"):
        read_control(made)


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with fake_github() as github:
        github.release("v0.0.74")
        yield github


@pytest.fixture
async def source(github: FakeGitHub) -> AsyncIterator[GitHubReleases]:
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        yield GitHubReleases(
            repository=REPOSITORY,
            package="lantern-box",
            api_url=github.url,
            cache_time=timedelta(0),
            client=client,
        )


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        "lantern-box_0.0.74_linux_amd64.deb",
        "lantern-box-0.0.74-amd64.deb",
        "lantern-box_0.0.74_amd64.ubuntu24.04.deb",
        "lantern-box_Linux_x86_64.deb",
        "setup.DEB",
    ],
)
async def test_a_package_is_found_by_what_is_in_it(
    source: GitHubReleases, github: FakeGitHub, name: str, ranges: bool
) -> None:
    github.ranges = ranges
    content = deb("lantern-box", "0.0.74", "amd64", "zstd", "x" * 100)
    github.attach(github.releases[0], name, content)
    other = deb("lantern-tools", "0.0.74", "amd64")
    github.attach(github.releases[0], "lantern-box_0.0.74_amd64.deb", other)
    release = await source.resolve("v0.0.74", ["amd64"])
    [file] = release.deb_files
    assert file.filename.endswith(f"/{name}")
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert release.version == "0.0.74"


async def test_a_package_is_read_once_and_only_its_beginning(
    source: GitHubReleases, github: FakeGitHub
) -> None:
    big = deb("lantern-box", "0.0.74", "amd64", "xz", md5sums=MD5SUMS)
    github.attach(github.releases[0], "a.deb", big)
    for _ in range(3):
        await source.resolve("v0.0.74", ["amd64"])
    # Its control file does not end in the first bytes that are asked for.
    assert github.count(f"{DOWNLOADS}/v0.0.74/a.deb") == 2
    github.releases[0]["assets"].clear()
    github.attach(github.releases[0], "a.deb", deb("lantern-box", "0.0.74-2", "amd64"))
    assert (await source.resolve("v0.0.74", ["amd64"])).version == "0.0.74-2"


async def test_a_release_of_a_repository_whose_tags_have_no_v_is_found(
    source: GitHubReleases, github: FakeGitHub
) -> None:
    made = github.release("0.0.75")
    github.attach(made, "a.deb", deb("lantern-box", "0.0.75", "amd64"))
    assert (await source.resolve("v0.0.75", ["amd64"])).version == "0.0.75"
    assert [release.tag for release in (await source.list_releases()).releases] == ["v0.0.75"]


async def test_two_packages_of_one_version_are_told_apart_by_a_pattern_only(
    source: GitHubReleases, github: FakeGitHub
) -> None:
    for suite in ("debian12", "ubuntu24.04"):
        content = deb("lantern-box", "0.0.74", "amd64", content=suite)
        github.attach(github.releases[0], f"lantern-box_0.0.74_amd64.{suite}.deb", content)
    with pytest.raises(ReleaseUnknownError, match=r"debian12\.deb and .*RELIGHT_GITHUB__ASSETS"):
        await source.resolve("v0.0.74", ["amd64"])
    chosen = GitHubReleases(
        repository=REPOSITORY, package="lantern-box", api_url=github.url, assets="*.debian12.deb"
    )
    release = await chosen.resolve("v0.0.74", ["amd64"])
    await chosen.close()
    assert release.deb_files[0].filename.endswith("amd64.debian12.deb")
