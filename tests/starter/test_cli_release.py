"""`relight release` with a real signed apt repository."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from relight.store.store import Store
from tests.starter.in_process import InProcess
from tests.support.apt_repository import (
    KeyRing,
    Repository,
    Served,
    key_ring,
    serve,
)

RELEASE_KEYS = ["tag", "version", "package", "source", "deb_files"]
DEB_FILE_KEYS = ["architecture", "filename", "sha256", "size_bytes"]


@pytest.fixture(scope="module")
def keys() -> Iterator[KeyRing]:
    with key_ring() as keys:
        keys.make("repository")
        yield keys


@pytest.fixture(scope="module")
def served(keys: KeyRing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    repository = Repository(tmp_path_factory.mktemp("apt"))
    for version in ("0.0.73", "0.0.74"):
        repository.add(version, "amd64")
    repository.add("0.0.74", "arm64")
    repository.publish(partial(keys.sign, users=["repository@example.org"]))
    with serve(repository.root) as served:
        yield served


@pytest.fixture
def relight(keys: KeyRing, served: Served, tmp_path: Path) -> InProcess:
    """The command line with its settings in the file `env`, as `relight up` writes them."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "key.asc").write_bytes(keys.public("repository@example.org", armoured=True))
    (home / "env").write_text(
        f"RELIGHT_REPOSITORY__URL='{served.url}'\n"
        f"RELIGHT_REPOSITORY__SIGNING_KEY='{home / 'key.asc'}'\n"
    )
    return InProcess(home)


async def test_the_list_as_json_has_every_release_newest_last(relight):
    listed = await relight("release", "list", "--json")
    assert (listed.code, listed.err) == (0, "")
    assert list(listed.json) == ["releases", "left_out"]
    releases = listed.json["releases"]
    assert [release["tag"] for release in releases] == ["v0.0.73", "v0.0.74"]
    assert [list(release) for release in releases] == [RELEASE_KEYS] * 2


async def test_the_list_has_the_source_and_the_architectures(relight, served):
    listed = (await relight("release", "list")).out
    assert served.url in listed
    assert re.search(r"v0\.0\.74 +0\.0\.74 +amd64, arm64", listed)


async def test_a_release_as_json_has_a_digest_for_each_architecture(relight):
    shown = (await relight("release", "show", "v0.0.74", "--json")).json
    assert list(shown) == RELEASE_KEYS
    assert (shown["version"], shown["package"]) == ("0.0.74", "lantern-box")
    assert [list(deb_file) for deb_file in shown["deb_files"]] == [DEB_FILE_KEYS] * 2
    assert all(re.fullmatch("[0-9a-f]{64}", each["sha256"]) for each in shown["deb_files"])


async def test_a_release_has_each_file_with_its_digest(relight):
    shown = (await relight("release", "show", "v0.0.73")).out
    # Too wide for one line of a pipe: a line for each cell.
    assert re.search(
        r"amd64 *\n.*lantern-box_0\.0\.73_amd64\.deb *\nbytes +\d+ *\nSHA-256 +[0-9a-f]{64} *\n",
        shown,
    )


async def test_an_unknown_tag_is_bad_input_and_the_newest_is_named(relight, served):
    ended = await relight("release", "show", "v9.9.9", "--json")
    assert (ended.code, ended.out) == (2, "")
    for text in ("v9.9.9", served.url, "0.0.74"):
        assert text in ended.said


async def test_a_malformed_tag_is_bad_input_before_any_request(relight, served):
    before = len(served.requests)
    for malformed in ("latest", "0.0.74-", "1:", "v0.0.74/2"):
        ended = await relight("release", "show", malformed)
        assert (ended.code, ended.out) == (2, "")
        assert f"{malformed!r} is not a release: neither a tag, as in v0.0.74, nor" in ended.said
    assert len(served.requests) == before


async def test_an_exact_version_is_a_release(relight):
    shown = (await relight("release", "show", "0.0.74", "--json")).json
    assert (shown["tag"], shown["version"]) == ("0.0.74", "0.0.74")


@pytest.mark.parametrize("missing", ["RELIGHT_REPOSITORY__URL", "RELIGHT_REPOSITORY__SIGNING_KEY"])
@pytest.mark.parametrize("words", [("list",), ("show", "v0.0.74")], ids=" ".join)
async def test_a_missing_repository_setting_is_named(relight, words, missing):
    env = relight.home / "env"
    kept = [line for line in env.read_text().splitlines() if not line.startswith(missing)]
    env.write_text("\n".join(kept))
    ended = await relight("release", *words)
    assert (ended.code, ended.out) == (3, "")
    assert missing in ended.said


async def test_a_repository_that_does_not_answer_is_named(relight):
    unreachable = relight.where(RELIGHT_REPOSITORY__URL="http://127.0.0.1:1")
    ended = await unreachable("release", "list")
    assert (ended.code, ended.out) == (3, "")
    assert "http://127.0.0.1:1" in ended.said


async def test_a_repository_signed_with_another_key_is_refused(relight, keys):
    keys.make("somebody-else")
    (relight.home / "key.asc").write_bytes(keys.public("somebody-else@example.org", armoured=True))
    ended = await relight("release", "list")
    assert (ended.code, ended.out) == (3, "")
    assert "sign" in ended.said


async def test_an_older_index_is_refused_until_a_person_accepts_it(relight, keys, tmp_path):
    repository = Repository(tmp_path / "apt", ("amd64",))
    repository.add("0.0.73", "amd64")
    sign = partial(keys.sign, users=["repository@example.org"])
    now = datetime.now(UTC)
    with serve(repository.root) as served:
        relight = relight.where(RELIGHT_REPOSITORY__URL=served.url)
        assert (await relight("init")).code == 0
        repository.publish(sign, date=now - timedelta(hours=1))
        assert (await relight("release", "list")).code == 0
        repository.publish(sign, date=now - timedelta(hours=2))
        refused = await relight("release", "list")
        assert refused.code == 3
        assert "relight release accept-older" in refused.said
        accepted = await relight("release", "accept-older", "--reason", "set back", "--json")
        assert accepted.json["accepted"] is True
        assert (await relight("release", "list")).code == 0
        again = await relight("release", "accept-older", "--json")
        assert again.json["accepted"] is False
    with Store.open(f"sqlite:///{relight.home / 'fleet.db'}") as store:
        [event] = store.events.list(kind="older-index-accepted")
    assert (event.reason, event.detail["source"]) == ("set back", f"{served.url} stable main")


async def test_a_missing_key_file_is_named(relight):
    (relight.home / "key.asc").unlink()
    ended = await relight("release", "list")
    assert (ended.code, ended.out) == (3, "")
    assert "key.asc" in ended.said
