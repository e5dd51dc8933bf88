"""`relight-host serve` and `change`: when the service is enabled, started and restarted."""

import os
import shutil

import pytest

from relight.hosts.host_program import Change
from tests.hosts.conftest import ServingHost
from tests.support.apt_root import UNIT
from tests.support.memory_shell import (
    Unit,
    failed,
    running,
)

RELOAD, RESTART = "systemctl daemon-reload", f"systemctl restart -- {UNIT}"


def test_a_process_of_the_installed_file_is_left_alone(settled: ServingHost, process: int) -> None:
    settled.systemd.set(UNIT, running(), main_pid=process)
    assert settled.serve() == []


def test_a_process_of_the_installed_file_under_another_name_is_left_alone(
    settled: ServingHost, process: int
) -> None:
    settled.systemd.set(UNIT, running(), main_pid=process)
    executable = settled.host.executable
    executable.rename(executable.with_suffix(".real"))
    executable.symlink_to(executable.with_suffix(".real"))
    assert settled.serve() == []


@pytest.mark.parametrize("change", ["replaced", "deleted"])
def test_a_process_of_a_deleted_file_is_restarted(
    settled: ServingHost, process: int, change: str
) -> None:
    settled.systemd.set(UNIT, running(), main_pid=process)
    settled.host.executable.unlink()
    if change == "replaced":
        shutil.copy("/usr/bin/sleep", settled.host.executable)
    assert settled.serve() == [RESTART]


def test_a_process_of_another_file_is_restarted(settled: ServingHost, process: int) -> None:
    settled.systemd.set(UNIT, running(), main_pid=os.getpid())
    assert settled.serve() == [RESTART]


@pytest.mark.parametrize(
    "unit",
    [
        Unit("loaded", "inactive", "dead", "enabled"),
        Unit("loaded", "deactivating", "stop-sigterm", "enabled", main_pid=1),
        Unit("loaded", "active", "exited", "enabled"),
    ],
    ids=lambda unit: unit.sub,
)
def test_a_unit_that_does_not_run_is_started(settled: ServingHost, unit: Unit) -> None:
    settled.systemd.set(UNIT, unit)
    assert settled.serve() == [RESTART]


@pytest.mark.parametrize(
    "unit",
    [failed(), Unit("loaded", "activating", "auto-restart", "enabled", restarts=4)],
    ids=lambda unit: unit.sub,
)
def test_a_unit_that_failed_is_reset_and_started(settled: ServingHost, unit: Unit) -> None:
    settled.systemd.set(UNIT, unit)
    assert settled.serve() == [f"systemctl reset-failed -- {UNIT}", RESTART]


def test_a_disabled_unit_is_enabled(settled: ServingHost) -> None:
    settled.systemd.set(UNIT, running(), unit_file="disabled")
    assert settled.serve() == [f"systemctl --quiet enable -- {UNIT}", RESTART]


def test_a_disabled_unit_is_enabled_even_if_it_needs_no_restart(
    settled: ServingHost, process: int
) -> None:
    settled.systemd.set(UNIT, running(), unit_file="disabled", main_pid=process)
    assert settled.serve() == [f"systemctl --quiet enable -- {UNIT}"]


@pytest.mark.parametrize("unit_file", ["enabled-runtime", "static", "generated", "linked", ""])
def test_only_a_disabled_unit_is_enabled(settled: ServingHost, unit_file: str) -> None:
    settled.systemd.set(UNIT, running(), unit_file=unit_file)
    assert settled.serve() == [RESTART]


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        (Unit("masked", unit_file="masked"), "is masked on this host"),
        # Its old process still runs; only a start would fail.
        (Unit("masked", "active", "running", "masked", main_pid=7), "is masked"),
        (Unit("loaded", "active", "running", "masked-runtime", main_pid=7), "is masked"),
        (Unit(), f"there is no unit {UNIT}"),
    ],
)
def test_a_unit_that_cannot_start_is_left_alone(
    settled: ServingHost, unit: Unit, text: str
) -> None:
    settled.systemd.set(UNIT, unit)
    assert text in settled.serve_fails()
    assert settled.systemd.effects() == []


def test_a_unit_that_does_not_start_is_reported_last(settled: ServingHost) -> None:
    settled.systemd.fail("restart", f"Job for {UNIT} failed.\nSee it.\n")
    stderr = settled.serve_fails()
    assert stderr == f"Job for {UNIT} failed.\nSee it.\nrelight: {UNIT} did not start\n"


def test_a_failed_start_is_not_retried(serving: ServingHost) -> None:
    serving.systemd.fail("restart", "Job for lantern-box.service failed.\n")
    serving.serve_fails()
    assert serving.systemd.effects().count(RESTART) == 1


def test_a_unit_that_reaches_its_start_limit_meanwhile_is_reset_and_started(
    settled: ServingHost,
) -> None:
    settled.systemd.set(UNIT, running(), result="start-limit-hit")
    settled.systemd.fail("restart", "Start request repeated too quickly.\n", once=True)
    assert settled.host.call("serve").returncode == 0
    assert settled.systemd.effects() == [RESTART, f"systemctl reset-failed -- {UNIT}", RESTART]


def test_a_unit_that_cannot_be_enabled_is_not_started(settled: ServingHost) -> None:
    settled.systemd.set(UNIT, running(), unit_file="disabled")
    settled.systemd.fail("--quiet", "Failed to enable unit: File exists\n")
    assert "could not be enabled" in settled.serve_fails()
    assert RESTART not in settled.systemd.effects()


# ---------------------------------------------------------------- a whole change


def change(serving: ServingHost, version: str, **deb_changes: str) -> tuple[int, str]:
    deb = serving.deb(version).model_copy(update=deb_changes)
    ended = serving.host.call("change", *Change(version, deb=deb).words())
    return ended.returncode, ended.stderr


def test_a_change_installs_and_then_serves(serving: ServingHost) -> None:
    assert change(serving, "1.0")[0] == 0
    assert serving.host.state().version == "1.0"
    assert serving.systemd.effects() == [RELOAD, RESTART]
    assert list((serving.host.root / "var/tmp").iterdir()) == []


def test_a_change_whose_package_is_refused_restarts_nothing(serving: ServingHost) -> None:
    code, stderr = change(serving, "1.0", sha256="0" * 64)
    assert code == 100
    assert "the SHA-256 of" in stderr
    assert serving.systemd.calls() == []
    assert list((serving.host.root / "var/tmp").iterdir()) == []


def test_a_change_whose_service_does_not_start_exits_with_90(serving: ServingHost) -> None:
    serving.systemd.fail("restart", "Job failed.\n")
    code, stderr = change(serving, "1.0")
    assert code == 90
    assert stderr.endswith(f"Job failed.\nrelight: {UNIT} did not start\n")
    assert serving.host.state().version == "1.0"
