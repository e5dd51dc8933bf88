"""Several repositories of one service, and repositories that need a login."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from relight.releases.errors import (
    ReleaseUnknownError,
    RepositoryError,
    RepositoryUnavailableError,
)
from relight.releases.source import AptSourceConfig, Login, ReleaseSource, open_source
from tests.releases.conftest import Sign
from tests.support.apt_repository import COMPONENT, PACKAGE, SUITE, Repository, Served, serve

PASSWORD = "squirrel:nut"


@pytest.fixture
def second(tmp_path: Path, sign: Sign) -> Iterator[Served]:
    """Another repository: it has an older and a newer revision, and a version of both."""
    repository = Repository(tmp_path / "second")
    for version in ("0.0.76-1+b1", "0.0.76-3", "0.0.90"):
        repository.add(version, "amd64")
    repository.add("0.0.73", "amd64", files={"/usr/share/other": "content"})
    repository.publish(sign)
    with serve(repository.root) as served:
        yield served


def config(served: Served, key_file: Path) -> AptSourceConfig:
    return AptSourceConfig(served.url, SUITE, COMPONENT, key_file)


@pytest.fixture
async def both(served: Served, second: Served, key_file: Path) -> AsyncIterator[ReleaseSource]:
    first = config(served, key_file)
    source = open_source(replace(first, more=(config(second, key_file),)), PACKAGE)
    yield source
    await source.close()


async def test_a_release_comes_from_the_repository_that_has_it(
    both: ReleaseSource, served: Served, second: Served
) -> None:
    assert (await both.resolve("v0.0.72", ["amd64"])).source.startswith(served.url)
    assert (await both.resolve("v0.0.90", ["amd64"])).source.startswith(second.url)
    # The newest revision of both, where it is for every architecture.
    assert (await both.resolve("v0.0.76", ["amd64"])).version == "0.0.76-3"
    assert (await both.resolve("v0.0.76", ["amd64", "arm64"])).version == "0.0.76-2"
    assert (await both.resolve("0.0.76-1+b1", ["amd64"])).version == "0.0.76-1+b1"
    with pytest.raises(ReleaseUnknownError) as caught:
        await both.resolve("v9.9.9", ["amd64"])
    assert served.url in str(caught.value)
    assert second.url in str(caught.value)


async def test_of_a_version_of_both_the_first_counts(
    both: ReleaseSource, served: Served, key_file: Path
) -> None:
    alone = open_source(config(served, key_file), PACKAGE)
    assert await both.resolve("v0.0.73", ["amd64"]) == await alone.resolve("v0.0.73", ["amd64"])
    await alone.close()


async def test_the_list_has_each_version_once(both: ReleaseSource) -> None:
    listed = (await both.list_releases()).releases
    versions = [release.version for release in listed]
    assert len(versions) == len(set(versions))
    assert {"0.0.72", "0.0.76-2", "0.0.76-3", "0.0.90"} < set(versions)
    assert [each.version for each in listed if each.tag == "v0.0.76"] == ["0.0.76-3"]


async def test_one_that_does_not_answer_is_an_error(both: ReleaseSource, second: Served) -> None:
    second.answers[f"/dists/{SUITE}/InRelease"] = (503, b"")
    with pytest.raises(RepositoryUnavailableError, match=second.url):
        await both.resolve("v0.0.72", ["amd64"])


async def test_a_login_is_sent_with_each_request_and_to_nobody_else(
    served: Served, second: Served, key_file: Path
) -> None:
    login = Login("relight", SecretStr(PASSWORD))
    assert PASSWORD not in repr(login)
    served.login = login.headers["Authorization"]
    source = open_source(replace(config(served, key_file), login=login), PACKAGE)
    release = await source.resolve("v0.0.72", ["amd64"])
    assert PASSWORD not in release.model_dump_json()
    assert served.logins == [served.login] * 2
    # A redirect elsewhere.
    served.answers[f"/dists/{SUITE}/InRelease"] = (302, f"{second.url}/x".encode())
    with pytest.raises(RepositoryUnavailableError, match="404"):
        await source.resolve("v0.0.72", ["amd64"])
    assert second.logins == [None]
    await source.close()


async def test_a_login_that_is_refused_names_the_setting(served: Served, key_file: Path) -> None:
    served.login = "Basic other"
    login = Login("relight", SecretStr(PASSWORD))
    source = open_source(replace(config(served, key_file), login=login), PACKAGE)
    with pytest.raises(RepositoryError, match="RELIGHT_REPOSITORY__PASSWORD_FILE") as caught:
        await source.resolve("v0.0.72", ["amd64"])
    assert not caught.value.retryable
    assert PASSWORD not in str(caught.value)
    await source.close()
