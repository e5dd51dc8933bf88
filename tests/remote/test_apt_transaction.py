"""The transaction's script, really run: the real apt in a root of its own, real repositories."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from remote.apt import transaction_script
from remote.apt_output import ONCE_MORE, diagnose
from remote.dpkg import ABSENT, installed_exactly
from tests.support.apt_repository import (
    PACKAGE,
    SUITE,
    KeyRing,
    Repository,
    Served,
    key_ring,
    serve,
)
from tests.support.apt_root import AptRoot

OLD, NEW = "0.0.73", "0.0.74"
IN_RELEASE = f"/dists/{SUITE}/InRelease"


@pytest.fixture(scope="module")
def keys() -> Iterator[KeyRing]:
    with key_ring() as keys:
        yield keys


@pytest.fixture(scope="module")
def key(keys: KeyRing) -> str:
    return keys.make("repository")


@pytest.fixture(scope="module")
def other_key(keys: KeyRing) -> str:
    return keys.make("somebody-else")


class Repositories(NamedTuple):
    ours: Repository
    machines: Repository


@pytest.fixture(scope="module")
def published(keys: KeyRing, key: str, tmp_path_factory: pytest.TempPathFactory) -> Repositories:
    """Ours, and another one: a machine's own, that carries what the daemon needs."""
    folder = tmp_path_factory.mktemp("repositories")
    ours = Repository(folder / "ours", ("amd64",))
    for version in (OLD, NEW, f"{NEW}0"):
        ours.add(version)
    ours.add("0.0.80", depends="libdaemon")
    ours.add("0.0.81", depends="libdaemon (>= 2)")
    ours.add("0.0.82", depends="no-such-thing")
    machines = Repository(folder / "machines", ("amd64",))
    machines.add("1.0", package="libdaemon")
    machines.add("2.0", package="libdaemon")
    for repository in (ours, machines):
        repository.publish(partial(keys.sign, users=[key]))
    return Repositories(ours, machines)


@pytest.fixture
def repository(published: Repositories, tmp_path: Path) -> Repository:
    return published.ours.copy(tmp_path / "ours")


@pytest.fixture
def served(repository: Repository) -> Iterator[Served]:
    with serve(repository.root) as served:
        yield served


@pytest.fixture
def host(served: Served, keys: KeyRing, key: str, tmp_path: Path) -> AptRoot:
    host = AptRoot(tmp_path / "host")
    host.read_from(served.url, keys.public(key))
    return host


@pytest.fixture
def machines(host: AptRoot, published: Repositories, keys: KeyRing, key: str) -> Iterator[Served]:
    """The machine's own source, read once before, as every machine has."""
    with serve(published.machines.root) as machines:
        host.read_from(machines.url, keys.public(key), "sources.list.d/debian.sources")
        assert host.run("apt-get update")[0] == 0
        yield machines


def succeed(host: AptRoot, version: str, *, allow_downgrade: bool = False) -> str:
    script = transaction_script(PACKAGE, version, allow_downgrade=allow_downgrade)
    code, said = host.run(script)
    assert code == 0, said
    assert installed_exactly(host.state(), version)
    return said


def fail(host: AptRoot, version: str) -> str:
    """Fail with apt's own exit code and change nothing; return the kind."""
    before = host.state()
    code, said = host.run(transaction_script(PACKAGE, version))
    assert code == 100, said
    assert host.state() == before
    return diagnose(said, PACKAGE).kind


def test_the_version_is_installed_upgraded_and_installed_again(host: AptRoot) -> None:
    succeed(host, OLD)
    succeed(host, NEW)
    assert "0 newly installed" in succeed(host, NEW)


def test_an_older_version_takes_its_place_only_with_leave(host: AptRoot) -> None:
    succeed(host, NEW)
    assert fail(host, OLD) == "downgrade-refused"
    succeed(host, OLD, allow_downgrade=True)


@pytest.mark.parametrize("version", ["0.0.7", "0.0.99", "0.0.7."])
def test_a_version_that_is_not_listed_changes_nothing(host: AptRoot, version: str) -> None:
    assert fail(host, version) == "version-not-listed"


@pytest.mark.parametrize("there", [True, False])
def test_a_repository_that_is_down_is_no_reason_to_trust_an_old_index(
    host: AptRoot, served: Served, there: bool
) -> None:
    if there:
        succeed(host, OLD)
    served.answers[IN_RELEASE] = (503, b"")
    assert fail(host, NEW) == "repository-unreachable"


@pytest.mark.parametrize("there", [True, False])
def test_a_repository_that_another_key_signs_is_not_trusted(
    host: AptRoot, repository: Repository, keys: KeyRing, other_key: str, there: bool
) -> None:
    if there:
        succeed(host, OLD)
    repository.publish(partial(keys.sign, users=[other_key]))
    assert fail(host, NEW) == "repository-untrusted"


def test_a_torn_index_is_a_matter_of_time(host: AptRoot, repository: Repository) -> None:
    for ending in ("", ".gz", ".xz"):
        with repository.index("amd64", ending).open("ab") as file:
            file.write(b"x")
    assert fail(host, NEW) == "repository-inconsistent"


@pytest.mark.parametrize("gone", [True, False])
def test_a_package_that_is_gone_or_damaged_is_a_matter_of_time(
    host: AptRoot, repository: Repository, gone: bool
) -> None:
    file = next(repository.root.rglob(f"{PACKAGE}_{NEW}_amd64.deb"))
    content = file.read_bytes()
    file.unlink()
    if not gone:
        file.write_bytes(content[::-1])
    assert fail(host, NEW) == "repository-inconsistent"


def test_what_an_operator_holds_is_left_alone(host: AptRoot) -> None:
    succeed(host, OLD)
    host.hold(PACKAGE)
    assert fail(host, NEW) == "packages-held"


def test_our_source_alone_is_asked_as_long_as_it_suffices(host: AptRoot, machines: Served) -> None:
    machines.requests.clear()
    assert ONCE_MORE not in succeed(host, NEW)
    assert machines.requests == []
    lists = {file.name for file in (host.root / "var/lib/apt/lists").glob("*Packages*")}
    assert len(lists) == 2  # the machine's own index is still there


@pytest.mark.parametrize("version", ["0.0.80", "0.0.81"])
def test_a_dependency_comes_from_the_machines_own_sources(
    host: AptRoot, machines: Served, version: str
) -> None:
    assert ONCE_MORE in succeed(host, version)
    assert host.state("libdaemon").status == "ii"


def test_a_dependency_that_is_too_old_is_replaced_from_the_machines_own_sources(
    host: AptRoot, machines: Served
) -> None:
    assert host.run("apt-get -qy install libdaemon=1.0")[0] == 0
    assert ONCE_MORE in succeed(host, "0.0.81")
    assert host.state("libdaemon").version == "2.0"


def test_a_dependency_that_nobody_carries_is_the_releases_fault(
    host: AptRoot, machines: Served
) -> None:
    assert fail(host, "0.0.82") == "dependencies-missing"


def test_a_dependency_that_cannot_be_fetched_is_not_the_releases_fault(
    host: AptRoot, machines: Served
) -> None:
    machines.answers["/pool/main/libdaemon_2.0_amd64.deb"] = (404, b"")
    assert fail(host, "0.0.80") == "repository-inconsistent"


def test_an_interrupted_dpkg_is_mended_first(host: AptRoot) -> None:
    # Only `ls` and the script's own `dpkg` are found by their names: apt calls dpkg by its path.
    host.put_program("ls", "exit 0")
    host.put_program("dpkg", 'echo "mending: $*"; exit 1')
    said = succeed(host, NEW)
    mended = said.index("mending: --force-confdef --force-confold --configure -a")
    assert mended < said.index("Reading package lists")


def test_a_dpkg_that_was_not_interrupted_is_left_alone(host: AptRoot) -> None:
    host.put_program("ls", "exit 2")
    host.put_program("dpkg", "echo mending")
    assert "mending" not in succeed(host, NEW)


def test_nothing_is_installed_where_the_index_cannot_be_refreshed(host: AptRoot) -> None:
    host.put_program("apt-get", 'case "$*" in *update) exit 100;; esac; echo installed')
    assert host.run(transaction_script(PACKAGE, NEW)) == (100, "")
    assert host.state() == ABSENT
