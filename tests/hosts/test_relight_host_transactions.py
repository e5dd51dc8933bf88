"""`relight-host` swap and forget: how a transaction starts, is waited for, and is forgotten."""

import os
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest

from relight.hosts import host_program
from relight.hosts.host_program import Change
from relight.hosts.observation import parse
from tests.hosts.observing import DEADLINE, TRANSACTION, WAIT, observed, output, unit
from tests.support.apt_root import AptRoot
from tests.support.memory_shell import Unit, failed, running, succeeded
from tests.support.stub_systemd import StubSystemd

DEB = ("https://h.example/x.deb", "0" * 64, "7", "amd64")


@pytest.fixture
def host(tmp_path: Path) -> AptRoot:
    return AptRoot(tmp_path / "host")


@pytest.fixture
def systemd(host: AptRoot) -> StubSystemd:
    return StubSystemd(host)


def test_a_transaction_is_detached_from_its_caller(host: AptRoot, systemd: StubSystemd) -> None:
    systemd.set(TRANSACTION, succeeded())
    found = observed(
        host, host_program.swap(TRANSACTION, WAIT, DEADLINE, Change("0.0.74", rollback=True))
    )
    assert found.begin is not None
    assert (found.begin.exit_code, found.begin.text) == (0, "")
    assert found.transaction == unit(succeeded(), TRANSACTION)
    (started,) = (call for call in systemd.calls() if call[0] == "systemd-run")
    assert f"--unit={TRANSACTION}" in started
    for option in ("--pipe", "--scope", "--pty", "--wait", "--collect", "-P", "-t", "-G"):
        assert option not in started
    # Its result is kept until it is forgotten, and its output is kept in the journal.
    # A script that hangs is killed, also one that ignores SIGTERM.
    assert {"--property=RuntimeMaxSec=600", "--property=TimeoutStopSec=10"} <= {*started}
    for name in ("RemainAfterExit=yes", "StandardOutput=journal", "StandardError=journal"):
        assert f"--property={name}" in started
    assert started[-4:] == [str(host.program), "change", "0.0.74", "rollback"]


def test_a_transaction_gets_url_digest_size_and_architecture(
    host: AptRoot, systemd: StubSystemd
) -> None:
    host.configure("https://h.example/")
    output(host, ["", "swap", TRANSACTION, "5", "600", "0.0.74", "upgrade", *DEB])
    (started,) = (call for call in systemd.calls() if call[0] == "systemd-run")
    assert started[-7:] == [str(host.program), "change", "0.0.74", "upgrade", *DEB][-7:]


@pytest.mark.parametrize(
    "text",
    [
        f"Unit {TRANSACTION} was already loaded or has a fragment file.",
        f"Unit {TRANSACTION} already exists.",
        "Access denied",
    ],
)
def test_a_transaction_that_cannot_start_is_reported_with_an_observation(
    host: AptRoot, systemd: StubSystemd, text: str
) -> None:
    systemd.set(TRANSACTION, failed())
    systemd.fail("systemd-run", f"Failed to start transient service unit: {text}\n")
    found = observed(host, host_program.swap(TRANSACTION, WAIT, DEADLINE, Change("0.0.74")))
    assert found.begin is not None
    assert found.begin.exit_code == 1
    assert found.begin.text == f"Failed to start transient service unit: {text}"
    assert found.transaction == unit(failed(), TRANSACTION)


def seconds_of(host: AptRoot, call: list[str]) -> float:
    began = time.monotonic()
    output(host, call)
    return time.monotonic() - began


def test_observe_waits_until_a_transaction_ends(host: AptRoot, systemd: StubSystemd) -> None:
    with subprocess.Popen(["/bin/sh", "-c", "read x"], stdin=subprocess.PIPE) as program:
        systemd.set(TRANSACTION, running(), main_pid=program.pid)
        argv = [str(host.program), *host_program.observe(TRANSACTION, timedelta(seconds=50))[1:]]
        path = f"{host.root / 'programs'}:{os.environ['PATH']}"
        with subprocess.Popen(argv, env={"PATH": path}, stdout=subprocess.PIPE) as waiting:
            with pytest.raises(subprocess.TimeoutExpired):
                waiting.wait(0.5)
            systemd.set(TRANSACTION, succeeded())
            program.communicate(b"\n")
            out, _ = waiting.communicate(timeout=10)
    assert parse(out.decode()).transaction == unit(succeeded(), TRANSACTION)


@pytest.mark.parametrize("verb", ["observe", "swap"])
def test_waiting_has_the_given_limit(host: AptRoot, systemd: StubSystemd, verb: str) -> None:
    systemd.set(TRANSACTION, running(), main_pid=os.getpid())
    change = ["600", "0.0.74", "upgrade"] if verb == "swap" else []
    assert 1 <= seconds_of(host, ["", verb, TRANSACTION, "1", *change]) < 5


@pytest.mark.parametrize("seconds", ["0", "00"])
def test_zero_seconds_do_not_wait(host: AptRoot, systemd: StubSystemd, seconds: str) -> None:
    """`timeout 0` has no limit."""
    systemd.set(TRANSACTION, running(), main_pid=os.getpid())
    assert seconds_of(host, ["", "observe", TRANSACTION, seconds]) < 3


def test_a_transaction_that_does_not_run_is_not_waited_for(
    host: AptRoot, systemd: StubSystemd
) -> None:
    for state in (Unit(), succeeded(), failed()):
        systemd.set(TRANSACTION, state)
        assert seconds_of(host, host_program.observe(TRANSACTION, timedelta(seconds=50))) < 3


def test_the_process_of_a_transaction_is_not_asked_for(host: AptRoot, systemd: StubSystemd) -> None:
    """The kernel names it, and each question to systemd costs the host."""
    systemd.set(TRANSACTION, running(), main_pid=os.getpid())
    assert seconds_of(host, ["", "observe", TRANSACTION, "1"]) >= 1
    assert not [call for call in systemd.calls() if "--property=MainPID" in call]


@pytest.mark.parametrize("instances", ["", "lantern-box@*.service"])
def test_what_a_running_transaction_waits_for_is_named(
    host: AptRoot, systemd: StubSystemd, instances: str
) -> None:
    """Also where the service has a pattern of units: what it matches comes last."""
    with (host.root / "etc/relight/host").open("a") as file:
        file.write(f"MORE_UNITS='{instances}'\n")
    call = host_program.observe(TRANSACTION, timedelta())
    systemd.set(TRANSACTION, succeeded())
    systemd.set(instances or "none.service", running(), main_pid=os.getpid())
    assert "\nchild " not in output(host, call)
    systemd.set(TRANSACTION, running(), main_pid=os.getpid())
    systemd.set(instances or "none.service", succeeded())
    own = Path("/proc/self/cmdline").read_bytes().replace(b"\0", b" ").decode()
    assert observed(host, call).child == own[:300].strip()


def test_forgetting_an_absent_transaction_is_no_error(host: AptRoot, systemd: StubSystemd) -> None:
    ended = host.call("forget", TRANSACTION)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert systemd.effects() == []


def test_a_transaction_that_ends_meanwhile_is_forgotten(
    host: AptRoot, systemd: StubSystemd
) -> None:
    systemd.set(TRANSACTION, succeeded(), transient=True)
    for verb in ("stop", "reset-failed"):
        systemd.fail(verb, f"Unit {TRANSACTION} not loaded.\n")
    ended = host.call("forget", TRANSACTION)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert systemd.effects() == [
        f"systemctl {verb} -- {TRANSACTION}" for verb in ("stop", "reset-failed")
    ]


def test_a_unit_with_a_file_is_no_transaction_and_is_not_stopped(
    host: AptRoot, systemd: StubSystemd
) -> None:
    systemd.set("relight-worker.service", running(), main_pid=os.getpid())
    assert host.call("forget", "relight-worker.service").returncode == 0
    assert systemd.effects() == []
