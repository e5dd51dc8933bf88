"""Output of commands: JSON for programs, tables for people."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import BaseModel

from relight.domain.fault.fault import Fault, FaultClass
from starter.cli import output
from starter.cli.fault_text import fault_panel


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


HOSTILE = "\x1b]52;c;cHduZWQ=\x07\x9b2J\u202e"
SHOWN = r"\x1b]52;c;cHduZWQ=\x07\x9b2J\u202e"


class Text(BaseModel):
    text: str


def test_everything_that_is_printed_is_visible(capsys: pytest.CaptureFixture[str]) -> None:
    fault = Fault.model_construct(
        kind=HOSTILE,
        fault_class=FaultClass.HOST,
        summary=HOSTILE,
        stderr_tail=HOSTILE,
        journal_tail=(HOSTILE,),
        argv=(HOSTILE,),
        attempted=HOSTILE,
        host=HOSTILE,
        machine_key=HOSTILE,
        exit_code=1,
    )
    output.print_table((HOSTILE,), [(HOSTILE,)], title=HOSTILE)
    output.print_line(HOSTILE)
    output.note(HOSTILE)
    output.print_error(HOSTILE)
    output.stdout.print(fault_panel(HOSTILE, fault))
    printed = "".join(capsys.readouterr())
    assert printed.replace("\n", "").isprintable()
    # rich itself removes the bell and the like from the heads of a table.
    assert printed.count(SHOWN) >= 10


def test_json_is_valid_and_printable_and_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json([{"text": HOSTILE + "\U000e0041ü日"}])
    output.print_json_line(Text(text=HOSTILE))
    printed = capsys.readouterr().out
    assert printed.replace("\n", "").isprintable()
    *answer, line = printed.splitlines()
    assert json.loads("\n".join(answer)) == [{"text": HOSTILE + "\U000e0041ü日"}]
    assert json.loads(line) == {"text": HOSTILE}
