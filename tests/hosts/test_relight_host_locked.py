"""`relight-host install` of a package whose siblings are locked to its version."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.hosts import host_program
from relight.hosts.observation import parse
from tests.support.apt_host import AptHost, apt_host
from tests.support.apt_repository import PACKAGE, Repository
from tests.support.stub_systemd import StubSystemd

OLD, NEW, NEWEST = "5:7.0.15-1", "5:7.0.15-2", "5:7.0.15-3"
TOOLS, META, PLUGIN, LIBRARY = "lantern-tools", "lantern", "lantern-plugin", "liblantern"
SOURCE = {"Source": "lantern"}
FILE = "/usr/share/lantern-tools/file"


def fill(ours: Repository, others: Repository) -> None:
    for version in (OLD, NEW, NEWEST):
        ours.add(version, depends=f"{TOOLS} (= {version})", fields=SOURCE)
        depends = f"{LIBRARY} (>= {version}), {LIBRARY} (<< {version}.1~)"
        ours.add(version, package=TOOLS, fields=SOURCE, depends=depends, files={FILE: version})
        ours.add(version, package=LIBRARY, fields=SOURCE)
        depends = f"{PACKAGE} (<< {version}.1~), {PACKAGE} (>= {version})"
        ours.add(version, package=META, depends=depends, fields=SOURCE)
        binary = {"Source": f"lantern ({version})"}
        ours.add(f"{version}+b1", package=PLUGIN, depends=f"{PACKAGE} (= {version})", fields=binary)
        ours.add(version, package="lantern-doc", fields=SOURCE)
    for version in ("8.0", "9.0"):
        ours.add(version, package="unlocked")
    others.add("1.0", package="nothing")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AptHost]:
    with apt_host(tmp_path_factory.mktemp("locked"), fill) as host:
        yield host


@pytest.fixture
def host(prepared: AptHost) -> AptHost:
    prepared.snapshots.restore()
    prepared.root.configure()
    return prepared


def test_a_release_that_is_not_the_newest_is_installed_with_its_locked_packages(
    host: AptHost,
) -> None:
    """apt itself takes the newest version of a dependency."""
    host.succeed(OLD)
    assert host.versions(TOOLS, LIBRARY, META) == [OLD, OLD, ""]


def test_the_locked_packages_move_forwards_and_back_together(host: AptHost) -> None:
    host.succeed(OLD)
    for package in (META, f"{PLUGIN}={OLD}+b1", f"lantern-doc={OLD}"):
        name, _, version = package.partition("=")
        assert host.root.run(f"apt-get -qy install {name}={version or OLD}")[0] == 0
    for version, direction in ((NEW, "upgrade"), (NEWEST, "upgrade"), (OLD, "rollback")):
        host.succeed(version, direction)
        assert host.versions(TOOLS, LIBRARY, META) == [version] * 3
        assert host.versions(PLUGIN) == [f"{version}+b1"]


def test_what_apt_upgrades_with_a_release_is_taken_back_with_it(host: AptHost) -> None:
    """Debian's dnsmasq needs dnsmasq-base, which has its program, in any version."""
    host.succeed(OLD)
    assert host.root.run(f"apt-get -qy install lantern-doc={OLD} unlocked=8.0")[0] == 0
    for version, direction in ((NEWEST, "upgrade"), (OLD, "rollback")):
        host.succeed(version, direction)
        assert host.versions("lantern-doc") == [version]
    assert host.versions("unlocked", META) == ["8.0", ""]


def test_a_held_sibling_is_not_moved(host: AptHost) -> None:
    host.succeed(OLD)
    host.root.hold(TOOLS)
    assert host.fail(NEW).kind == "packages-held"


def test_the_packages_that_a_service_names_are_installed_with_it(host: AptHost) -> None:
    host.root.configure(packages=["lantern-doc", "unlocked"])
    host.succeed(NEW)
    assert host.versions("lantern-doc", "unlocked") == [NEW, "9.0"]
    host.succeed(OLD, "rollback")
    assert host.versions("lantern-doc", "unlocked", TOOLS) == [OLD, "9.0", OLD]


def test_a_locked_package_that_no_setting_names_is_observed_too(host: AptHost) -> None:
    StubSystemd(host.root)

    def damaged() -> tuple[str, ...]:
        return parse(host.root.call(*host_program.observe()[1:]).stdout).damaged

    host.succeed(OLD)
    assert damaged() == ()
    (host.root.root / FILE.lstrip("/")).write_text("changed")
    assert damaged() == (FILE,)
    host.succeed(NEW)
    assert damaged() == ()


def siblings(host: AptHost) -> dict[str, tuple[str, str, str]]:
    """The version that the last change left, dpkg's status and its version, by name."""
    found = parse(host.root.call(*host_program.observe()[1:]).stdout).siblings
    return {each.name: (each.version, each.state.status, each.state.version) for each in found}


def test_the_further_packages_are_observed_and_a_repair_brings_them_back(host: AptHost) -> None:
    StubSystemd(host.root)
    host.root.configure(packages=["lantern-doc", "unlocked"])
    host.succeed(OLD)
    whole = {
        "lantern-doc": (OLD, "ii", OLD),
        "unlocked": ("9.0", "ii", "9.0"),
        TOOLS: (OLD, "ii", OLD),
    }
    assert siblings(host) == whole
    removed = "apt-get -qy remove lantern-doc && dpkg --purge --force-depends"
    assert host.root.run(f"{removed} {TOOLS}")[0] == 0
    assert siblings(host) == {
        "lantern-doc": (OLD, "un", ""),
        "unlocked": ("9.0", "ii", "9.0"),
        TOOLS: (OLD, "un", ""),
    }
    host.succeed(OLD, "rollback")
    assert siblings(host) == whole
    assert host.root.run(f"apt-get -qy install lantern-doc={NEW}")[0] == 0
    assert host.root.run("apt-get -qy install --allow-downgrades unlocked=8.0")[0] == 0
    assert siblings(host)["lantern-doc"] == (OLD, "ii", NEW)
    assert siblings(host)["unlocked"] == ("9.0", "ii", "8.0")
    host.succeed(OLD, "rollback")
    assert siblings(host) == whole


def test_a_package_that_is_named_since_the_last_change_is_missed(host: AptHost) -> None:
    StubSystemd(host.root)
    host.succeed(OLD)
    host.root.configure(packages=["unlocked"])
    assert siblings(host) == {"unlocked": ("", "un", ""), TOOLS: (OLD, "ii", OLD)}


def test_a_rebuilt_release_brings_its_locked_packages_again(host: AptHost) -> None:
    host.succeed(OLD)
    ours, depends = host.ours, f"{TOOLS} (= {OLD})"
    ours.add(OLD, depends=depends, fields=SOURCE, files={"/usr/share/lantern-box/file": "new"})
    ours.add(OLD, package=TOOLS, fields=SOURCE, files={FILE: "rebuilt"})
    host.publish()
    host.succeed(OLD)
    assert (host.root.root / FILE.lstrip("/")).read_text() == "rebuilt"


@pytest.mark.parametrize(
    ("need", "locked"),
    [
        ("redis-tools (= 5:7.0.15-1)", "redis-tools "),
        (" g++:any (= 4:12)", "g++ "),
        (" redis-tools (= 1) | other", "redis-tools "),
        ("redis-tools (>= 1)", ""),
        ("other | redis-tools (= 1)", ""),
        ("other:any | redis-tools (= 1)", ""),
        ("other (>= 1) | redis-tools (= 1)", ""),
        ("redis-tools", ""),
        ("", ""),
    ],
)
def test_a_package_is_locked_by_a_dependency_on_one_version(need: str, locked: str) -> None:
    part = Path(host_program.__file__).parent / "files/records.sh"
    script = '. "$1"; names=; add_locked "$2"; printf %s "$names"'
    argv = ["sh", "-euc", script, "sh", str(part), need]
    ended = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert ended.stdout == locked
