"""What systemd says of a unit."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from relight.hosts.errors import UnreadableAnswerError
from relight.hosts.systemd import UnitState, parse_shown

FOLDER = Path(__file__).parent / "cases" / "systemd"
CASES: dict[str, Any] = {
    path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))
}


def parse_show(said: str) -> UnitState:
    (state,) = parse_shown(said)
    return state


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


def test_several_units_come_in_the_order_in_which_they_were_asked_for() -> None:
    for first in CASES.values():
        for second in CASES.values():
            states = parse_shown(f"{first['output'].strip()}\n\n{second['output'].strip()}")
            assert [asdict(state) for state in states] == [first["state"], second["state"]]


@pytest.mark.parametrize("said", ["\n\n{}", "{}\n\n", "{}\n\nMainPID=0"])
def test_a_unit_that_is_not_told_of_wholly_among_several_is_refused(said: str) -> None:
    with pytest.raises(UnreadableAnswerError):
        parse_shown(said.format(CASES["running"]["output"].strip()))
