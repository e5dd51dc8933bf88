"""`relight-host install`, really run: the real apt in a root of its own, real repositories."""

import fcntl
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from relight.hosts.apt import ONCE_MORE, diagnose
from relight.hosts.dpkg import ABSENT, installed_exactly
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
FILE = "/usr/share/lantern-box/file"
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
        ours.add(version, files={FILE: version})
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


def succeed(host: AptRoot, version: str, leave: str = "upgrade") -> str:
    code, said = host.install(version, leave)
    assert code == 0, said
    assert installed_exactly(host.state(), version)
    return said


def fail(host: AptRoot, version: str) -> str:
    """Fail with apt's own exit code and change nothing; return the kind."""
    before = host.state()
    code, said = host.install(version)
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
    succeed(host, OLD, "rollback")


@pytest.mark.parametrize("version", ["0.0.7", "0.0.99", "0.0.7."])
def test_a_version_that_is_not_listed_changes_nothing(host: AptRoot, version: str) -> None:
    assert fail(host, version) == "version-not-listed"


def test_a_version_that_is_here_and_listed_no_more_is_not_taken_for_the_sources(
    host: AptRoot, repository: Repository, keys: KeyRing, key: str
) -> None:
    succeed(host, NEW)
    repository.withdraw(NEW)
    repository.publish(partial(keys.sign, users=[key]))
    assert fail(host, NEW) == "version-not-listed"


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


@pytest.mark.parametrize("lock", ["lock-frontend", "lock"])
def test_whoever_changes_packages_is_not_waited_for_for_ever(host: AptRoot, lock: str) -> None:
    with (host.root / "var/lib/dpkg" / lock).open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert fail(host, NEW) == "dpkg-lock-held"


def test_a_dpkg_that_was_killed_is_mended_first(host: AptRoot) -> None:
    succeed(host, OLD)
    kill_dpkg(host)
    assert host.state().status == "iU"
    host.put_program(
        "apt-get", f'echo apt-get "$@" >>{host.root}/order; exec /usr/bin/apt-get "$@"'
    )
    dpkg = (host.root / "programs/dpkg").read_text().removeprefix("#!/bin/sh\n")
    host.put_program("dpkg", f'echo dpkg "$@" >>{host.root}/order\n{dpkg}')
    succeed(host, NEW)
    order = (host.root / "order").read_text().splitlines()
    assert order[0] == "dpkg --force-confdef --force-confold --configure -a"
    assert order[1].startswith("apt-get ")
    assert order[1].endswith(" update")
    # And what is mended is not mended again.
    (host.root / "order").unlink()
    succeed(host, NEW)
    assert "--configure" not in (host.root / "order").read_text()


def test_what_cannot_be_mended_may_be_by_the_version_that_is_installed(host: AptRoot) -> None:
    succeed(host, OLD)
    kill_dpkg(host)
    updates = host.root / "var/lib/dpkg/updates"
    host.put_program("dpkg", f"rm -f {updates}/*; echo mending: $*; exit 1")
    assert "mending: --force-confdef" in succeed(host, NEW)


def kill_dpkg(host: AptRoot) -> None:
    """Leave what dpkg leaves that is killed between unpacking and configuring: its journal."""
    status = (host.root / "var/lib/dpkg/status").read_text()
    (paragraph,) = (part for part in status.split("\n\n") if part.startswith(f"Package: {PACKAGE}"))
    unpacked = paragraph.replace("install ok installed", "install ok unpacked")
    assert unpacked != paragraph
    (host.root / "var/lib/dpkg/updates/0000").write_text(f"{unpacked}\n")


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_file_is_put_back_by_its_own_version(host: AptRoot, damage: str) -> None:
    succeed(host, NEW)
    file = host.root / FILE.lstrip("/")
    if damage == "gone":
        file.unlink()
    else:
        file.write_text("somebody's own")
    assert "1 reinstalled" in succeed(host, NEW)
    assert file.read_text() == NEW


def test_a_damaged_file_is_no_reason_to_install_another_version_twice(host: AptRoot) -> None:
    succeed(host, OLD)
    (host.root / FILE.lstrip("/")).write_text("somebody's own")
    assert "reinstalled" not in succeed(host, NEW).replace("0 reinstalled", "")
    assert (host.root / FILE.lstrip("/")).read_text() == NEW


def test_edited_configuration_files_are_kept(
    host: AptRoot, repository: Repository, keys: KeyRing, key: str
) -> None:
    for version in ("0.1.0", "0.1.1"):
        file = {
            "/etc/lantern-box/config": version,
            "/DEBIAN/conffiles": "/etc/lantern-box/config\n",
        }
        repository.add(version, files=file)
    repository.publish(partial(keys.sign, users=[key]))
    succeed(host, "0.1.0")
    config = host.root / "etc/lantern-box/config"
    config.write_text("an operator's own")
    succeed(host, "0.1.1")
    assert config.read_text() == "an operator's own"
    # Nor is it damage, for which a package would be unpacked again.
    assert "0 newly installed" in succeed(host, "0.1.1")
    assert "1 reinstalled" not in succeed(host, "0.1.1")


def test_nothing_is_installed_where_the_index_cannot_be_refreshed(host: AptRoot) -> None:
    host.put_program("apt-get", 'case "$*" in *update) exit 100;; esac; echo installed')
    assert host.install(NEW) == (100, "")
    assert host.state() == ABSENT


@pytest.mark.parametrize(("others", "ran"), [([], ""), (["99audit"], "70debconf 99audit ")])
def test_debconfs_hook_is_left_out_unless_another_would_be_left_out_with_it(
    host: AptRoot, others: list[str], ran: str
) -> None:
    for name in ("70debconf", *others):
        hook = f"DPkg::Pre-Install-Pkgs {{ \"printf '{name} ' >>{host.root}/ran\"; }};"
        (host.root / "etc/apt/apt.conf.d" / name).write_text(hook)
    (host.root / "ran").touch()
    assert host.call("rehearse", NEW, "upgrade").returncode == 0
    succeed(host, NEW)
    assert (host.root / "ran").read_text() == ran


def test_every_step_of_apt_asks_nothing_and_speaks_english(host: AptRoot) -> None:
    for name in ("apt-get", "apt-cache"):
        host.put_program(name, f'env >>{host.root}/env; exec /usr/bin/{name} "$@"')
    succeed(host, NEW)
    succeed(host, NEW)
    # Twice an update and an install, and once the question whether what is here is listed still.
    told = (host.root / "env").read_text().splitlines()
    for line in ("LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l"):
        assert told.count(line) == 5


def test_what_was_there_before_is_kept_until_systemd_has_read_the_new(host: AptRoot) -> None:
    assert not host.loaded.exists()
    succeed(host, OLD)
    assert host.loaded.exists()
