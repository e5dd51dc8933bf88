"""`relight-host install` with the real apt in its own root folder, and real repositories."""

import fcntl
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from relight.hosts import host_program
from relight.hosts.apt import RETRY_NOTICE, diagnose
from relight.hosts.packages import ABSENT
from tests.support.apt_repository import (
    PACKAGE,
    SUITE,
    KeyRing,
    Repository,
    Served,
    key_ring,
    serve,
)
from tests.support.apt_root import AptRoot, Snapshots

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
    """Relight's repository, and the host's other one, which has the service's dependencies."""

    ours: Repository
    others: Repository


@pytest.fixture(scope="module")
def published(keys: KeyRing, key: str, tmp_path_factory: pytest.TempPathFactory) -> Repositories:
    folder = tmp_path_factory.mktemp("repositories")
    ours = Repository(folder / "ours", ("amd64",))
    for version in (OLD, NEW, f"{NEW}0"):
        ours.add(version, files={FILE: version})
    ours.add("0.0.80", depends="libdaemon")
    ours.add("0.0.81", depends="libdaemon (>= 2)")
    ours.add("0.0.82", depends="no-such-thing")
    others = Repository(folder / "others", ("amd64",))
    others.add("1.0", package="libdaemon")
    others.add("2.0", package="libdaemon")
    for repository in (ours, others):
        repository.publish(partial(keys.sign, users=[key]))
    return Repositories(ours, others)


@pytest.fixture
def repository(published: Repositories, tmp_path: Path) -> Repository:
    return published.ours.copy(tmp_path / "ours")


@pytest.fixture(scope="module")
def server(published: Repositories) -> Iterator[Served]:
    """One server for all tests, so that a host's state can be restored with its source."""
    with serve(published.ours.root) as served:
        yield served


@pytest.fixture
def served(server: Served, repository: Repository) -> Served:
    server.root = repository.root
    server.answers.clear()
    server.requests.clear()
    return server


class PreparedHost(NamedTuple):
    host: AptRoot
    snapshots: Snapshots


@pytest.fixture(scope="module")
def prepared(
    server: Served, keys: KeyRing, key: str, tmp_path_factory: pytest.TempPathFactory
) -> PreparedHost:
    host = AptRoot(tmp_path_factory.mktemp("installing") / "host")
    host.read_from(server.url, keys.public(key))
    return PreparedHost(host, Snapshots(host))


@pytest.fixture
def host(prepared: PreparedHost, served: Served) -> AptRoot:
    """A host without the package."""
    prepared.snapshots.restore()
    return prepared.host


@pytest.fixture
def host_at_old(prepared: PreparedHost, served: Served) -> AptRoot:
    """A host with the old version."""
    prepared.snapshots.restore("old", lambda: _install(prepared.host, OLD))
    return prepared.host


@pytest.fixture
def host_at_new(prepared: PreparedHost, served: Served) -> AptRoot:
    """A host with the new version."""
    prepared.snapshots.restore("new", lambda: _install(prepared.host, NEW))
    return prepared.host


def _install(host: AptRoot, version: str) -> None:
    succeed(host, version)


@pytest.fixture
def others(host: AptRoot, published: Repositories, keys: KeyRing, key: str) -> Iterator[Served]:
    """The host's other source, whose index was read before."""
    with serve(published.others.root) as others:
        host.read_from(others.url, keys.public(key), "sources.list.d/debian.sources")
        assert host.run("apt-get update")[0] == 0
        yield others


def succeed(host: AptRoot, version: str, direction: str = "upgrade") -> str:
    code, output = host.install(version, direction)
    assert code == 0, output
    assert host.state().is_installed(version)
    return output


def fail(host: AptRoot, version: str) -> str:
    """Fail with apt's exit code and change nothing; return the fault kind."""
    before = host.state()
    code, output = host.install(version)
    assert code == 100, output
    assert host.state() == before
    return diagnose(output, PACKAGE).kind


def test_a_version_is_installed_upgraded_and_installed_again(host: AptRoot) -> None:
    succeed(host, OLD)
    succeed(host, NEW)
    assert "0 newly installed" in succeed(host, NEW)


def test_only_a_rollback_installs_an_older_version(host_at_new: AptRoot) -> None:
    assert fail(host_at_new, OLD) == "downgrade-refused"
    succeed(host_at_new, OLD, "rollback")


@pytest.mark.parametrize("version", ["0.0.7", "0.0.99", "0.0.7."])
def test_a_version_that_is_not_listed_changes_nothing(host: AptRoot, version: str) -> None:
    assert fail(host, version) == "version-not-listed"


def test_an_installed_version_that_is_not_listed_any_more_is_an_error(
    host_at_new: AptRoot, repository: Repository, keys: KeyRing, key: str
) -> None:
    repository.withdraw(NEW)
    repository.publish(partial(keys.sign, users=[key]))
    assert fail(host_at_new, NEW) == "version-not-listed"


@pytest.mark.parametrize("installed", [True, False])
def test_an_old_index_is_not_used_while_the_repository_is_down(
    host: AptRoot, served: Served, installed: bool
) -> None:
    if installed:
        succeed(host, OLD)
    served.answers[IN_RELEASE] = (503, b"")
    assert fail(host, NEW) == "repository-unreachable"


@pytest.mark.parametrize("installed", [True, False])
def test_a_repository_signed_by_another_key_is_not_trusted(
    host: AptRoot, repository: Repository, keys: KeyRing, other_key: str, installed: bool
) -> None:
    if installed:
        succeed(host, OLD)
    repository.publish(partial(keys.sign, users=[other_key]))
    assert fail(host, NEW) == "repository-untrusted"


@pytest.mark.parametrize("left", [None, "", "#!/bin/sh\nexit 0\n"])
def test_gpgv_checks_a_signature_without_the_programs_of_apt_key(
    host: AptRoot, repository: Repository, keys: KeyRing, other_key: str, left: str | None
) -> None:
    """Also if somebody, or a full disk, has left another verifier."""
    host.put_program("apt-config", f'echo "$@" >>{host.root}/asked; exec /usr/bin/apt-config "$@"')
    verifier = host.root / "var/lib/relight/verify"
    if left is not None:
        verifier.parent.mkdir(parents=True, exist_ok=True)
        verifier.write_text(left)
        verifier.chmod(0o755)
    succeed(host, OLD)
    assert not (host.root / "asked").exists()
    repository.publish(partial(keys.sign, users=[other_key]))
    assert fail(host, NEW) == "repository-untrusted"
    assert not verifier.exists()  # the next attempt writes it again


def test_an_armoured_key_is_read_by_apt_key(
    host: AptRoot, repository: Repository, keys: KeyRing, key: str, other_key: str
) -> None:
    host.put_program("apt-config", f'echo "$@" >>{host.root}/asked; exec /usr/bin/apt-config "$@"')
    source = host.root / "etc/apt" / host_program.SOURCES_FILE
    source.write_text(source.read_text().replace(".gpg", ".asc"))
    source.with_suffix(".asc").write_bytes(keys.public(key, armoured=True))
    succeed(host, OLD)
    assert (host.root / "asked").exists()
    repository.publish(partial(keys.sign, users=[other_key]))
    assert fail(host, NEW) == "repository-untrusted"


def test_what_the_host_itself_asks_of_a_signature_holds(host: AptRoot) -> None:
    """Its own program for it, or since apt 2.7.13 the algorithms of keys that are strong enough."""
    host.put_program("own-gpgv", f'echo "$@" >>{host.root}/asked; exec gpgv "$@"')
    configuration = host.root / "apt.conf"
    configuration.write_text(f'{configuration.read_text()}APT::Key::GPGVCommand "own-gpgv";\n')
    succeed(host, OLD)
    assert (host.root / "asked").exists()


def test_a_changed_index_is_an_inconsistent_repository(
    host: AptRoot, repository: Repository
) -> None:
    for ending in ("", ".gz", ".xz"):
        with repository.index("amd64", ending).open("ab") as file:
            file.write(b"x")
    assert fail(host, NEW) == "repository-inconsistent"


@pytest.mark.parametrize("gone", [True, False])
def test_a_missing_or_changed_package_is_an_inconsistent_repository(
    host: AptRoot, repository: Repository, gone: bool
) -> None:
    file = next(repository.root.rglob(f"{PACKAGE}_{NEW}_amd64.deb"))
    content = file.read_bytes()
    file.unlink()
    if not gone:
        file.write_bytes(content[::-1])
    assert fail(host, NEW) == "repository-inconsistent"


def test_a_held_package_is_not_changed(host_at_old: AptRoot) -> None:
    host_at_old.hold(PACKAGE)
    assert fail(host_at_old, NEW) == "packages-held"


def test_only_our_source_is_read_if_it_is_sufficient(host: AptRoot, others: Served) -> None:
    others.requests.clear()
    assert RETRY_NOTICE not in succeed(host, NEW)
    assert others.requests == []
    lists = {file.name for file in (host.root / "var/lib/apt/lists").glob("*Packages*")}
    assert len(lists) == 2  # the other source's index is kept


@pytest.mark.parametrize("version", ["0.0.80", "0.0.81"])
def test_a_dependency_is_installed_from_the_hosts_other_sources(
    host: AptRoot, others: Served, version: str
) -> None:
    assert RETRY_NOTICE in succeed(host, version)
    assert host.state("libdaemon").status == "ii"


def test_a_dependency_that_is_too_old_is_upgraded_from_the_hosts_other_sources(
    host: AptRoot, others: Served
) -> None:
    assert host.run("apt-get -qy install libdaemon=1.0")[0] == 0
    assert RETRY_NOTICE in succeed(host, "0.0.81")
    assert host.state("libdaemon").version == "2.0"


def test_a_dependency_that_no_source_has_is_a_fault_of_the_release(
    host: AptRoot, others: Served
) -> None:
    assert fail(host, "0.0.82") == "dependencies-missing"


def test_a_dependency_that_cannot_be_fetched_is_a_fault_of_the_hosts_own_sources(
    host: AptRoot, others: Served
) -> None:
    others.answers["/pool/main/libdaemon_2.0_amd64.deb"] = (404, b"")
    assert fail(host, "0.0.80") == "host-sources-failed"


@pytest.mark.parametrize("lock", ["lock-frontend", "lock"])
def test_waiting_for_a_lock_has_a_limit(host: AptRoot, lock: str) -> None:
    with (host.root / "var/lib/dpkg" / lock).open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert fail(host, NEW) == "dpkg-lock-held"


def test_an_interrupted_dpkg_is_repaired_first(host_at_old: AptRoot) -> None:
    host = host_at_old
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
    # It is not repaired a second time.
    (host.root / "order").unlink()
    succeed(host, NEW)
    assert "--configure" not in (host.root / "order").read_text()


def test_a_failed_repair_is_ignored(host_at_old: AptRoot) -> None:
    """The version that is installed next may repair the package."""
    kill_dpkg(host_at_old)
    updates = host_at_old.root / "var/lib/dpkg/updates"
    host_at_old.put_program("dpkg", f"rm -f {updates}/*; echo repairing: $*; exit 1")
    assert "repairing: --force-confdef" in succeed(host_at_old, NEW)


def test_a_repair_that_hangs_is_given_up_and_the_next_version_is_installed(
    host_at_old: AptRoot,
) -> None:
    host = host_at_old
    kill_dpkg(host)
    text = host.program.read_text()
    assert "--kill-after=10 60 " in text
    host.program.write_text(text.replace("--kill-after=10 60 ", "--kill-after=1 1 "))
    dpkg = (host.root / "programs/dpkg").read_text().removeprefix("#!/bin/sh\n")
    host.put_program("dpkg", f'case $* in *"--configure -a") exec sleep 60 ;; esac\n{dpkg}')
    succeed(host, NEW)
    assert (host.state().status, host.state().version) == ("ii", NEW)


def kill_dpkg(host: AptRoot) -> None:
    """Write the journal of a dpkg that was killed between unpacking and configuring."""
    status = (host.root / "var/lib/dpkg/status").read_text()
    (paragraph,) = (part for part in status.split("\n\n") if part.startswith(f"Package: {PACKAGE}"))
    unpacked = paragraph.replace("install ok installed", "install ok unpacked")
    assert unpacked != paragraph
    (host.root / "var/lib/dpkg/updates/0000").write_text(f"{unpacked}\n")


@pytest.mark.parametrize("damage", ["changed", "deleted"])
def test_a_damaged_file_is_restored_by_the_same_version(host_at_new: AptRoot, damage: str) -> None:
    file = host_at_new.root / FILE.lstrip("/")
    if damage == "deleted":
        file.unlink()
    else:
        file.write_text("changed on the host")
    assert "1 reinstalled" in succeed(host_at_new, NEW)
    assert file.read_text() == NEW


def test_a_damaged_file_does_not_make_another_version_install_twice(host_at_old: AptRoot) -> None:
    host = host_at_old
    (host.root / FILE.lstrip("/")).write_text("changed on the host")
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
    config.write_text("edited")
    succeed(host, "0.1.1")
    assert config.read_text() == "edited"
    # It does not count as damage, which would reinstall the package.
    assert "0 newly installed" in succeed(host, "0.1.1")
    assert "1 reinstalled" not in succeed(host, "0.1.1")


def test_nothing_is_installed_if_the_index_cannot_be_refreshed(host: AptRoot) -> None:
    host.put_program("apt-get", 'case "$*" in *update) exit 100;; esac; echo installed')
    assert host.install(NEW) == (100, "")
    assert host.state() == ABSENT


@pytest.mark.parametrize(("others", "ran"), [([], ""), (["99other"], "70debconf 99other ")])
def test_debconfs_hook_is_off_unless_another_program_has_a_hook(
    host: AptRoot, others: list[str], ran: str
) -> None:
    for name in ("70debconf", *others):
        hook = f"DPkg::Pre-Install-Pkgs {{ \"printf '{name} ' >>{host.root}/ran\"; }};"
        (host.root / "etc/apt/apt.conf.d" / name).write_text(hook)
    (host.root / "ran").touch()
    assert host.call("dry-run", NEW, "upgrade").returncode == 0
    succeed(host, NEW)
    assert (host.root / "ran").read_text() == ran


def test_every_apt_program_runs_non_interactively_and_in_english(host: AptRoot) -> None:
    for name in ("apt-get", "apt-cache"):
        host.put_program(name, f'env >>{host.root}/env; exec /usr/bin/{name} "$@"')
    succeed(host, NEW)
    succeed(host, NEW)
    # Two updates, two installs, and two questions about the installed version: whether it is still
    # listed, and with which digest.
    lines = (host.root / "env").read_text().splitlines()
    for line in ("LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l"):
        assert lines.count(line) == 6


def test_the_record_of_loaded_unit_files_is_kept_after_the_installation(host: AptRoot) -> None:
    assert not host.loaded.exists()
    succeed(host, OLD)
    assert host.loaded.exists()
