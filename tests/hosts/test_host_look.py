"""What `relight-host` tells of a host, and that it is read as it was meant."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from relight.hosts import host_program
from relight.hosts.dpkg import ABSENT, PackageState
from relight.hosts.errors import UnreadableAnswerError
from relight.hosts.host_program import Change
from relight.hosts.observation import Observation, parse
from relight.hosts.systemd import parse_shown
from tests.support.apt_repository import PACKAGE, Repository
from tests.support.apt_root import UNIT, AptRoot
from tests.support.memory_shell import (
    Unit,
    failed,
    running,
    succeeded,
)
from tests.support.stub_systemd import StubSystemd

CHANGE = "relight-install.service"
FILE = "/usr/share/lantern-box/file"
PATIENCE = timedelta(seconds=5)
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = {"/etc/lantern-box/config": "1", "/DEBIAN/conffiles": "/etc/lantern-box/config\n"}
    repository = Repository(tmp_path_factory.mktemp("files"))
    return repository.add("0.0.74", files={FILE: "1", **config})


@pytest.fixture
def host(tmp_path: Path) -> AptRoot:
    return AptRoot(tmp_path / "host")


@pytest.fixture
def systemd(host: AptRoot) -> StubSystemd:
    return StubSystemd(host)


@pytest.fixture
def process(host: AptRoot) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs the daemon's file."""
    shutil.copy("/usr/bin/sleep", host.executable)
    with subprocess.Popen([host.executable, "600"]) as process:
        yield process
        process.kill()


def told(host: AptRoot, call: list[str]) -> str:
    ended = host.call(*call[1:])
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def seen(host: AptRoot, call: list[str] | None = None) -> Observation:
    return parse(told(host, call or host_program.see()))


def unit(how: Unit) -> object:
    return parse_shown(how.shown())[0]


def test_a_host_that_runs_what_is_installed(
    host: AptRoot, systemd: StubSystemd, process: subprocess.Popen[bytes], deb: Path
) -> None:
    assert host.run(f"dpkg --install {deb}")[0] == 0
    up = running()
    up.main_pid = process.pid
    systemd.set(UNIT, up)
    assert seen(host) == Observation(
        package=PackageState("ii", "0.0.74", "amd64"),
        unit=unit(up),  # type: ignore[arg-type]
        running_file=str(host.executable),
        is_installed_file=True,
        damaged=(),
        boot_id=BOOT_ID,
    )


def test_all_that_is_read_of_a_unit_is_asked_for_and_nothing_else(
    host: AptRoot, systemd: StubSystemd
) -> None:
    seen(host)
    ((_, _, asked, *rest),) = systemd.calls()
    answered = {line.partition("=")[0] for line in running().shown().splitlines()}
    assert set(asked.removeprefix("--property=").split(",")) == answered
    assert rest == ["--", UNIT]


def test_a_host_that_knows_nothing(host: AptRoot, systemd: StubSystemd) -> None:
    systemd.set(UNIT, Unit())
    look = seen(host)
    assert (look.package, look.damaged) == (ABSENT, ())
    assert look.unit == unit(Unit())
    assert (look.running_file, look.is_installed_file) == ("", False)
    assert (look.change, look.begun) == (None, None)


def test_a_change_on_a_host_that_does_not_know_the_daemon_yet(
    host: AptRoot, systemd: StubSystemd
) -> None:
    systemd.set(UNIT, Unit())
    systemd.set(CHANGE, succeeded())
    look = seen(host, host_program.see(CHANGE, PATIENCE))
    assert (look.unit, look.change) == (unit(Unit()), unit(succeeded()))
    assert (look.running_file, look.is_installed_file) == ("", False)


def test_a_change_that_is_not_known_beside_a_daemon_that_is(
    host: AptRoot, systemd: StubSystemd, process: subprocess.Popen[bytes]
) -> None:
    systemd.set(UNIT, running(), main_pid=process.pid)
    look = seen(host, host_program.see(CHANGE, PATIENCE))
    assert look.change == unit(Unit())
    assert look.is_installed_file


def test_neither_is_known(host: AptRoot, systemd: StubSystemd) -> None:
    systemd.set(UNIT, Unit())
    look = seen(host, host_program.see(CHANGE, PATIENCE))
    assert look.unit == look.change == unit(Unit())


@pytest.mark.parametrize(
    "how", [failed(), Unit("loaded", "activating", "auto-restart", "enabled", restarts=2)]
)
def test_a_daemon_without_a_process_runs_nothing(
    host: AptRoot, systemd: StubSystemd, how: Unit, process: subprocess.Popen[bytes]
) -> None:
    """Nor is the process of a change taken for its."""
    systemd.set(UNIT, how)
    systemd.set(CHANGE, running(), main_pid=process.pid)
    look = seen(host, host_program.see(CHANGE, timedelta()))
    assert look.unit == unit(how)
    assert (look.running_file, look.is_installed_file) == ("", False)


def test_a_process_that_ended_meanwhile_runs_nothing(host: AptRoot, systemd: StubSystemd) -> None:
    with subprocess.Popen(["/bin/true"]) as gone:
        gone.wait()
    systemd.set(UNIT, running(), main_pid=gone.pid)
    look = seen(host)
    assert (look.running_file, look.is_installed_file) == ("", False)


def test_a_file_that_was_replaced_under_its_process(
    host: AptRoot, systemd: StubSystemd, process: subprocess.Popen[bytes]
) -> None:
    systemd.set(UNIT, running(), main_pid=process.pid)
    host.executable.unlink()
    shutil.copy("/usr/bin/sleep", host.executable)
    look = seen(host)
    assert look.running_file == f"{host.executable} (deleted)"
    assert not look.is_installed_file


def test_a_package_that_is_removed_or_damaged(
    host: AptRoot, systemd: StubSystemd, deb: Path
) -> None:
    assert host.run(f"dpkg --install {deb}")[0] == 0
    (host.root / "etc/lantern-box/config").write_text("an operator's own")
    assert seen(host).damaged == ()
    (host.root / FILE.lstrip("/")).write_text("somebody's own")
    assert seen(host).damaged == (FILE,)
    (host.root / FILE.lstrip("/")).unlink()
    assert seen(host).damaged == (FILE,)
    assert host.run(f"dpkg --remove {PACKAGE}")[0] == 0
    assert seen(host).package == PackageState("rc", "0.0.74", "amd64")


def test_no_answer_passes_for_another_one(host: AptRoot, systemd: StubSystemd) -> None:
    """Whatever a tool says, as of a host that somebody else has a hand in."""
    hostile = "file 0\nEND\n boot 1\n\npackage 0\n\\c \\n %s %d $(id) `id` $HOME\n"
    (host.root / "hostile").write_text(hostile)
    host.put_program("dpkg", f"cat {host.root}/hostile; exit 3")
    text = told(host, host_program.see())
    ends = [line for line in text.split("\n") if line and not line.startswith(" ")]
    assert ends == ["units 0", "package 1", "file 1", "boot 0", "verify 3"]
    assert text.endswith("".join(f" {line}\n" for line in hostile.splitlines()) + "verify 3\n")


def test_a_very_long_answer_is_told_wholly(host: AptRoot, systemd: StubSystemd) -> None:
    host.put_program("dpkg", 'seq -f "??5??????   /usr/lib/%.0f" 20000; exit 1')
    damaged = seen(host).damaged
    assert (len(damaged), damaged[-1]) == (20000, "/usr/lib/20000")


def test_a_systemd_that_does_not_answer_is_said_and_nothing_else(
    host: AptRoot, systemd: StubSystemd
) -> None:
    systemd.fail("show", "Failed to connect to bus: No such file or directory\n")
    for call in (host_program.see(), host_program.see(CHANGE, PATIENCE)):
        ended = host.call(*call[1:])
        assert (ended.returncode, ended.stdout) == (host_program.NO_ANSWER_EXIT_CODE, "")
        assert ended.stderr == "Failed to connect to bus: No such file or directory\n"


def test_a_host_that_was_never_told_what_it_is_about_says_so(host: AptRoot) -> None:
    (host.root / "etc/relight/host").unlink()
    ended = host.call("see")
    assert ended.returncode != 0
    assert "etc/relight/host" in ended.stderr


def test_an_answer_that_was_cut_short_is_refused(host: AptRoot, systemd: StubSystemd) -> None:
    text = told(host, host_program.see())
    for line in re.findall(r"^\w+ \d+\n", text, re.MULTILINE):
        with pytest.raises(UnreadableAnswerError):
            parse(text.replace(line, ""))


# ---------------------------------------------------------------- beginning a change

DEB = ("https://h.example/x.deb", "0" * 64, "7", "amd64")


def test_a_change_is_begun_detached_from_whoever_begins_it(
    host: AptRoot, systemd: StubSystemd
) -> None:
    systemd.set(CHANGE, succeeded())
    look = seen(host, host_program.swap(CHANGE, PATIENCE, Change("0.0.74", rollback=True)))
    assert look.begun is not None
    assert (look.begun.exit_code, look.begun.text) == (0, "")
    assert look.change == unit(succeeded())
    (begun,) = (call for call in systemd.calls() if call[0] == "systemd-run")
    assert f"--unit={CHANGE}" in begun
    for tie in ("--pipe", "--scope", "--pty", "--wait", "--collect", "-P", "-t", "-G"):
        assert tie not in begun
    # It keeps its outcome until somebody has read it, and its words outlive the link.
    for name in ("RemainAfterExit=yes", "StandardOutput=journal", "StandardError=journal"):
        assert f"--property={name}" in begun
    assert begun[-4:] == [str(host.program), "change", "0.0.74", "rollback"]


def test_a_change_with_a_file_of_its_own_is_begun_with_all_that_is_known_of_it(
    host: AptRoot, systemd: StubSystemd
) -> None:
    host.configure("https://h.example/")
    told(host, ["", "swap", CHANGE, "5", "0.0.74", "upgrade", *DEB])
    (begun,) = (call for call in systemd.calls() if call[0] == "systemd-run")
    assert begun[-7:] == [str(host.program), "change", "0.0.74", "upgrade", *DEB][-7:]


@pytest.mark.parametrize(
    "said",
    [
        f"Unit {CHANGE} was already loaded or has a fragment file.",
        f"Unit {CHANGE} already exists.",
        "Access denied",
    ],
)
def test_a_change_that_cannot_be_begun_says_why_and_how_all_stands(
    host: AptRoot, systemd: StubSystemd, said: str
) -> None:
    systemd.set(CHANGE, failed())
    systemd.fail("systemd-run", f"Failed to start transient service unit: {said}\n")
    look = seen(host, host_program.swap(CHANGE, PATIENCE, Change("0.0.74")))
    assert look.begun is not None
    assert look.begun.exit_code == 1
    assert look.begun.text == f"Failed to start transient service unit: {said}"
    assert look.change == unit(failed())


# ---------------------------------------------------------------- waiting


def waited(host: AptRoot, call: list[str]) -> float:
    began = time.monotonic()
    told(host, call)
    return time.monotonic() - began


def test_a_change_is_waited_for_until_it_ends(host: AptRoot, systemd: StubSystemd) -> None:
    with subprocess.Popen(["/bin/sh", "-c", "read x"], stdin=subprocess.PIPE) as change:
        systemd.set(CHANGE, running(), main_pid=change.pid)
        argv = [str(host.program), *host_program.see(CHANGE, timedelta(seconds=50))[1:]]
        path = f"{host.root / 'programs'}:{os.environ['PATH']}"
        with subprocess.Popen(argv, env={"PATH": path}, stdout=subprocess.PIPE) as waiting:
            with pytest.raises(subprocess.TimeoutExpired):
                waiting.wait(0.5)
            systemd.set(CHANGE, succeeded())
            change.communicate(b"\n")
            out, _ = waiting.communicate(timeout=10)
    assert parse(out.decode()).change == unit(succeeded())


@pytest.mark.parametrize("verb", ["see", "swap"])
def test_no_longer_is_waited_than_was_asked_for(
    host: AptRoot, systemd: StubSystemd, verb: str
) -> None:
    systemd.set(CHANGE, running(), main_pid=os.getpid())
    change = ["0.0.74", "upgrade"] if verb == "swap" else []
    assert 1 <= waited(host, ["", verb, CHANGE, "1", *change]) < 5


@pytest.mark.parametrize("seconds", ["0", "00"])
def test_no_patience_is_none(host: AptRoot, systemd: StubSystemd, seconds: str) -> None:
    """`timeout 0` would wait for ever."""
    systemd.set(CHANGE, running(), main_pid=os.getpid())
    assert waited(host, ["", "see", CHANGE, seconds]) < 3


def test_what_does_not_run_is_not_waited_for(host: AptRoot, systemd: StubSystemd) -> None:
    for how in (Unit(), succeeded(), failed()):
        systemd.set(CHANGE, how)
        assert waited(host, host_program.see(CHANGE, timedelta(seconds=50))) < 3


# ---------------------------------------------------------------- what was said


def test_what_a_change_wrote_is_read_from_its_own_start(
    host: AptRoot, systemd: StubSystemd
) -> None:
    systemd.set(CHANGE, failed())
    host.call("said", CHANGE)
    assert [call for call in systemd.calls() if call[0] == "journalctl"] == [
        ["journalctl", "--sync"],  # a last line may be still on its way
        [
            *("journalctl", "--no-pager", "--quiet", "--lines=200", "--output=cat"),
            "_SYSTEMD_INVOCATION_ID=abc",
        ],
    ]


def test_the_daemons_journal_is_asked_for_so_many_lines_without_a_pager(
    host: AptRoot, systemd: StubSystemd
) -> None:
    assert host.call("journal", "20").returncode == 0
    assert systemd.calls() == [
        ["journalctl", "--sync"],
        ["journalctl", "--no-pager", "--quiet", "--lines=20", f"--unit={UNIT}"],
    ]


def test_forgetting_what_is_not_there_is_no_error(host: AptRoot, systemd: StubSystemd) -> None:
    for verb in ("stop", "reset-failed"):
        systemd.fail(verb, f"Unit {CHANGE} not loaded.\n")
    ended = host.call("forget", CHANGE)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert systemd.deeds() == [f"systemctl {verb} -- {CHANGE}" for verb in ("stop", "reset-failed")]


def test_the_steps_of_the_first_boot_are_read_from_where_they_left_it(host: AptRoot) -> None:
    logs = host.root / "var/lib/relight/first-boot"
    logs.mkdir(parents=True)
    for step in ("install", "service"):
        (logs / f"{step}.log").write_text(f"{step}\nsaid\n")
        assert told(host, host_program.step(step)) == f"{step}\nsaid\n"
    log = host.root / "var/log/cloud-init-output.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text("".join(f"{number}\n" for number in range(100)))
    assert told(host, host_program.step("cloud-init")).splitlines() == [
        str(n) for n in range(60, 100)
    ]


def test_a_step_that_left_nothing_is_an_error(host: AptRoot) -> None:
    assert host.call("step", "install").returncode == 1
