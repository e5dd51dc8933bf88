"""The command line itself: what it lists, how it ends, and what a program can rely on."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from relight.engine.errors import ChildFailedError, TemporalUnreachableError
from relight.releases.errors import ReleaseUnknownError, RepositoryUnavailableError
from relight.settings import Settings
from relight.store.errors import FleetError, UnknownTrackError
from starter import cli
from starter.cli import output
from starter.cli.errors import (
    BadInputError,
    OperationFailedError,
    RefusedError,
)


def relight(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "starter.cli", *words], capture_output=True, text=True, check=False
    )


def test_help_lists_every_command_without_importing_what_they_stand_on() -> None:
    loaded = "import sys, starter.cli; sys.argv = ['relight', '--help']; starter.cli._run(); "
    loaded += (
        "print([name for name in ('temporalio', 'sqlmodel', 'asyncssh') if name in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    ).stdout
    for name in ("up", "down", "lab", "worker", "settings", "track", "route", "release"):
        assert f"│ {name} " in shown
    assert shown.splitlines()[-1] == "[]"


def test_a_mistyped_command_is_bad_input_and_the_right_one_is_named() -> None:
    ended = relight("rollot")
    assert ended.returncode == 2
    assert "'rollout'" in ended.stderr


def test_a_mistyped_option_is_bad_input() -> None:
    ended = relight("up", "--no-lap")
    assert ended.returncode == 2
    assert "--no-lap" in ended.stderr


def test_help_of_a_command_is_its_own() -> None:
    ended = relight("up", "--help")
    assert ended.returncode == 0
    assert "relight up --detach" in ended.stdout


def test_the_version_is_the_projects() -> None:
    assert relight("--version").stdout.strip() == "0.1.0"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OperationFailedError("it failed"), 1),
        (BadInputError("no such thing"), 2),
        (RefusedError("not now"), 3),
        (UnknownTrackError("no such track"), 2),
        (ReleaseUnknownError("no such release"), 2),
        (FleetError("occupied"), 3),
        (RepositoryUnavailableError("gone"), 3),
        (TemporalUnreachableError("gone"), 3),
        (ChildFailedError("Temporal", "ended", Path("log"), ""), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_expected_error_is_one_clear_line_and_an_exit_code(
    error: Exception,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "app", raising(error))
    assert cli._run() == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"error: {error}" in shown.err
    assert "Traceback" not in shown.err


def test_a_bug_is_not_taken_for_an_expected_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "app", raising(KeyError("route")))
    with pytest.raises(KeyError):
        cli._run()


def test_a_bad_setting_is_named_and_its_value_kept_to_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RELIGHT_SSH__PORT", "hunter2")
    with pytest.raises(ValidationError) as caught:
        Settings()
    monkeypatch.setattr(cli, "app", raising(caught.value))
    assert cli._run() == 2
    shown = capsys.readouterr().err
    assert "ssh.port" in shown
    assert "hunter2" not in shown


class Shown(BaseModel):
    zeta: datetime
    alpha: Path | None


def test_json_keeps_the_order_of_the_keys_and_can_be_read_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = Shown(zeta=datetime(2026, 1, 2, tzinfo=UTC), alpha=None)
    output.print_json([shown, {"long": "x" * 300, "markup": "[red]"}])
    text = capsys.readouterr().out
    assert json.loads(text) == [
        {"zeta": "2026-01-02T00:00:00Z", "alpha": None},
        {"long": "x" * 300, "markup": "[red]"},
    ]
    assert text.index("zeta") < text.index("alpha")


def test_a_table_shows_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("route", "fault"), [("eu-1", "[unit] failed"), ("eu-2", None)])
    shown = capsys.readouterr().out
    assert "[unit] failed" in shown
    assert "-" in shown.splitlines()[-1]


def raising(error: Exception) -> Callable[..., None]:
    def run(**_: str) -> None:
        raise error

    return run
