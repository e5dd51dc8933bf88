"""The pictures of states in the documentation are complete, and each state has a way out."""

import re
from collections import defaultdict
from enum import StrEnum
from pathlib import Path

import pytest

from relight.domain.rollout.rollout import RolloutPhase
from relight.domain.route import RouteStatus
from relight.store.tables import RecordStatus

TEXT = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()
STATES = {"route": RouteStatus, "machine": RecordStatus, "rollout": RolloutPhase}
END = "[*]"

of_each_noun = pytest.mark.parametrize(("noun", "statuses"), STATES.items(), ids=list(STATES))


def transitions(noun: str) -> dict[str, set[str]]:
    """Return the states that follow each state in the picture of a noun."""
    (picture,) = re.findall(rf"    state {noun} {{\n(.*?)\n    }}", TEXT, flags=re.DOTALL)
    following: dict[str, set[str]] = defaultdict(set)
    for line in picture.splitlines():
        found = re.fullmatch(r" +(\S+) --> ([^:\s]+)(?:: .+)?", line)
        assert found is not None, line
        before, after = (each.replace("_", " ") for each in found.groups())
        following[before].add(after)
    return following


def rows(noun: str) -> dict[str, tuple[str, str]]:
    """Return the two ways out of each state in the table of a noun."""
    _, _, after = TEXT.partition(f"| {noun} | it ends by itself | a person ends it |\n")
    table = after.split("\n\n", 1)[0].splitlines()[1:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]
    return {state.strip("`"): (itself, person) for state, itself, person in cells}


@of_each_noun
def test_the_picture_has_exactly_the_states_of_the_code(noun: str, statuses: type[StrEnum]):
    pictured = transitions(noun)
    reached = set().union(*pictured.values())
    assert (reached | set(pictured)) - {END} == set(statuses)
    assert set(statuses) <= reached


@of_each_noun
def test_every_state_can_be_left(noun: str, statuses: type[StrEnum]):
    assert set(statuses) <= set(transitions(noun))


@of_each_noun
def test_a_person_can_end_every_state_that_does_not_end_for_good(
    noun: str, statuses: type[StrEnum]
):
    ways, following = rows(noun), transitions(noun)
    assert list(ways) == list(statuses)
    for state, (_, person) in ways.items():
        assert "`relight " in person or following[state] == {END}, state
