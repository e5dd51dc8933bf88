"""GitHub releases as a source, over real HTTP."""

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from relight.domain.release import DebFile
from relight.releases.errors import (
    ReleaseUnknownError,
    RepositoryError,
    RepositoryUnavailableError,
    RepositoryUntrustedError,
)
from relight.releases.github_releases import GitHubReleases
from tests.support.debs import deb
from tests.support.fake_github import (
    DOWNLOADS,
    REPOSITORY,
    FakeGitHub,
    Fault,
    fake_github,
    list_path,
    tag_path,
)

MakeSource = Callable[..., GitHubReleases]
NAME = "lantern-box_0.0.74_amd64.deb"


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with fake_github() as github:
        github.publish("v0.0.73", "amd64", "arm64")
        github.publish("v0.0.74", "amd64", "arm64")
        yield github


@pytest.fixture
async def make_source(github: FakeGitHub) -> AsyncIterator[MakeSource]:
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:

        def make(**changed: object) -> GitHubReleases:
            arguments: dict[str, object] = {
                "repository": REPOSITORY,
                "package": "lantern-box",
                "api_url": github.url,
                "cache_time": timedelta(0),
                "client": client,
            }
            return GitHubReleases(**(arguments | changed))  # type: ignore[arg-type]

        yield make


@pytest.fixture
def source(make_source: MakeSource) -> GitHubReleases:
    return make_source()


async def fails(source: GitHubReleases, kind: type[RepositoryError], tag: str = "v0.0.74") -> str:
    with pytest.raises(RepositoryError) as caught:
        await source.resolve(tag, ["amd64"])
    assert type(caught.value) is kind
    assert str(caught.value).startswith(f"github:{REPOSITORY}: ")
    return str(caught.value)


def attach(
    github: FakeGitHub,
    name: str,
    version: str,
    architecture: str = "amd64",
    package: str = "lantern-box",
    compression: str = "xz",
) -> dict[str, Any]:
    """Attach a package to the newest release."""
    content = deb(package, version, architecture, compression, name)
    return github.attach(github.releases[0], name, content)


def newest(github: FakeGitHub) -> dict[str, object]:
    """The amd64 package of the newest release."""
    asset: dict[str, object] = github.releases[0]["assets"][0]
    return asset


async def test_a_tag_is_its_version_with_url_and_digest_for_each_architecture(
    source: GitHubReleases, github: FakeGitHub
) -> None:
    release = await source.resolve("v0.0.74", ["amd64", "arm64"])
    assert (release.tag, release.version, release.package) == ("v0.0.74", "0.0.74", "lantern-box")
    assert release.source == f"github:{REPOSITORY}"
    assert release.architectures == ("amd64", "arm64")
    content = github.files[f"{DOWNLOADS}/v0.0.74/{NAME}"]
    deb_file = release.deb_file("amd64")
    assert deb_file == DebFile(
        architecture="amd64",
        filename=f"{github.url}{DOWNLOADS}/v0.0.74/{NAME}",
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
    )
    assert deb_file.url == deb_file.filename
    assert release.deb_file("riscv64") is None


async def test_a_pre_release_is_found_although_github_replaces_the_tilde_by_a_dot(
    source: GitHubReleases, github: FakeGitHub
) -> None:
    release = github.release("v1.2.0-rc.1", prerelease=True)
    content = deb("lantern-box", "1.2.0~rc.1", "amd64")
    github.attach(release, "lantern-box_1.2.0.rc.1_amd64.deb", content)
    assert (await source.resolve("v1.2.0-rc.1", ["amd64"])).version == "1.2.0~rc.1"


async def test_a_debian_revision_may_be_added_to_the_tag(
    source: GitHubReleases, github: FakeGitHub
) -> None:
    github.release("v0.0.75")
    attach(github, "lantern-box_0.0.75-1_amd64.deb", "0.0.75-1")
    assert (await source.resolve("v0.0.75", ["amd64"])).version == "0.0.75-1"
    attach(github, "lantern-box_0.0.75-2_amd64.deb", "0.0.75-2")
    assert (await source.resolve("v0.0.75", ["amd64"])).version == "0.0.75-2"
    assert (await source.resolve("0.0.75-1", ["amd64"])).version == "0.0.75-1"


@pytest.mark.parametrize("git_tag", ["v7.0.15", "7.0.15", "v7.0.15-1-deb12u10"])
async def test_an_exact_version_is_found_whatever_its_release_is_called(
    source: GitHubReleases, github: FakeGitHub, git_tag: str
) -> None:
    version = "5:7.0.15-1~deb12u10"
    github.release(git_tag)
    attach(github, "lantern-box.deb", version)
    release = await source.resolve(version, ["amd64"])
    assert (release.tag, release.version) == (version, version)


async def test_a_package_for_all_architectures_serves_each(
    source: GitHubReleases, github: FakeGitHub
) -> None:
    github.publish("v0.0.80", "all")
    release = await source.resolve("v0.0.80", ["amd64", "riscv64"])
    assert release.architectures == ("all", "amd64", "riscv64")
    assert len({deb_file.filename for deb_file in release.deb_files}) == 1
    assert (await source.list_releases()).releases[-1].deb_file("riscv64") == release.deb_files[0]


async def test_files_of_other_packages_and_versions_are_ignored(
    source: GitHubReleases, github: FakeGitHub
) -> None:
    attach(github, "lantern-box-extra_0.0.74_amd64.deb", "0.0.74", package="lantern-box-extra")
    attach(github, "lantern-box_0.0.99_riscv64.deb", "0.0.99", "riscv64")
    attach(github, "lantern-box_0.0.74_riscv64.rpm", "0.0.74", "riscv64")
    for name in ("lantern-box_0.0.74.deb", "README"):
        github.attach(github.releases[0], name, b"")
    github.attach(github.releases[0], "not-a-package.deb", b"<html>" * 9999)
    assert (await source.resolve("v0.0.74", [])).architectures == ("amd64", "arm64")


async def test_an_unknown_tag_is_an_error_with_the_newest_tags(
    source: GitHubReleases,
) -> None:
    text = await fails(source, ReleaseUnknownError, "v0.0.99")
    assert "there is no release v0.0.99; the newest: v0.0.74, v0.0.73" in text


@pytest.mark.parametrize("by_tag", [True, False])
async def test_an_unpublished_release_is_ignored(
    source: GitHubReleases, github: FakeGitHub, by_tag: bool
) -> None:
    release_json = github.publish("v0.0.75", "amd64")
    release_json["draft"] = True
    if by_tag:  # as if GitHub showed it to a token with access
        github.faults[tag_path("v0.0.75")] = Fault(200, {}, json.dumps(release_json).encode())
    text = await fails(source, ReleaseUnknownError, "v0.0.75")
    assert text.endswith("there is no release v0.0.75; the newest: v0.0.74, v0.0.73")
    assert [release.tag for release in (await source.list_releases()).releases] == [
        "v0.0.73",
        "v0.0.74",
    ]


async def test_a_repository_without_releases_is_an_error(
    source: GitHubReleases, github: FakeGitHub
) -> None:
    github.releases.clear()
    assert "there are no releases" in await fails(source, ReleaseUnknownError)
    assert (await source.list_releases()).releases == ()


async def test_a_missing_architecture_is_an_error_that_names_it(source: GitHubReleases) -> None:
    with pytest.raises(ReleaseUnknownError, match=r"for riscv64; it has it for amd64, arm64"):
        await source.resolve("v0.0.74", ["amd64", "riscv64"])


async def test_a_release_without_the_package_is_an_error_with_its_files(
    source: GitHubReleases, github: FakeGitHub
) -> None:
    github.attach(github.release("v0.0.75"), "notes.txt", b"")
    text = await fails(source, ReleaseUnknownError, "v0.0.75")
    assert "no package lantern-box 0.0.75; its files: notes.txt" in text
    attach(github, "lantern-box.deb", "0.0.76")
    github.attach(github.releases[0], "page.deb", b"<html>")
    text = await fails(source, ReleaseUnknownError, "v0.0.75")
    assert "lantern-box.deb (lantern-box 0.0.76 amd64), page.deb (it is not a Debian" in text


@pytest.mark.parametrize("form", ["SHA256SUMS", f"{NAME}.sha256", "digest only"])
async def test_a_digest_may_come_from_a_checksum_file(
    source: GitHubReleases, github: FakeGitHub, form: str
) -> None:
    asset = newest(github)
    del asset["digest"]
    digest = hashlib.sha256(github.files[f"{DOWNLOADS}/v0.0.74/{NAME}"]).hexdigest()
    line = digest.upper() if form == "digest only" else f"{'0' * 64}  other\n{digest}  {NAME}\n"
    name = f"{NAME}.sha256" if form == "digest only" else form
    github.attach(github.releases[0], name, line.encode())
    deb_file = (await source.resolve("v0.0.74", ["amd64"])).deb_file("amd64")
    assert deb_file is not None
    assert deb_file.sha256 == digest


@pytest.mark.parametrize("digest", [None, "", "sha512:00", "sha256:zz"])
async def test_a_package_without_a_digest_is_an_error_that_names_it(
    source: GitHubReleases, github: FakeGitHub, digest: str | None
) -> None:
    newest(github)["digest"] = digest
    github.attach(github.releases[0], "SHA256SUMS", f"{'0' * 64}  other.deb\n".encode())
    assert f"SHA-256 of {NAME}" in await fails(source, RepositoryUntrustedError)
    listed = await source.list_releases()
    assert [release.tag for release in listed.releases] == ["v0.0.73"]
    assert [(each.name, each.kind) for each in listed.left_out] == [
        ("v0.0.74", "repository-untrusted")
    ]
    assert not listed.is_partial


@pytest.mark.parametrize(
    ("path", "fault", "kind", "reason"),
    [
        (NAME, Fault(503), "repository-unavailable", "503"),
        (NAME, Fault(429, {"Retry-After": "60"}), "repository-unavailable", "429"),
        (NAME, Fault(404), "repository-unavailable", "404"),
        ("SHA256SUMS", Fault(500), "repository-unavailable", "500"),
        ("SHA256SUMS", Fault(200, {}, b"\xff"), "repository-broken", "UTF-8"),
    ],
)
async def test_a_release_that_cannot_be_read_is_told_and_the_others_are_listed(
    source: GitHubReleases, github: FakeGitHub, path: str, fault: Fault, kind: str, reason: str
) -> None:
    if path != NAME:
        newest(github)["digest"] = None
        github.attach(github.releases[0], path, b"")
    github.faults[f"{DOWNLOADS}/v0.0.74/{path}"] = fault
    listed = await source.list_releases()
    assert [release.tag for release in listed.releases] == ["v0.0.73"]
    [left_out] = listed.left_out
    assert (left_out.name, left_out.kind, left_out.unread) == ("v0.0.74", kind, True)
    assert reason in left_out.reason


async def test_a_release_of_other_packages_is_none_and_an_ambiguous_one_is_told(
    source: GitHubReleases, github: FakeGitHub
) -> None:
    github.attach(github.release("v0.0.75"), "a.deb", deb("other", "0.0.75", "amd64"))
    ambiguous = github.release("v0.0.76")
    for suite in ("debian12", "debian13"):
        content = deb("lantern-box", "0.0.76", "amd64", content=suite)
        github.attach(ambiguous, f"{suite}.deb", content)
    listed = await source.list_releases()
    assert [release.tag for release in listed.releases] == ["v0.0.73", "v0.0.74"]
    [left_out] = listed.left_out
    assert (left_out.name, left_out.unread) == ("v0.0.76", False)
    assert "RELIGHT_GITHUB__ASSETS" in left_out.reason


async def test_a_missing_checksum_file_may_be_retried(
    source: GitHubReleases, github: FakeGitHub
) -> None:
    newest(github)["digest"] = None
    github.attach(github.releases[0], "SHA256SUMS", b"")
    github.files.pop(f"{DOWNLOADS}/v0.0.74/SHA256SUMS")
    assert "SHA256SUMS: 404" in await fails(source, RepositoryUnavailableError)


@pytest.mark.parametrize("content", [b"\xff" * 100, b"0" * (1024 * 1024 + 1)])
async def test_an_invalid_checksum_file_is_an_error(
    source: GitHubReleases, github: FakeGitHub, content: bytes
) -> None:
    newest(github)["digest"] = None
    github.attach(github.releases[0], "SHA256SUMS", content)
    await fails(source, RepositoryError)


async def test_a_package_that_is_being_uploaded_may_be_retried(
    source: GitHubReleases, github: FakeGitHub
) -> None:
    newest(github)["state"] = "starter"
    assert f"{NAME} is still being uploaded" in await fails(source, RepositoryUnavailableError)
    newest(github)["state"] = "uploaded"
    assert await source.resolve("v0.0.74", ["amd64"])


@pytest.mark.parametrize("url", ["file:///etc/passwd", "x.deb", "http://h/a b.deb"])
async def test_a_url_that_no_host_can_fetch_is_an_error(
    source: GitHubReleases, github: FakeGitHub, url: str
) -> None:
    newest(github)["browser_download_url"] = url
    assert "not a URL" in await fails(source, RepositoryError)


async def test_the_releases_of_all_pages_are_listed_newest_last(
    source: GitHubReleases, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relight.releases.github_releases.PAGE", 5)
    for patch in range(75, 84):
        github.publish(f"v0.0.{patch}", "amd64")
    github.attach(github.release("nightly"), "lantern-box.deb", b"")
    listed = (await source.list_releases()).releases
    assert [release.tag for release in listed] == [f"v0.0.{patch}" for patch in range(73, 84)]
    assert [request.path for request in github.api_requests()] == [
        f"{list_path()}?per_page=5",
        f"{list_path()}?per_page=5&page=2",
        f"{list_path()}?per_page=5&page=3",
    ]
    assert await source.resolve(listed[0].tag, ["arm64"]) == listed[0]


async def test_the_token_is_sent_to_the_api_only(
    make_source: MakeSource, github: FakeGitHub
) -> None:
    newest(github)["digest"] = None
    content = hashlib.sha256(github.files[f"{DOWNLOADS}/v0.0.74/{NAME}"]).hexdigest()
    github.attach(github.releases[0], "SHA256SUMS", f"{content}  {NAME}".encode())
    await make_source(token=SecretStr("squirrel")).resolve("v0.0.74", [])
    tokens = {request.path: request.token for request in github.requests}
    assert tokens.pop(tag_path("v0.0.74")) == "Bearer squirrel"
    assert tokens.pop(f"{DOWNLOADS}/v0.0.74/SHA256SUMS") is None
    assert set(tokens.values()) == {None}


async def test_a_hundred_calls_within_a_minute_are_one_request(
    make_source: MakeSource, github: FakeGitHub
) -> None:
    source = make_source(cache_time=timedelta(minutes=1))
    await asyncio.gather(*(source.resolve("v0.0.74", ["amd64"]) for _ in range(100)))
    assert len(github.api_requests()) == 1
    assert len(github.requests) == 3  # and the beginning of each package


async def test_an_expired_answer_is_requested_with_its_etag(
    source: GitHubReleases, github: FakeGitHub
) -> None:
    first = await source.resolve("v0.0.74", ["amd64"])
    assert await source.resolve("v0.0.74", ["amd64"]) == first
    assert github.not_modified == 1
    attach(github, "lantern-box_0.0.74_riscv64.deb", "0.0.74", "riscv64")
    assert "riscv64" in (await source.resolve("v0.0.74", ["amd64"])).architectures


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1767225600"}, "retry at 00:00"),
        (403, {"X-RateLimit-Remaining": "0"}, "until it is renewed"),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"}, "until it is renewed"),
        (403, {"Retry-After": "60"}, "retry after 60 s"),
        (429, {}, "RELIGHT_GITHUB__TOKEN_FILE"),
        (500, {}, "500"),
        (502, {}, "502"),
    ],
)
async def test_rate_limits_and_server_errors_may_be_retried(
    make_source: MakeSource, github: FakeGitHub, status: int, headers: dict[str, str], expected: str
) -> None:
    github.faults[tag_path("v0.0.74")] = Fault(status, headers)
    source = make_source(token=SecretStr("squirrel"))
    text = await fails(source, RepositoryUnavailableError)
    assert expected in text
    assert "squirrel" not in text


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_is_an_error_for_the_operator(
    make_source: MakeSource, github: FakeGitHub, status: int
) -> None:
    headers = {"X-RateLimit-Remaining": "4999"}
    github.faults[tag_path("v0.0.74")] = Fault(status, headers)
    text = await fails(make_source(token=SecretStr("squirrel")), RepositoryError)
    assert "RELIGHT_GITHUB__TOKEN_FILE" in text
    assert "squirrel" not in text


async def test_a_missing_repository_is_an_error_for_the_operator(
    make_source: MakeSource,
) -> None:
    source = make_source(repository="no/such")
    for request in (source.resolve("v0.0.74", []), source.list_releases()):
        with pytest.raises(RepositoryError, match=r"github:no/such: there is no such repository"):
            await request


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Please log in</html>", b"[]", b"{}", b'{"tag_name": 5}', b'{"tag_name": "v'],
)
async def test_an_invalid_release_is_an_error(
    source: GitHubReleases, github: FakeGitHub, body: bytes
) -> None:
    github.faults[tag_path("v0.0.74")] = Fault(200, {}, body)
    await fails(source, RepositoryError)


async def test_an_invalid_list_is_an_error(source: GitHubReleases, github: FakeGitHub) -> None:
    github.faults[list_path()] = Fault(200, {}, b'{"message": "hello"}')
    with pytest.raises(RepositoryError, match="not a release of GitHub"):
        await source.list_releases()


async def test_a_renamed_repository_is_followed(source: GitHubReleases, github: FakeGitHub) -> None:
    moved = "/repositories/7/releases/tags/v0.0.74"
    github.faults[moved] = github.answer(tag_path("v0.0.74"))
    github.faults[tag_path("v0.0.74")] = Fault(301, {"Location": moved})
    assert (await source.resolve("v0.0.74", ["amd64"])).version == "0.0.74"


async def test_an_answer_with_another_tag_is_refused(
    source: GitHubReleases, github: FakeGitHub
) -> None:
    github.faults[tag_path("v0.0.74")] = github.answer(tag_path("v0.0.73"))
    assert "there is no release v0.0.74" in await fails(source, ReleaseUnknownError)


async def test_an_answer_that_is_too_large_is_an_error(
    source: GitHubReleases, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relight.releases.github_api.MAX_ANSWER_BYTES", 100)
    assert "more than 100 bytes" in await fails(source, RepositoryError)


async def test_a_port_that_does_not_listen_is_unavailable(make_source: MakeSource) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # without listening
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        assert url in await fails(make_source(api_url=url), RepositoryUnavailableError)


async def test_an_invalid_api_url_is_an_error_for_the_operator(make_source: MakeSource) -> None:
    await fails(make_source(api_url="gopher://api.example"), RepositoryError)


async def test_its_own_connections_are_closed(github: FakeGitHub) -> None:
    source = GitHubReleases(repository=REPOSITORY, package="lantern-box", api_url=github.url)
    await source.resolve("v0.0.74", [])
    await source.close()
    with pytest.raises(RuntimeError, match="closed"):
        await source.resolve("v0.0.73", [])
