"""Where the .deb of a package is found: the source of releases, and this computer's apt."""

import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from relight.inspection.packages import by_apt, in_source
from relight.inspection.service import inspect_deb
from relight.releases.errors import RepositoryError, RepositoryUnavailableError
from relight.releases.source import AptSourceConfig, DirectorySourceConfig
from tests.inspection.conftest import made, unit
from tests.support.apt_repository import Repository, Served, key_ring, serve

USER = "repository@example.org"
BOX = {"/lib/systemd/system/box.service": unit("ExecStart=/usr/bin/box --port 80")}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("apt")


@pytest.fixture(scope="module")
def served(root: Path) -> Iterator[Served]:
    """A repository with a service in a package that another one depends on."""
    repository = Repository(root / "repository", architectures=("amd64",))
    repository.add("1.0", "all", package="box-light", depends="box-common")
    repository.add("0.9", "all", package="box-common")
    repository.add("1.0", "all", package="box-common", files=BOX)
    with key_ring() as keys:
        keys.make("repository")
        repository.publish(partial(keys.sign, users=[USER]))
        (root / "key.asc").write_bytes(keys.public(USER, armoured=True))
    with serve(repository.root) as served:
        yield served


def source(served: Served, root: Path, key: str = "key.asc") -> AptSourceConfig:
    return AptSourceConfig(url=served.url, suite="stable", component="main", signing_key=root / key)


def test_the_source_of_releases_has_the_newest_version(
    served: Served, root: Path, tmp_path: Path
) -> None:
    find = in_source(source(served, root), tmp_path)
    file = find("box-light")
    assert file is not None
    found = inspect_deb(file, find)
    assert (found.package, found.unit, found.probe_port) == ("box-light", "box.service", 80)
    assert find("absent") is None


def test_a_source_that_cannot_be_trusted_is_not_read(
    served: Served, root: Path, tmp_path: Path
) -> None:
    with key_ring() as keys:
        (root / "other.asc").write_bytes(keys.public(keys.make("other"), armoured=True))
    with pytest.raises(RepositoryError):
        in_source(source(served, root, "other.asc"), tmp_path)("box-light")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_a_source_too(tmp_path: Path) -> None:
    packages, folder = tmp_path / "packages", tmp_path / "folder"
    for each in (packages, folder):
        each.mkdir()
    made(packages, BOX)
    find = in_source(DirectorySourceConfig(packages), folder)
    file = find("box")
    assert file is not None
    assert inspect_deb(file, find).unit == "box.service"
    assert find("other") is None


@pytest.fixture
def apt(served: Served, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The real apt, with this repository as its only source."""
    folder = tmp_path / "apt"
    for each in ("lists/partial", "cache/archives/partial", "parts"):
        (folder / each).mkdir(parents=True)
    (folder / "status").touch()
    line = f"deb [signed-by={root / 'key.asc'}] {served.url} stable main\n"
    (folder / "sources.list").write_text(line)
    (folder / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{folder}/sources.list";\n'
        f'Dir::Etc::sourceparts "{folder}/parts";\nDir::State::lists "{folder}/lists";\n'
        f'Dir::State::status "{folder}/status";\nDir::Cache "{folder}/cache";\n'
        'APT::Architecture "amd64";\nAPT::Architectures { "amd64"; };\n'
        'APT::Sandbox::User "root";\nAcquire::http::Proxy "DIRECT";\nAcquire::Retries "0";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(folder / "apt.conf"))
    subprocess.run(["apt-get", "-q", "update"], check=True, capture_output=True)
    return folder


@pytest.mark.usefixtures("apt")
def test_apt_downloads_what_its_sources_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGUAGE", "de")
    folder = tmp_path / "downloads"
    folder.mkdir()
    find = by_apt(folder)
    file = find("box-light")
    assert file is not None
    found = inspect_deb(file, find)
    assert (found.unit, found.version) == ("box.service", "1.0")
    assert find("absent") is None


def test_an_apt_that_does_not_answer_is_reported(apt: Path, tmp_path: Path) -> None:
    (apt / "sources.list").write_text("no source\n")
    with pytest.raises(RepositoryUnavailableError, match="apt-get download box-light: E: "):
        by_apt(tmp_path)("box-light")


def test_a_computer_without_apt_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, "PATH": str(tmp_path)})
    with pytest.raises(RepositoryUnavailableError, match="this computer has no apt-get"):
        by_apt(tmp_path)("box-light")
