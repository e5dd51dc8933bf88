"""Output of commands: JSON for programs, tables for people."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import BaseModel
from rich.console import Console

from relight.domain.fault.advice import FaultSubject
from relight.domain.fault.fault import Fault, FaultClass
from starter.cli import output
from starter.cli.fault_text import fault_panel
from starter.local.home import prepare_home
from tests.support.command_line import typed_in


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
    output.stdout.print(fault_panel(FaultSubject(HOSTILE), fault))
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


DIGEST = "0123456789abcdef" * 4
DATE = "2026-11-29 12:00:00"


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize(
    "row",
    [
        ("arm64", f"pool/main/l/lantern-box/{'x' * 30}_0.0.74_arm64.deb", 5124288, DIGEST),
        ("r" * 48, "track-of-a-long-name", "hetzner/nbg1-dc3", "2001:db8::1", DATE, "12 min 30 s"),
        ("r" * 48, DATE, "a reason of many words, " * 9, None),
        ("short", DATE, "a reason of many words, " * 9, f"with {DIGEST} in it"),
    ],
)
def test_a_table_keeps_names_dates_and_digests_whole_and_fits(
    width: int, row: tuple[object, ...]
) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    heads = ("name", "second", "third", "fourth", "fifth", "sixth")[: len(row)]
    console.print(output.Rows(heads, [row, row]))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    words = " ".join(shown.split())
    for cell in row:
        text = "-" if cell is None else str(cell).strip()
        whole = text if len(text) <= 25 or " " not in text else None
        assert shown.count(whole) >= 2 if whole else text.split()[0] in words
    assert shown.count(DIGEST) == 2 * sum(DIGEST in str(cell) for cell in row)


URL = f"https://packages.example/{'a-long-folder/' * 9}lantern-box_0.0.74_arm64.deb"


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("row", [("arm64", URL, 5124288), ("arm64", f"it fetched {URL} twice", 1)])
def test_a_word_that_is_longer_than_a_line_stays_whole_on_one(
    width: int, row: tuple[object, ...]
) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    rows = output.Rows(("name", "fetched from", "bytes"), [row], title=f"a release of {URL}")
    console.print(rows, crop=False)
    lines = console.export_text().splitlines()
    assert sum(URL in line for line in lines) == 2
    assert max(len(line) for line in lines if URL not in line) <= width


async def test_a_long_path_is_whole_in_a_pipe(tmp_path: Path) -> None:
    home = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 4, ".relight")
    prepare_home(home)
    for words in (("context", "show"), ("context", "list")):
        ended = await typed_in(home.parent, *words)
        assert (ended.code, ended.err) == (0, "")
        assert any(str(home) in line for line in ended.out.splitlines()), ended.out


def test_a_pipe_is_100_columns_wide() -> None:
    assert output.stdout.width <= 100


APT = (
    "Reading package lists...",
    "Get:1 http://192.0.2.1 stable/main arm64 lantern-box 0.0.75 [5124 kB]",
    "(Reading database ... \r(Reading database ... 5%\\r(Reading database ... 100%",
    "(Reading database ... 12034 files and directories currently installed.)",
    "Preparing to unpack .../lantern-box_0.0.75_arm64.deb ...",
    "Setting up lantern-box (0.0.75) ...",
    "dpkg: error processing package lantern-box (--configure):",
)


def test_a_shown_fault_is_without_the_progress_of_apt_and_the_recorded_one_is_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fault = Fault(
        kind="maintainer-script-failed",
        fault_class=FaultClass.RELEASE,
        summary="its postinst failed",
        stderr_tail="\n".join(APT),
        journal_tail=APT,
    )
    output.stdout.print(fault_panel(FaultSubject("eu-1"), fault))
    shown = capsys.readouterr().out
    assert shown.count("Setting up lantern-box") == shown.count("dpkg: error processing") == 2
    for noise in ("Reading", "Get:1", "Preparing", "%"):
        assert noise not in shown
    assert "Get:1" in fault.stderr_tail
    assert "5%" in "".join(fault.journal_tail)


def test_an_output_of_nothing_but_progress_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    fault = Fault(
        kind="change-timed-out",
        fault_class=FaultClass.HOST,
        summary="it hangs",
        journal_tail=("(Reading database ... 5%",),
    )
    output.stdout.print(fault_panel(FaultSubject("eu-1"), fault))
    assert "(Reading database ... 5%" in capsys.readouterr().out
