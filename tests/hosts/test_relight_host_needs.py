"""`relight-host install` of a release that needs, or conflicts with, other packages of the host."""

import fcntl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from relight.hosts.apt import RETRY_NOTICE, diagnose
from tests.support.apt_host import AptHost, apt_host
from tests.support.apt_repository import COMPONENT, PACKAGE, SUITE, Repository
from tests.support.stub_systemd import StubSystemd

OLD, NEW = "0.0.73", "0.0.74"
CONFLICTS, BREAKS, OVERWRITES, NEEDS, NEEDS_NONE = "0.1.1", "0.1.2", "0.1.3", "0.1.4", "0.1.5"


def fill(ours: Repository, others: Repository) -> None:
    ours.add(OLD)
    ours.add(NEW)
    ours.add(CONFLICTS, fields={"Conflicts": "firewall"})
    ours.add(BREAKS, fields={"Breaks": "firewall (<< 3)"})
    ours.add(OVERWRITES, files={"/usr/share/firewall/rules": "mine"})
    ours.add(NEEDS, depends="libdaemon (>= 2)")
    ours.add(NEEDS_NONE, depends="no-such-thing")
    others.add("1.0", package="firewall", files={"/usr/share/firewall/rules": "deny"})
    others.add("1.0", package="firewall-gui", depends="firewall")
    others.add("1.0", package="libdaemon")
    others.add("2.0", package="libdaemon")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AptHost]:
    with apt_host(tmp_path_factory.mktemp("needs"), fill) as host:
        host.reads_others()
        host.snapshots.restore("fresh", host.reads_others)
        yield host


@pytest.fixture
def host(prepared: AptHost) -> AptHost:
    """A host with its own source, and without any list."""
    prepared.snapshots.restore("fresh")
    for served in (prepared.ours_served, prepared.others_served):
        served.answers.clear()
    return prepared


def guarded(host: AptHost) -> None:
    """Install a firewall, and what needs it."""
    assert host.root.run("apt-get update && apt-get -qy install firewall-gui")[0] == 0
    host.succeed(OLD)


def test_a_package_that_our_source_does_not_have_is_taken_from_no_other(tmp_path: Path) -> None:
    def fill(ours: Repository, others: Repository) -> None:
        ours.add("1.0", package="unrelated")
        others.add(NEW)

    with apt_host(tmp_path, fill) as host:
        host.reads_others()
        assert host.fail(NEW).kind == "version-not-listed"


@pytest.mark.parametrize("version", [CONFLICTS, BREAKS])
def test_nothing_is_removed_and_what_would_be_is_told(host: AptHost, version: str) -> None:
    guarded(host)
    refused = host.fail(version)
    assert refused.kind == "removal-refused"
    assert "firewall" in refused.text
    assert host.versions("firewall", "firewall-gui", PACKAGE) == ["1.0", "1.0", OLD]
    dry = host.root.call("dry-run", version, "upgrade")
    assert (dry.returncode, diagnose(dry.stdout + dry.stderr, PACKAGE)) == (100, refused)


def test_a_file_of_another_package_is_not_overwritten(host: AptHost) -> None:
    guarded(host)
    code, output = host.root.install(OVERWRITES)
    found = diagnose(output, PACKAGE)
    assert (code, found.kind) == (100, "package-files-conflict"), output
    assert "also in package firewall 1.0" in found.text
    assert (host.root.root / "usr/share/firewall/rules").read_text() == "deny"


def test_a_dependency_is_found_by_a_host_without_any_list(host: AptHost) -> None:
    assert RETRY_NOTICE in host.succeed(NEEDS)
    assert host.versions("libdaemon") == ["2.0"]


def test_a_dry_run_finds_a_dependency_without_any_list_too(host: AptHost) -> None:
    dry = host.root.call("dry-run", NEEDS, "upgrade")
    assert dry.returncode == 0, dry.stdout
    assert "Inst libdaemon (2.0 " in dry.stdout
    assert host.versions("libdaemon", PACKAGE) == ["", ""]


def test_a_dependency_that_old_lists_name_is_fetched_as_it_is_now(host: AptHost) -> None:
    assert host.root.run("apt-get update")[0] == 0
    (host.others.root / "pool" / COMPONENT / "libdaemon_2.0_amd64.deb").rename(
        host.others.root / "pool" / COMPONENT / "kept"
    )
    host.others.add("2.1", package="libdaemon")
    host.publish()
    try:
        host.succeed(NEEDS)
        assert host.versions("libdaemon") == ["2.1"]
    finally:
        host.others.withdraw("2.1")
        (host.others.root / "pool" / COMPONENT / "kept").rename(
            host.others.root / "pool" / COMPONENT / "libdaemon_2.0_amd64.deb"
        )
        host.publish()


@pytest.mark.parametrize(
    "path", [f"/dists/{SUITE}/InRelease", "/pool/main/libdaemon_2.0_amd64.deb"]
)
def test_a_fault_of_the_hosts_own_mirror_is_the_hosts(host: AptHost, path: str) -> None:
    for status in (404, 503):
        host.others_served.answers[path] = (status, b"")
        failed = host.fail(NEEDS)
        assert failed.kind == "host-sources-failed"
        assert host.others_served.url in failed.text


def test_what_no_source_has_is_a_fault_of_the_release_and_the_repositorys_fault_is_ours(
    host: AptHost,
) -> None:
    assert host.fail(NEEDS_NONE).kind == "dependencies-missing"
    host.ours_served.answers[f"/pool/main/{PACKAGE}_{NEEDS}_amd64.deb"] = (404, b"")
    assert host.fail(NEEDS).kind == "repository-inconsistent"


def test_a_mirror_that_is_down_does_not_matter_to_a_release_that_needs_nothing(
    host: AptHost,
) -> None:
    host.others_served.answers[f"/dists/{SUITE}/InRelease"] = (503, b"")
    host.succeed(NEW)


def test_apt_preferences_of_the_host_are_told_and_not_overridden(host: AptHost) -> None:
    pin = "Package: libdaemon\nPin: version 2.0\nPin-Priority: -1\n"
    (host.root.root / "etc/apt/preferences.d/no-libdaemon").write_text(pin)
    assert host.fail(NEEDS).kind == "host-policy-refuses"


def test_a_proxy_that_does_not_answer_is_a_fault_of_the_host(host: AptHost) -> None:
    proxy = 'Acquire::http::Proxy "http://user:secret@127.0.0.9:9/";'
    file = host.root.root / "etc/apt/apt.conf.d/proxy"
    file.write_text(proxy)
    with (host.root.root / "apt.conf").open("a") as configuration:
        configuration.write(proxy)
    failed = host.fail(NEW)
    assert failed.kind == "host-proxy-failed"
    assert "127.0.0.9:9" in failed.text
    assert "secret" not in failed.text


@pytest.mark.parametrize("field", ["Origin", "Label", "Version"])
def test_a_change_of_the_repositorys_description_is_accepted(host: AptHost, field: str) -> None:
    host.succeed(OLD)
    original = host.ours.signed.read_bytes()
    unsigned = host.keys.content(original)
    try:
        host.ours.signed.write_bytes(
            host.keys.sign(f"{field}: Another\n".encode() + unsigned, [host.key])
        )
        host.succeed(NEW)
        host.ours.signed.write_bytes(original)
        assert host.root.run("true")[0] == 0
    finally:
        host.ours.signed.write_bytes(original)


@pytest.mark.parametrize("when", ["DPkg::Pre-Invoke", "DPkg::Pre-Install-Pkgs"])
def test_a_hook_that_fails_before_a_change_is_told(host: AptHost, when: str) -> None:
    host.succeed(OLD)
    hook = host.root.root / "etc/apt/apt.conf.d/90report"
    hook.write_text(f'{when} {{"echo not today >&2; exit 3";}};')
    failed = host.fail(NEW)
    assert failed.kind == "host-hook-failed"
    assert "not today" in failed.text


def test_a_hook_that_fails_after_a_change_is_told_and_the_new_file_serves(host: AptHost) -> None:
    hook = host.root.root / "etc/apt/apt.conf.d/90report"
    hook.write_text('DPkg::Post-Invoke {"echo cannot report >&2; exit 3";};')
    StubSystemd(host.root)
    ended = host.root.call("change", NEW, "upgrade")
    assert ended.returncode == 100
    assert host.versions(PACKAGE) == [NEW]
    assert "\nrestart\n" in (host.root.root / "systemd/calls").read_text()
    assert diagnose(ended.stdout + ended.stderr, PACKAGE).kind == "host-hook-failed"


def test_the_lists_lock_is_waited_for(host: AptHost) -> None:
    """apt-daily holds it at the first boot of a cloud image, for longer than apt waits."""
    program = host.root.program
    program.write_text(program.read_text().replace("PATIENCE=1 ", "PATIENCE=60 "))
    ended: list[tuple[int, str]] = []
    with lists_locked(host.root.root) as file:
        installing = threading.Thread(target=lambda: ended.append(host.root.install(NEW)))
        host.root.put_program("sleep", f"touch {host.root.root}/waits; exec /bin/sleep 0.1")
        installing.start()
        while not (host.root.root / "waits").exists():
            assert installing.is_alive()
        fcntl.lockf(file, fcntl.LOCK_UN)
        installing.join()
    assert ended[0][0] == 0, ended
    assert "waiting for another apt" in ended[0][1]
    assert host.versions(PACKAGE) == [NEW]


def test_the_lists_lock_is_not_waited_for_without_an_end(host: AptHost) -> None:
    with lists_locked(host.root.root):
        failed = host.fail(NEW)
    assert failed.kind == "lists-lock-held"
    assert "It is held by process" in failed.text


def lists_locked(root: Path) -> IO[str]:
    file = (root / "var/lib/apt/lists/lock").open("w")
    fcntl.lockf(file, fcntl.LOCK_EX)
    return file
