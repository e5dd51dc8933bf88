"""`relight release` with releases from GitHub."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.starter.in_process import InProcess
from tests.support.fake_github import (
    DOWNLOADS,
    REPOSITORY,
    FakeGitHub,
    Fault,
    fake_github,
    list_path,
)


@pytest.fixture(scope="module")
def github() -> Iterator[FakeGitHub]:
    with fake_github() as github:
        github.publish("v0.0.73", "amd64")
        github.publish("v0.0.74", "amd64", "arm64")
        yield github


@pytest.fixture
def relight(github: FakeGitHub, tmp_path: Path) -> InProcess:
    home = tmp_path / "home"
    home.mkdir()
    (home / "token").write_text("squirrel\n")
    (home / "env").write_text(
        f"RELIGHT_GITHUB__REPOSITORY='{REPOSITORY}'\n"
        f"RELIGHT_GITHUB__API_URL='{github.url}'\n"
        f"RELIGHT_GITHUB__TOKEN_FILE='{home / 'token'}'\n"
    )
    return InProcess(home)


async def test_the_list_has_the_source_and_the_architectures(relight, github):
    listed = (await relight("release", "list")).out
    assert f"github:{REPOSITORY}" in listed
    assert re.search(r"v0\.0\.74 +0\.0\.74 +amd64, arm64", listed)
    assert {request.token for request in github.api_requests()} == {"Bearer squirrel"}


async def test_a_release_has_url_and_digest_for_each_architecture(relight, github):
    shown = (await relight("release", "show", "v0.0.74", "--json")).json
    assert shown["source"] == f"github:{REPOSITORY}"
    for deb_file in shown["deb_files"]:
        assert deb_file["filename"].startswith(f"{github.url}{DOWNLOADS}/v0.0.74/lantern-box_")
        assert re.fullmatch("[0-9a-f]{64}", deb_file["sha256"])


async def test_a_release_has_each_file_with_its_digest(relight):
    shown = (await relight("release", "show", "v0.0.73")).out
    assert re.search(r"^SHA-256 +[0-9a-f]{64} *$", shown, re.MULTILINE)
    # An address is wrapped where it is longer than a line.
    assert "/v0.0.73/lantern-box_0.0.73_amd64.deb" in "".join(shown.split())


async def test_an_unknown_tag_is_bad_input_and_the_newest_is_named(relight):
    ended = await relight("release", "show", "v9.9.9")
    assert (ended.code, ended.out) == (2, "")
    for text in ("v9.9.9", f"github:{REPOSITORY}", "v0.0.74"):
        assert text in ended.said


async def test_a_rate_limit_is_reported_without_the_token(relight, github):
    github.faults[list_path()] = Fault(429, {"Retry-After": "60"})
    ended = await relight("release", "list")
    github.faults.clear()
    assert (ended.code, ended.out) == (3, "")
    assert "retry after 60 s" in ended.said
    assert "squirrel" not in ended.said


async def test_a_release_that_cannot_be_read_is_named_and_the_answer_is_partial(relight, github):
    github.faults[f"{DOWNLOADS}/v0.0.74/lantern-box_0.0.74_arm64.deb"] = Fault(503)
    listed, as_json = await relight("release", "list"), await relight("release", "list", "--json")
    github.faults.clear()
    assert (listed.code, as_json.code) == (3, 3)
    assert re.search(r"v0\.0\.73 +0\.0\.73 +amd64", listed.out)
    assert re.search(r"v0\.0\.74 .*503", listed.out)
    assert [release["tag"] for release in as_json.json["releases"]] == ["v0.0.73"]
    [left_out] = as_json.json["left_out"]
    assert list(left_out) == ["name", "kind", "reason", "unread"]
    assert (left_out["name"], left_out["kind"]) == ("v0.0.74", "repository-unavailable")


async def test_two_release_sources_are_refused_by_their_variables(relight):
    both = relight.where(RELIGHT_REPOSITORY__URL="http://127.0.0.1:1")
    ended = await both("release", "list")
    assert (ended.code, ended.out) == (3, "")
    assert "RELIGHT_REPOSITORY__URL and RELIGHT_GITHUB__REPOSITORY are both set" in ended.said
