"""What a computer lacks is said by name; the kernel's limits only ever rise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import cgroups, kernel
from lab.lifecycle import (
    leftovers,
    preflight,
    sweep,
)


def test_on_another_system_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert preflight() == ["Linux: this is darwin"]


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert any(what.startswith("root:") for what in preflight())


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda program, path=None: None)
    missing = preflight()
    assert "the program systemd-nspawn (Debian package systemd-container)" in missing
    assert "the program apt-ftparchive (Debian package apt-utils)" in missing


def test_without_cgroup_v2_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "root", lambda: None)
    assert any("cgroup v2" in what for what in preflight())


def test_where_no_lab_can_be_there_is_nothing_to_sweep(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cgroups, "root", lambda: None)
    assert sweep("never", tmp_path) == leftovers("never", tmp_path) == []


def test_asking_is_light() -> None:
    heavy = ("fastapi", "uvicorn", "httpx", "pydantic", "typer", "asyncio.subprocess")
    code = (
        "import sys; import lab.lifecycle as l; l.preflight();"
        f"print([name for name in {heavy[:-1]!r} if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


def test_limits_that_are_too_low_are_raised_and_others_stay(tmp_path: Path) -> None:
    limits = {"fs/inotify/max_user_instances": 128, "kernel/pty/max": 10_000_000}
    for name, value in limits.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{value}\n")
    assert kernel.raise_limits(tmp_path) == ["fs.inotify.max_user_instances"]
    assert (tmp_path / "fs/inotify/max_user_instances").read_text() == "8192"
    assert (tmp_path / "kernel/pty/max").read_text() == "10000000\n"
