"""What systemd says of a unit."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from remote import systemd
from remote.errors import UnreadableAnswerError
from remote.systemd import parse_show

FOLDER = Path(__file__).parent / "cases" / "systemd"
CASES: dict[str, Any] = {
    path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))
}


@pytest.mark.parametrize("name", CASES)
def test_a_units_state_is_read(name: str) -> None:
    case = CASES[name]
    state = parse_show(case["output"])
    assert asdict(state) == case["state"]
    assert state.is_running == case["is_running"]
    assert state.is_masked == case["is_masked"]


def test_properties_come_in_systemds_order_and_not_in_ours() -> None:
    lines = CASES["running"]["output"].splitlines()
    assert parse_show("\n".join(reversed(lines))) == parse_show("\n".join(lines))


@pytest.mark.parametrize("name", ["LoadState", "ActiveState", "SubState", "Result"])
def test_an_answer_without_a_state_is_refused(name: str) -> None:
    lines = CASES["running"]["output"].splitlines()
    said = "\n".join(line for line in lines if not line.startswith(f"{name}="))
    with pytest.raises(UnreadableAnswerError, match=name):
        parse_show(said)


@pytest.mark.parametrize(
    "said", ["", "Failed to connect to bus: No such file or directory\n", "MainPID=many\n"]
)
def test_what_systemctl_never_answers_is_refused(said: str) -> None:
    with pytest.raises(UnreadableAnswerError):
        parse_show(said)


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(UnreadableAnswerError, match="many"):
        parse_show(CASES["running"]["output"].replace("MainPID=812", "MainPID=many"))


def test_all_that_is_read_is_asked_for() -> None:
    (asked,) = (argument for argument in systemd.show("x.service") if "=" in argument)
    names = set(asked.partition("=")[2].split(","))
    answered = {line.partition("=")[0] for line in CASES["running"]["output"].splitlines()}
    assert names == answered


@pytest.mark.parametrize(
    "argv",
    [
        systemd.show("--help"),
        systemd.restart("--help"),
        systemd.enable("--help"),
        systemd.enable_now("--help"),
        systemd.stop("--help"),
        systemd.reset_failed("--help"),
    ],
    ids=lambda argv: argv[1],
)
def test_a_units_name_is_never_an_option(argv: list[str]) -> None:
    assert argv[-2:] == ["--", "--help"]


def test_the_journal_is_asked_for_so_many_lines_without_a_pager() -> None:
    assert systemd.unit_journal("x.service", 20) == [
        *("journalctl", "--no-pager", "--quiet", "--lines=20", "--unit=x.service")
    ]
    assert systemd.invocation_output("abc", 5)[-2:] == [
        "--output=cat",
        "_SYSTEMD_INVOCATION_ID=abc",
    ]
