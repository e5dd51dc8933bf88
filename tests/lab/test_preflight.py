"""Missing requirements of the lab are named; kernel limits are only raised."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import cgroups
from lab.lifecycle import leftovers, sweep
from lab.preflight import preflight, raise_limits


def test_another_operating_system_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert preflight() == ["Linux: this is darwin"]


def test_missing_root_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert any(missing.startswith("root:") for missing in preflight())


def test_a_missing_program_is_reported_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda program, path=None: None)
    missing = preflight()
    assert "the program systemd-nspawn (Debian package systemd-container)" in missing
    assert "the program apt-ftparchive (Debian package apt-utils)" in missing


def test_missing_cgroup_v2_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "root", lambda: None)
    assert any("cgroup v2" in missing for missing in preflight())


def test_without_cgroup_v2_there_are_no_leftovers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cgroups, "root", lambda: None)
    assert sweep("never", tmp_path) == leftovers("never", tmp_path) == []


def test_preflight_imports_no_heavy_modules() -> None:
    heavy = ("fastapi", "uvicorn", "httpx", "pydantic", "typer", "asyncio.subprocess")
    code = (
        "import sys; import lab.lifecycle as l; l.preflight();"
        f"print([name for name in {heavy[:-1]!r} if name in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout == "[]\n"


def test_only_limits_that_are_too_low_are_raised(tmp_path: Path) -> None:
    limits = {"fs/inotify/max_user_instances": 128, "kernel/pty/max": 10_000_000}
    for name, value in limits.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{value}\n")
    assert raise_limits(tmp_path) == ["fs.inotify.max_user_instances"]
    assert (tmp_path / "fs/inotify/max_user_instances").read_text() == "8192"
    assert (tmp_path / "kernel/pty/max").read_text() == "10000000\n"
