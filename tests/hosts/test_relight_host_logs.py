"""`relight-host` log, journal and step: what transactions, the service and a first boot wrote."""

from pathlib import Path

import pytest

from relight.hosts import host_program
from tests.hosts.observing import TRANSACTION, output
from tests.support.apt_root import UNIT, AptRoot
from tests.support.memory_shell import failed
from tests.support.stub_systemd import StubSystemd

BEGINS = "relight: the change begins\n"


@pytest.fixture
def host(tmp_path: Path) -> AptRoot:
    return AptRoot(tmp_path / "host")


@pytest.fixture
def systemd(host: AptRoot) -> StubSystemd:
    return StubSystemd(host)


@pytest.mark.parametrize(
    ("journal", "log"),
    [
        (f"{BEGINS}a\n\nb\n", "a\n\nb\n"),
        (f"{BEGINS}a\n{BEGINS}b\n{BEGINS}c\nd\n", "c\nd\n"),
        ("the last of 200 lines\n", "the last of 200 lines\n"),
        (f"a\n{BEGINS}", ""),
        ("", ""),
    ],
)
def test_the_log_of_a_transaction_is_that_of_its_last_start(
    host: AptRoot, systemd: StubSystemd, journal: str, log: str
) -> None:
    systemd.set(TRANSACTION, failed())
    systemd.put_journal(journal)
    assert host.call("log", TRANSACTION).stdout == log
    unit = f"_SYSTEMD_UNIT={TRANSACTION}"
    assert systemd.calls() == [
        ["journalctl", "--sync"],  # the last line may not be written yet
        ["journalctl", "--no-pager", "--quiet", "--lines=200", "--output=cat", unit],
    ]


def test_the_journal_of_the_service_is_limited_and_without_a_pager(
    host: AptRoot, systemd: StubSystemd
) -> None:
    assert host.call("journal", "20").returncode == 0
    assert systemd.calls() == [
        ["journalctl", "--sync"],
        ["journalctl", "--no-pager", "--quiet", "--lines=20", f"--unit={UNIT}"],
    ]


def test_the_journal_of_the_service_is_followed(host: AptRoot, systemd: StubSystemd) -> None:
    assert host.call("journal", "20", "follow").returncode == 0
    assert systemd.calls() == [
        ["journalctl", "--no-pager", "--quiet", "--lines=20", "--follow", f"--unit={UNIT}"]
    ]


def test_the_output_of_first_boot_steps_is_printed(host: AptRoot) -> None:
    logs = host.root / "var/lib/relight/first-boot"
    logs.mkdir(parents=True)
    (logs / "install.log").write_text("several\nlines\n")
    assert output(host, host_program.step("install")) == "several\nlines\n"
    log = host.root / "var/log/cloud-init-output.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text("".join(f"{number}\n" for number in range(100)))
    assert output(host, host_program.step("cloud-init")).splitlines() == [
        str(n) for n in range(60, 100)
    ]


def test_a_step_without_output_file_is_an_error(host: AptRoot) -> None:
    assert host.call("step", "install").returncode == 1
