"""`relight-host observe`, and the parser of its output."""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from relight.hosts import host_program
from relight.hosts.errors import UnreadableAnswerError
from relight.hosts.observation import Observation, parse
from relight.hosts.packages import ABSENT, PackageState
from tests.hosts.observing import TRANSACTION, WAIT, observed, output, unit
from tests.support.apt_repository import PACKAGE, Repository
from tests.support.apt_root import UNIT, AptRoot
from tests.support.debs import build_deb
from tests.support.memory_shell import (
    Unit,
    failed,
    running,
    succeeded,
)
from tests.support.stub_systemd import StubSystemd

FILE = "/usr/share/lantern-box/file"
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
    """A process that runs the service's file."""
    shutil.copy("/usr/bin/sleep", host.executable)
    with subprocess.Popen([host.executable, "600"]) as process:
        yield process
        process.kill()


def settings_sha256(host: AptRoot) -> str:
    """Return the digest of the settings of a host without an apt source."""
    files = (host.root / "etc/relight/host", host.program)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@pytest.fixture
def installed(host: AptRoot, deb: Path) -> None:
    """The package, unpacked a second ago: a process that starts now is newer."""
    assert host.run(f"dpkg --install {deb}")[0] == 0
    file_list = host.root / f"var/lib/dpkg/info/{PACKAGE}.list"
    ago = file_list.stat().st_mtime - 1
    os.utime(file_list, (ago, ago))


@pytest.mark.usefixtures("installed")
def test_a_process_that_started_before_the_package_was_unpacked_is_stale(
    process: subprocess.Popen[bytes], host: AptRoot, systemd: StubSystemd, deb: Path
) -> None:
    """As of an interpreter: the package does not contain the file that it runs."""
    systemd.set(UNIT, running(), main_pid=process.pid)
    assert observed(host).is_installed_file
    assert host.run(f"dpkg --install {deb}")[0] == 0
    (line,) = observed(host).stale
    runs = f"runs {host.executable} and started before the change"
    assert line == f"{UNIT} has process {process.pid}, which {runs}"


def test_a_host_that_runs_what_is_installed(
    host: AptRoot, systemd: StubSystemd, installed: None, process: subprocess.Popen[bytes]
) -> None:
    up = running()
    up.main_pid = process.pid
    systemd.set(UNIT, up)
    assert observed(host) == Observation(
        package=PackageState("ii", "0.0.74", "amd64"),
        units=(unit(up),),
        running_file=str(host.executable),
        is_installed_file=True,
        damaged=(),
        boot_id=BOOT_ID,
        settings_sha256=settings_sha256(host),
    )


def test_exactly_the_parsed_properties_are_requested(host: AptRoot, systemd: StubSystemd) -> None:
    observed(host)
    ((_, _, requested, *rest),) = systemd.calls()
    parsed = {line.partition("=")[0] for line in running().shown().splitlines()}
    assert set(requested.removeprefix("--property=").split(",")) == parsed
    assert rest == ["--", UNIT]


def test_a_host_without_package_and_unit(host: AptRoot, systemd: StubSystemd) -> None:
    systemd.set(UNIT, Unit())
    found = observed(host)
    assert (found.package, found.damaged) == (ABSENT, ())
    assert found.unit == unit(Unit())
    assert (found.running_file, found.is_installed_file) == ("", False)
    assert (found.transaction, found.begin) == (None, None)


def test_a_transaction_on_a_host_without_the_unit(host: AptRoot, systemd: StubSystemd) -> None:
    systemd.set(UNIT, Unit())
    systemd.set(TRANSACTION, succeeded())
    found = observed(host, host_program.observe(TRANSACTION, WAIT))
    assert (found.unit, found.transaction) == (unit(Unit()), unit(succeeded(), TRANSACTION))
    assert (found.running_file, found.is_installed_file) == ("", False)


def test_an_absent_transaction_on_a_host_with_the_unit(
    host: AptRoot, systemd: StubSystemd, process: subprocess.Popen[bytes]
) -> None:
    systemd.set(UNIT, running(), main_pid=process.pid)
    found = observed(host, host_program.observe(TRANSACTION, WAIT))
    assert found.transaction == unit(Unit(), TRANSACTION)
    assert found.is_installed_file


def test_neither_transaction_nor_unit(host: AptRoot, systemd: StubSystemd) -> None:
    systemd.set(UNIT, Unit())
    found = observed(host, host_program.observe(TRANSACTION, WAIT))
    assert (found.unit, found.transaction) == (unit(Unit()), unit(Unit(), TRANSACTION))


@pytest.mark.parametrize(
    "state", [failed(), Unit("loaded", "activating", "auto-restart", "enabled", restarts=2)]
)
def test_a_service_without_a_process_runs_nothing(
    host: AptRoot, systemd: StubSystemd, state: Unit, process: subprocess.Popen[bytes]
) -> None:
    """The process of a transaction is not taken for the service's."""
    systemd.set(UNIT, state)
    systemd.set(TRANSACTION, running(), main_pid=process.pid)
    found = observed(host, host_program.observe(TRANSACTION, timedelta()))
    assert found.unit == unit(state)
    assert (found.running_file, found.is_installed_file) == ("", False)


def test_a_process_that_has_just_ended_runs_nothing(host: AptRoot, systemd: StubSystemd) -> None:
    with subprocess.Popen(["/bin/true"]) as gone:
        gone.wait()
    systemd.set(UNIT, running(), main_pid=gone.pid)
    found = observed(host)
    assert (found.running_file, found.is_installed_file) == ("", False)


def test_a_file_that_was_replaced_while_its_process_runs(
    host: AptRoot, systemd: StubSystemd, process: subprocess.Popen[bytes]
) -> None:
    systemd.set(UNIT, running(), main_pid=process.pid)
    host.executable.unlink()
    shutil.copy("/usr/bin/sleep", host.executable)
    found = observed(host)
    assert found.running_file == f"{host.executable} (deleted)"
    assert not found.is_installed_file


def test_a_package_that_is_removed_or_damaged(
    host: AptRoot, systemd: StubSystemd, deb: Path
) -> None:
    assert host.run(f"dpkg --install {deb}")[0] == 0
    (host.root / "etc/lantern-box/config").write_text("edited")
    assert observed(host).damaged == ()
    (host.root / FILE.lstrip("/")).write_text("changed on the host")
    assert observed(host).damaged == (FILE,)
    (host.root / FILE.lstrip("/")).unlink()
    assert observed(host).damaged == (FILE,)
    assert host.run(f"dpkg --remove {PACKAGE}")[0] == 0
    assert observed(host).package == PackageState("rc", "0.0.74", "amd64")


KEPT, STATE = "/usr/share/doc/lantern-box/kept", "/opt/box/state/index"


@pytest.fixture
def with_documents(host: AptRoot, tmp_path: Path) -> Path:
    """The root of a host that has a package with documents, state and configuration."""
    files = dict.fromkeys((FILE, KEPT, STATE, "/usr/share/doc/lantern-box/README"), "1")
    files |= {"/var/lib/box/state": "1", "/srv/box/page": "1", "/etc/box": "1"}
    files |= {"/DEBIAN/conffiles": "/etc/box\n"}
    deb = Repository(tmp_path / "documents").add("0.0.74", files=files)
    assert host.run(f"dpkg --install {deb}")[0] == 0
    return host.root


@pytest.mark.parametrize("change", [Path.unlink, lambda file: file.write_text("2")])
def test_state_and_configuration_are_not_damage(
    host: AptRoot, systemd: StubSystemd, with_documents: Path, change: Callable[[Path], object]
) -> None:
    for path in ("var/lib/box/state", "srv/box/page", "etc/box"):
        change(with_documents / path)
    assert observed(host).damaged == ()
    change(with_documents / STATE.lstrip("/"))
    assert observed(host).damaged == (STATE,)
    host.configure(state_files=("/opt/other/*", "/opt/box/st?te/*"))
    assert observed(host).damaged == ()
    change(with_documents / FILE.lstrip("/"))
    assert observed(host).damaged == (FILE,)


def test_files_that_dpkg_leaves_out_are_not_missing(
    host: AptRoot, systemd: StubSystemd, with_documents: Path
) -> None:
    for name in ("README", "kept"):
        (with_documents / f"usr/share/doc/lantern-box/{name}").unlink()
    assert len(observed(host).damaged) == 2
    rules = with_documents / "etc/dpkg/dpkg.cfg.d/documents"
    rules.parent.mkdir(parents=True)
    rules.write_text("# small\npath-exclude=/usr/share/doc/*\npath-include /usr/share/doc/*/kept\n")
    assert observed(host).damaged == (KEPT,)
    (rules.parent.parent / "dpkg.cfg").write_text("log /var/log/dpkg.log\npath-exclude=*/kept\n")
    assert observed(host).damaged == ()
    (with_documents / FILE.lstrip("/")).unlink()
    (with_documents / KEPT.lstrip("/")).write_text("2")
    assert set(observed(host).damaged) == {FILE, KEPT}


def test_hostile_output_cannot_look_like_another_section(
    host: AptRoot, systemd: StubSystemd
) -> None:
    """Whatever a tool prints, as on a host under somebody else's control."""
    hostile = "file 0\nEND\n boot 1\n\npackage 0\n\\c \\n %s %d $(id) `id` $HOME\n"
    (host.root / "hostile").write_text(hostile)
    host.put_program("dpkg", f"cat {host.root}/hostile; exit 3")
    text = output(host, host_program.observe())
    ends = [line for line in text.split("\n") if line and not line.startswith(" ")]
    assert ends == [
        *("units 0", "package 1", "file 1", "stale 0", "boot 0", "verify 0"),
        *("siblings 0", "content 0", "settings 0"),
    ]
    assert "".join(f" {line}\n" for line in hostile.splitlines()) + "verify 0\n" in text


def test_a_very_long_section_is_complete(host: AptRoot, systemd: StubSystemd) -> None:
    host.put_program("dpkg", 'seq -f "??5??????   /usr/lib/%.0f" 20000; exit 1')
    damaged = observed(host).damaged
    assert (len(damaged), damaged[-1]) == (20000, "/usr/lib/20000")


def test_a_systemd_that_does_not_answer_is_the_only_output(
    host: AptRoot, systemd: StubSystemd
) -> None:
    systemd.fail("show", "Failed to connect to bus: No such file or directory\n")
    for call in (host_program.observe(), host_program.observe(TRANSACTION, WAIT)):
        ended = host.call(*call[1:])
        assert (ended.returncode, ended.stdout) == (host_program.NO_ANSWER_EXIT_CODE, "")
        assert ended.stderr == "Failed to connect to bus: No such file or directory\n"


@pytest.mark.parametrize(
    "line",
    [
        "UNIT=box.socket",
        "UNIT='a b.service'",
        "MORE_UNITS='box.socket --root=/x'",
        "MORE_UNITS='$(id)'",
        "ON_CHANGE=stop",
        "ON_CHANGE='stop restart'",
        "EXECUTABLE=usr/bin/box",
    ],
)
def test_a_damaged_configuration_is_refused(host: AptRoot, systemd: StubSystemd, line: str) -> None:
    with (host.root / "etc/relight/host").open("a") as file:
        file.write(f"{line}\n")
    ended = host.call("observe")
    assert (ended.returncode, systemd.calls()) == (64, [])
    assert "does not name a package, its units and its executable" in ended.stderr


def test_a_missing_configuration_is_reported(host: AptRoot) -> None:
    (host.root / "etc/relight/host").unlink()
    ended = host.call("observe")
    assert ended.returncode != 0
    assert "etc/relight/host" in ended.stderr


def test_the_answer_of_an_older_program_is_read(host: AptRoot, systemd: StubSystemd) -> None:
    """It names no unit and no stale process; the service's unit comes first."""
    systemd.set(TRANSACTION, succeeded())
    text = output(host, host_program.observe(TRANSACTION, WAIT))
    text = re.sub(r"^ (Id|Type|TriggeredBy)=.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r" .*\ntransaction 0\n", "", text)
    text = re.sub(r" .*\nstale 0\n", "", text)
    found = parse(text)
    assert found.transaction is not None
    assert (found.unit.sub, found.transaction.sub) == ("running", "exited")
    assert (found.unit.name, len(found.units), found.stale) == ("", 1, ())


def test_an_incomplete_answer_is_refused(host: AptRoot, systemd: StubSystemd) -> None:
    text = output(host, host_program.observe())
    for line in re.findall(r"^(?!siblings|content|settings)\w+ \d+\n", text, re.MULTILINE):
        with pytest.raises(UnreadableAnswerError):
            parse(text.replace(line, ""))


@pytest.mark.usefixtures("installed")
def test_all_packages_of_the_service_are_observed(
    process: subprocess.Popen[bytes], host: AptRoot, systemd: StubSystemd, tmp_path: Path
) -> None:
    systemd.set(UNIT, running(), main_pid=process.pid)
    more, file = tmp_path / "more.deb", "/usr/share/lantern-more/file"
    build_deb(more, "lantern-more", "0.0.74", "all", files={file: "1"})
    assert host.run(f"dpkg --install {more}")[0] == 0
    assert observed(host).is_installed_file
    host.configure(packages=("lantern-more", "lantern-none"))
    assert [line.split(", which")[0] for line in observed(host).stale] == [
        f"{UNIT} has process {process.pid}"
    ]
    assert observed(host).damaged == ()
    (host.root / file.lstrip("/")).write_text("2")
    assert observed(host).damaged == (file,)


@pytest.mark.usefixtures("installed")
def test_a_swap_tells_what_its_transaction_waits_for_and_not_what_the_service_runs(
    process: subprocess.Popen[bytes], host: AptRoot, systemd: StubSystemd
) -> None:
    systemd.set(UNIT, running(), main_pid=process.pid)
    systemd.set(TRANSACTION, running(), main_pid=os.getpid())
    assert host.call("swap", TRANSACTION, "0", "600", "0.0.74", "upgrade").returncode == 0
    groups = [call[-1] for call in systemd.calls() if "--property=ControlGroup" in call]
    assert groups == [TRANSACTION]
