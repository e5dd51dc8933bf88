"""Output of commands: JSON for programs, tables for people."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import BaseModel

from starter.cli import output


class Shown(BaseModel):
    zeta: datetime
    alpha: Path | None


def test_json_keeps_the_order_of_the_keys_and_is_valid(
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


def test_a_table_does_not_interpret_markup(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("route", "fault"), [("eu-1", "[unit] failed"), ("eu-2", None)])
    shown = capsys.readouterr().out
    assert "[unit] failed" in shown
    assert "-" in shown.splitlines()[-1]


def test_off_a_terminal_there_is_no_live_view() -> None:
    with output.live_view() as live:
        assert live is None
