"""`relight-host serve`: when unit files are read again, and when the daemon is restarted."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.domain.release import DebFile
from tests.support.apt_repository import (
    Repository,
    Served,
    serve,
)
from tests.support.apt_root import UNIT, AptRoot
from tests.support.memory_shell import (
    Unit,
    failed,
    running,
)
from tests.support.stub_systemd import StubSystemd

UNIT_FILE = f"/lib/systemd/system/{UNIT}"
RELOAD, RESTART = "systemctl daemon-reload", f"systemctl restart -- {UNIT}"

# What carries which unit file. The newest by number is not the newest by time.
VERSIONS = {
    "1.0": {UNIT_FILE: "one", "/usr/share/x": "1.0"},
    "1.1": {UNIT_FILE: "one", "/usr/share/x": "1.1"},
    "2.0": {UNIT_FILE: "two"},
    "2.1": {UNIT_FILE: "two", f"{UNIT_FILE}.d/more.conf": "more"},
    "2.2": {UNIT_FILE: "two", f"{UNIT_FILE}.d/more.conf": "other"},
    "3.0": {f"/usr{UNIT_FILE}": "three"},
    "3.1": {f"/usr{UNIT_FILE}": "three, too"},
    "4.0": {f"/etc/systemd/system/{UNIT}": "four"},
    "4.1": {f"/etc/systemd/system/{UNIT}": "four, too"},
    "5.0": {"/lib/systemd/system/lantern\\x2dbox it's.service": "five"},
    "5.1": {"/lib/systemd/system/lantern\\x2dbox it's.service": "five, too"},
    "6.0": {"/usr/share/lib/systemd/system/no.service": "six"},
    "6.1": {"/usr/share/lib/systemd/system/no.service": "six, too"},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    repository = Repository(tmp_path_factory.mktemp("files"))
    for version, files in VERSIONS.items():
        repository.add(version, files=files)
    with serve(repository.root / "pool/main") as served:
        yield served


@pytest.fixture
def host(served: Served, tmp_path: Path) -> AptRoot:
    host = AptRoot(tmp_path / "host")
    host.configure(deb_urls=f"{served.url}/")
    return host


@pytest.fixture
def systemd(host: AptRoot) -> StubSystemd:
    return StubSystemd(host)


def install(host: AptRoot, served: Served, version: str) -> None:
    name = f"lantern-box_{version}_amd64.deb"
    content = (served.root / name).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    deb = DebFile(
        filename=f"{served.url}/{name}",
        sha256=digest,
        size_bytes=len(content),
        architecture="amd64",
    )
    code, said = host.install(version, "rollback", deb)
    assert code == 0, said


def serves(host: AptRoot) -> None:
    ended = host.call("serve")
    assert (ended.returncode, ended.stderr) == (0, "")


def fails(host: AptRoot) -> str:
    ended = host.call("serve")
    assert ended.returncode == 90
    return ended.stderr


def swap(host: AptRoot, systemd: StubSystemd, served: Served, version: str) -> list[str]:
    """Install and serve; return what systemd was told to do."""
    systemd.calls()
    install(host, served, version)
    assert systemd.deeds() == []  # it was asked something, and told nothing
    serves(host)
    assert not host.loaded.exists()
    return systemd.deeds()


# ---------------------------------------------------------------- reading unit files again


def test_what_is_installed_first_is_read(
    host: AptRoot, systemd: StubSystemd, served: Served
) -> None:
    assert swap(host, systemd, served, "1.0") == [RELOAD, RESTART]


def test_unit_files_that_are_as_they_were_are_not_read_again(
    host: AptRoot, systemd: StubSystemd, served: Served
) -> None:
    swap(host, systemd, served, "1.0")
    assert swap(host, systemd, served, "1.1") == [RESTART]
    assert swap(host, systemd, served, "1.1") == [RESTART]


def test_they_are_read_where_systemd_says_that_they_changed(
    host: AptRoot, systemd: StubSystemd, served: Served
) -> None:
    """As where somebody put a drop-in of his own there."""
    swap(host, systemd, served, "1.0")
    systemd.set(UNIT, running(), need_reload=True)
    assert swap(host, systemd, served, "1.1") == [RELOAD, RESTART]


def test_the_same_file_with_a_newer_time_is_not_read_again_whatever_systemd_makes_of_that(
    host: AptRoot, systemd: StubSystemd, served: Served
) -> None:
    swap(host, systemd, served, "1.0")
    install(host, served, "1.1")
    systemd.set(UNIT, running(), need_reload=True)
    systemd.calls()
    serves(host)
    assert systemd.deeds() == [RESTART]


@pytest.mark.parametrize("place", ["etc", "run"])
def test_what_somebody_puts_beside_them_during_a_change_is_read(
    host: AptRoot, systemd: StubSystemd, served: Served, place: str
) -> None:
    swap(host, systemd, served, "1.0")
    install(host, served, "1.1")
    drop_in = host.root / place / "systemd/system" / f"{UNIT}.d" / "own.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[Service]\nRestartSec=9\n")
    systemd.calls()
    serves(host)
    assert systemd.deeds() == [RELOAD, RESTART]


def test_where_systemd_does_not_say_what_it_has_read_they_are_read(
    host: AptRoot, systemd: StubSystemd, served: Served
) -> None:
    swap(host, systemd, served, "1.0")
    systemd.fail("show", "Failed to connect to bus: No such file or directory\n")
    install(host, served, "1.1")
    systemd.mend("show")
    systemd.calls()
    serves(host)
    assert systemd.deeds() == [RELOAD, RESTART]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1.0", "2.0"),  # changed
        ("2.0", "2.1"),  # a drop-in came
        ("2.1", "2.2"),  # it changed
        ("2.1", "2.0"),  # it went
        ("2.0", "3.0"),  # elsewhere
        ("3.0", "3.1"),
        ("4.0", "4.1"),
        ("5.0", "5.1"),  # a name that a shell may well misread
        ("2.0", "6.0"),  # all went
    ],
)
def test_a_change_is_read(
    host: AptRoot, systemd: StubSystemd, served: Served, old: str, new: str
) -> None:
    swap(host, systemd, served, old)
    assert swap(host, systemd, served, new) == [RELOAD, RESTART]


def test_files_that_only_lie_in_a_folder_of_such_a_name_are_none(
    host: AptRoot, systemd: StubSystemd, served: Served
) -> None:
    swap(host, systemd, served, "6.0")
    assert swap(host, systemd, served, "6.1") == [RESTART]


def test_an_older_file_by_time_is_read_though_systemd_sees_no_need(
    host: AptRoot, systemd: StubSystemd, served: Served
) -> None:
    swap(host, systemd, served, "2.0")
    new = (host.root / UNIT_FILE.lstrip("/")).stat().st_mtime
    assert swap(host, systemd, served, "1.0") == [RELOAD, RESTART]
    assert (host.root / UNIT_FILE.lstrip("/")).stat().st_mtime <= new


@pytest.mark.parametrize("then", ["2.0", "2.1", "1.1"])
def test_after_a_change_that_nobody_finished_they_are_read_whatever_comes(
    host: AptRoot, systemd: StubSystemd, served: Served, then: str
) -> None:
    """It was killed after it had unpacked: nobody knows what systemd has read since."""
    swap(host, systemd, served, "1.0")
    install(host, served, "2.0")
    assert swap(host, systemd, served, then) == [RELOAD, RESTART]
    assert swap(host, systemd, served, then) == [RESTART]


def test_one_that_came_to_nothing_leaves_no_need(
    host: AptRoot, systemd: StubSystemd, served: Served
) -> None:
    swap(host, systemd, served, "1.0")
    host.hold("lantern-box")
    with pytest.raises(AssertionError, match="Held packages"):
        install(host, served, "2.0")
    systemd.calls()
    serves(host)
    assert systemd.deeds() == [RESTART]


def test_without_a_record_it_is_not_known_what_systemd_has_read(
    host: AptRoot, systemd: StubSystemd, served: Served
) -> None:
    """A reboot forgets the record, and a service may be served without a change before."""
    install(host, served, "1.0")
    host.loaded.unlink()
    serves(host)
    assert systemd.deeds() == [RELOAD, RESTART]
    serves(host)
    assert systemd.deeds() == [RELOAD, RESTART]


def test_a_record_that_was_cut_short_is_another_one(
    host: AptRoot, systemd: StubSystemd, served: Served
) -> None:
    swap(host, systemd, served, "1.0")
    install(host, served, "1.1")
    host.loaded.write_text("")
    serves(host)
    assert systemd.deeds() == [RELOAD, RESTART]


@pytest.mark.parametrize(
    ("what", "text", "deeds"),
    [
        ("show", "Message recipient disconnected from message bus", [RELOAD, RESTART]),
        ("daemon-reload", "Transport endpoint is not connected", [RELOAD, RELOAD, RESTART]),
        ("restart", "Connection reset by peer", [RELOAD, RESTART, RESTART]),
    ],
)
def test_a_systemd_that_is_executed_anew_is_asked_again(
    host: AptRoot, systemd: StubSystemd, served: Served, what: str, text: str, deeds: list[str]
) -> None:
    install(host, served, "1.0")
    host.loaded.unlink()
    systemd.fail(what, f"{text}\n", once=True)
    serves(host)
    assert systemd.deeds() == deeds


def test_a_service_that_does_not_start_is_told_to_once(host: AptRoot, systemd: StubSystemd) -> None:
    systemd.fail("restart", "Job for lantern-box.service failed.\n")
    assert host.call("serve").returncode == 90
    assert systemd.deeds().count(RESTART) == 1


def test_files_that_could_not_be_read_are_to_be_read_still(
    host: AptRoot, systemd: StubSystemd, served: Served
) -> None:
    swap(host, systemd, served, "1.0")
    install(host, served, "2.0")
    systemd.fail("daemon-reload", "Failed to reload daemon: Connection timed out\n")
    ended = host.call("serve")
    assert ended.returncode == 90
    assert ended.stderr.splitlines() == [
        "Failed to reload daemon: Connection timed out",
        "relight: systemd did not read its unit files",
    ]
    assert systemd.deeds() == [RELOAD]
    systemd.mend("daemon-reload")
    serves(host)
    assert systemd.deeds() == [RELOAD, RESTART]


def test_a_systemd_that_cannot_be_asked_is_an_error(
    host: AptRoot, systemd: StubSystemd, served: Served
) -> None:
    swap(host, systemd, served, "1.0")
    install(host, served, "1.1")
    systemd.fail("show", "Failed to connect to bus: No such file or directory\n")
    ended = host.call("serve")
    assert ended.returncode == 75
    assert ended.stderr.splitlines() == [
        "Failed to connect to bus: No such file or directory",
        "relight: systemd does not answer",
    ]
    assert systemd.deeds() == []
    systemd.mend("show")
    serves(host)
    assert systemd.deeds() == [RELOAD, RESTART]


# ---------------------------------------------------------------- the service


@pytest.fixture
def settled(host: AptRoot, systemd: StubSystemd, served: Served) -> StubSystemd:
    """A host on which there is nothing to be read."""
    swap(host, systemd, served, "1.0")
    install(host, served, "1.0")
    systemd.calls()
    return systemd


@pytest.fixture
def process(host: AptRoot) -> Iterator[int]:
    """A process that runs the daemon's file."""
    shutil.copy("/usr/bin/sleep", host.executable)
    with subprocess.Popen([host.executable, "600"]) as process:
        yield process.pid
        process.kill()


def test_what_runs_the_installed_file_is_left_alone(
    host: AptRoot, settled: StubSystemd, process: int
) -> None:
    settled.set(UNIT, running(), main_pid=process)
    serves(host)
    assert settled.deeds() == []


def test_what_runs_the_installed_file_under_another_name_is_left_alone(
    host: AptRoot, settled: StubSystemd, process: int
) -> None:
    settled.set(UNIT, running(), main_pid=process)
    host.executable.rename(host.executable.with_suffix(".real"))
    host.executable.symlink_to(host.executable.with_suffix(".real"))
    serves(host)
    assert settled.deeds() == []


@pytest.mark.parametrize("how", ["replaced", "gone"])
def test_what_runs_a_file_that_is_no_more_is_restarted(
    host: AptRoot, settled: StubSystemd, process: int, how: str
) -> None:
    settled.set(UNIT, running(), main_pid=process)
    host.executable.unlink()
    if how == "replaced":
        shutil.copy("/usr/bin/sleep", host.executable)
    serves(host)
    assert settled.deeds() == [RESTART]


def test_what_runs_another_file_is_restarted(
    host: AptRoot, settled: StubSystemd, process: int
) -> None:
    settled.set(UNIT, running(), main_pid=os.getpid())
    serves(host)
    assert settled.deeds() == [RESTART]


@pytest.mark.parametrize(
    "unit",
    [
        Unit("loaded", "inactive", "dead", "enabled"),
        Unit("loaded", "deactivating", "stop-sigterm", "enabled", main_pid=1),
        Unit("loaded", "active", "exited", "enabled"),
    ],
    ids=lambda unit: unit.sub,
)
def test_what_does_not_run_is_started(host: AptRoot, settled: StubSystemd, unit: Unit) -> None:
    settled.set(UNIT, unit)
    serves(host)
    assert settled.deeds() == [RESTART]


@pytest.mark.parametrize(
    "unit",
    [failed(), Unit("loaded", "activating", "auto-restart", "enabled", restarts=4)],
    ids=lambda unit: unit.sub,
)
def test_what_ended_too_often_gets_its_start_all_the_same(
    host: AptRoot, settled: StubSystemd, unit: Unit
) -> None:
    settled.set(UNIT, unit)
    serves(host)
    assert settled.deeds() == [f"systemctl reset-failed -- {UNIT}", RESTART]


def test_a_unit_that_is_disabled_is_enabled(host: AptRoot, settled: StubSystemd) -> None:
    settled.set(UNIT, running(), unit_file="disabled")
    serves(host)
    assert settled.deeds() == [f"systemctl --quiet enable -- {UNIT}", RESTART]


def test_a_unit_that_is_disabled_is_enabled_though_it_need_not_be_restarted(
    host: AptRoot, settled: StubSystemd, process: int
) -> None:
    settled.set(UNIT, running(), unit_file="disabled", main_pid=process)
    serves(host)
    assert settled.deeds() == [f"systemctl --quiet enable -- {UNIT}"]


@pytest.mark.parametrize("unit_file", ["enabled-runtime", "static", "generated", "linked", ""])
def test_no_other_unit_is_enabled(host: AptRoot, settled: StubSystemd, unit_file: str) -> None:
    settled.set(UNIT, running(), unit_file=unit_file)
    serves(host)
    assert settled.deeds() == [RESTART]


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        (Unit("masked", unit_file="masked"), "is masked: somebody on this host forbade it to run"),
        # Its old process runs on: only a start shows that it is masked.
        (Unit("masked", "active", "running", "masked", main_pid=7), "is masked"),
        (Unit("loaded", "active", "running", "masked-runtime", main_pid=7), "is masked"),
        (Unit(), f"there is no unit {UNIT}"),
    ],
)
def test_a_unit_that_cannot_be_started_is_left_alone(
    host: AptRoot, settled: StubSystemd, unit: Unit, words: str
) -> None:
    settled.set(UNIT, unit)
    assert words in fails(host)
    assert settled.deeds() == []


def test_a_unit_that_does_not_start_says_so_last(host: AptRoot, settled: StubSystemd) -> None:
    settled.fail("restart", f"Job for {UNIT} failed.\nSee it.\n")
    assert fails(host) == f"Job for {UNIT} failed.\nSee it.\nrelight: {UNIT} did not start\n"


def test_a_unit_that_cannot_be_enabled_is_not_started(host: AptRoot, settled: StubSystemd) -> None:
    settled.set(UNIT, running(), unit_file="disabled")
    settled.fail("--quiet", "Failed to enable unit: File exists\n")
    assert "could not be enabled" in fails(host)
    assert RESTART not in settled.deeds()


# ---------------------------------------------------------------- a whole change


def change(host: AptRoot, served: Served, version: str, **changed: str) -> tuple[int, str]:
    name = f"lantern-box_{version}_amd64.deb"
    content = (served.root / name).read_bytes()
    digest = changed.get("sha256", hashlib.sha256(content).hexdigest())
    words = [version, "upgrade", f"{served.url}/{name}", digest, str(len(content)), "amd64"]
    ended = host.call("change", *words)
    return ended.returncode, ended.stderr


def test_a_change_installs_and_then_serves(
    host: AptRoot, systemd: StubSystemd, served: Served
) -> None:
    assert change(host, served, "1.0")[0] == 0
    assert host.state().version == "1.0"
    assert systemd.deeds() == [RELOAD, RESTART]
    assert list((host.root / "var/tmp").iterdir()) == []


def test_a_change_whose_package_is_not_installed_restarts_nothing(
    host: AptRoot, systemd: StubSystemd, served: Served
) -> None:
    code, said = change(host, served, "1.0", sha256="0" * 64)
    assert code == 100
    assert "another SHA-256" in said
    assert systemd.calls() == []
    assert list((host.root / "var/tmp").iterdir()) == []


def test_a_change_whose_service_does_not_start_says_that_the_package_is_there(
    host: AptRoot, systemd: StubSystemd, served: Served
) -> None:
    systemd.fail("restart", "Job failed.\n")
    code, said = change(host, served, "1.0")
    assert code == 90
    assert said.endswith(f"Job failed.\nrelight: {UNIT} did not start\n")
    assert host.state().version == "1.0"
