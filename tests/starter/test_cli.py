"""The command line itself: its list of commands, its exit codes, and its errors."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from relight.engine.errors import TemporalUnreachableError
from relight.releases.errors import ReleaseUnknownError, RepositoryUnavailableError
from relight.settings import Settings
from relight.store.errors import StoreError, UnknownTrackError
from starter import cli
from starter.cli.errors import (
    BadInputError,
    OperationFailedError,
    RefusedError,
)
from starter.local.children import ChildFailedError
from tests.starter.in_process import InProcess
from tests.support.command_line import CommandLine


def test_help_lists_every_command_without_importing_the_sdks() -> None:
    program = "import sys, starter.cli; starter.cli.run(['--help']); "
    program += (
        "print([name for name in ('temporalio', 'sqlmodel', 'asyncssh') if name in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    for name in ("up", "down", "lab", "worker", "settings", "track", "route", "release"):
        assert f"│ {name} " in shown
    assert shown.splitlines()[-1] == "[]"


async def test_the_process_ends_with_the_exit_code_and_one_error_on_standard_error(
    tmp_path: Path,
) -> None:
    relight = CommandLine(tmp_path / "home", {"TEMPORAL_ADDRESS": "127.0.0.1:1"})
    assert (await CommandLine(tmp_path / "home")("init")).code == 0
    ended = await relight("rollout", "status", "v0.0.74")
    assert (ended.code, ended.out) == (3, "")
    assert ended.said.startswith("error: Temporal does not answer at 127.0.0.1:1")


async def test_the_version_is_that_of_the_project(tmp_path: Path) -> None:
    ended = await CommandLine(tmp_path / "home")("--version")
    assert (ended.code, ended.out, ended.err) == (0, "0.1.0\n", "")


@pytest.mark.parametrize(
    ("words", "text"), [(("rollot",), "'rollout'"), (("up", "--no-lap"), "--no-lap")], ids=str
)
async def test_a_misspelt_command_or_option_is_bad_input(
    tmp_path: Path, words: tuple[str, ...], text: str
) -> None:
    ended = await InProcess(tmp_path / "home")(*words)
    assert (ended.code, ended.out) == (2, "")
    assert text in ended.said


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OperationFailedError("it failed"), 1),
        (BadInputError("no such thing"), 2),
        (RefusedError("not now"), 3),
        (UnknownTrackError("no such track"), 2),
        (ReleaseUnknownError("no such release"), 2),
        (StoreError("occupied"), 3),
        (RepositoryUnavailableError("gone"), 3),
        (TemporalUnreachableError("gone"), 3),
        (ChildFailedError("Temporal", "ended", Path("log"), ""), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_expected_error_is_one_message_and_an_exit_code(
    error: Exception,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "app", raising(error))
    assert cli.run([]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"error: {error}" in shown.err
    assert "Traceback" not in shown.err


def test_a_bug_is_not_an_expected_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "app", raising(KeyError("route")))
    with pytest.raises(KeyError):
        cli.run([])


def test_an_invalid_setting_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RELIGHT_SSH__PORT", "hunter2")
    with pytest.raises(ValidationError) as caught:
        Settings()
    monkeypatch.setattr(cli, "app", raising(caught.value))
    assert cli.run([]) == 2
    shown = capsys.readouterr().err
    assert "RELIGHT_SSH__PORT" in shown
    assert "hunter2" not in shown


def raising(error: Exception) -> Callable[..., None]:
    def run(**_: object) -> None:
        raise error

    return run
