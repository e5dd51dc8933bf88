"""Units as systemctl shows them, and the journal of the service."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from relight.hosts.errors import (
    TAIL_LINES,
    HostProgramMissingError,
    SudoRefusedError,
    UnreadableAnswerError,
)
from relight.hosts.observation import journal
from relight.hosts.units import UnitState, parse_units
from tests.support.memory_shell import MemoryHost

FOLDER = Path(__file__).parent / "cases" / "systemd"
CASES: dict[str, Any] = {
    path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))
}


def parse_one(text: str) -> UnitState:
    (state,) = parse_units(text)
    return state


def expected(case: dict[str, Any]) -> dict[str, Any]:
    return {**case["state"], "triggered_by": tuple(case["state"]["triggered_by"])}


@pytest.mark.parametrize("name", CASES)
def test_a_units_state_is_parsed(name: str) -> None:
    case = CASES[name]
    state = parse_one(case["output"])
    assert asdict(state) == expected(case)
    assert state.is_running == case["is_running"]
    assert state.is_masked == case["is_masked"]


def test_properties_may_have_any_order() -> None:
    lines = CASES["running"]["output"].splitlines()
    assert parse_one("\n".join(reversed(lines))) == parse_one("\n".join(lines))


@pytest.mark.parametrize("name", ["LoadState", "ActiveState", "SubState", "Result"])
def test_a_missing_state_is_refused(name: str) -> None:
    lines = CASES["running"]["output"].splitlines()
    text = "\n".join(line for line in lines if not line.startswith(f"{name}="))
    with pytest.raises(UnreadableAnswerError, match=name):
        parse_one(text)


@pytest.mark.parametrize(
    "text", ["Failed to connect to bus: No such file or directory\n", "MainPID=many\n"]
)
def test_other_output_of_systemctl_is_refused(text: str) -> None:
    with pytest.raises(UnreadableAnswerError):
        parse_one(text)


def test_a_pattern_that_no_unit_matches_shows_nothing() -> None:
    assert parse_units("") == []


def test_more_units_than_a_service_has_are_refused() -> None:
    with pytest.raises(UnreadableAnswerError, match="more than 256"):
        parse_units("\n\n".join([CASES["running"]["output"].strip()] * 257))


def test_an_invalid_number_is_refused() -> None:
    with pytest.raises(UnreadableAnswerError, match="many"):
        parse_one(CASES["running"]["output"].replace("MainPID=812", "MainPID=many"))


def test_several_units_keep_their_order() -> None:
    for first in CASES.values():
        for second in CASES.values():
            states = parse_units(f"{first['output'].strip()}\n\n{second['output'].strip()}")
            assert [asdict(state) for state in states] == [expected(first), expected(second)]


@pytest.mark.parametrize("text", ["\n\n{}", "{}\n\n", "{}\n\nMainPID=0"])
def test_an_incomplete_unit_among_several_is_refused(text: str) -> None:
    with pytest.raises(UnreadableAnswerError):
        parse_units(text.format(CASES["running"]["output"].strip()))


async def test_the_last_journal_lines_are_read_as_root_oldest_first() -> None:
    host = MemoryHost(journal=["cannot bind", "exiting"])
    assert await journal(host) == ("cannot bind", "exiting")
    assert host.ran == [f"relight-host journal {TAIL_LINES}"]
    assert host.as_root == set(host.ran)


async def test_an_empty_journal_has_no_lines() -> None:
    assert await journal(MemoryHost()) == ()


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("sudo: a password is required", SudoRefusedError),
        ("sudo: /usr/local/sbin/relight-host: command not found", HostProgramMissingError),
    ],
)
async def test_a_host_that_does_not_run_the_program_is_an_error(
    line: str, kind: type[Exception]
) -> None:
    host = MemoryHost(answers={"relight-host": (1, "", f"{line}\n")})
    with pytest.raises(kind, match=line):
        await journal(host)
