"""What units that do not run require of their host, and did not find at their last start.

systemd leaves such a unit inactive, without a failure. Pure.
"""

import shlex
from collections.abc import Iterator, Sequence
from typing import Final

from relight.domain.text import visible_head

MAX_CONDITIONS: Final = 20
MAX_CONDITION_BYTES: Final = 300

_EXITED = "1"
"""How a command ended, in waitid's numbers."""

_FIELDS = 5
"""Of a condition: its kind, whether one of several is enough, whether it is negated, its argument,
and what was found: 1 met, -1 not met, 0 not tested."""


def parse_unmet(text: str) -> tuple[tuple[str, str], ...]:
    """Return the conditions that were not met, each with its unit.

    Args:
        text: lines of a unit, a property, and its value as `busctl` prints it:
            `box.service Conditions a(sbbsi) 1 "ConditionPathExists" false true "/etc/off" -1`.
            A line that cannot be read is passed over: what it tells only explains a state.
    """
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        try:
            unit, name, _, _, *values = shlex.split(line)
            unmet = list((_unmet_commands if name == "ExecCondition" else _unmet)(values))
        except (ValueError, IndexError):
            continue
        found += ((unit, visible_head(each, MAX_CONDITION_BYTES)) for each in unmet)
    return tuple(found[:MAX_CONDITIONS])


def _unmet(values: Sequence[str]) -> Iterator[str]:
    conditions = list(zip(*(values[at::_FIELDS] for at in range(_FIELDS)), strict=True))
    one_is_met = any(
        is_one_of == "true" and result == "1" for _, is_one_of, *_, result in conditions
    )
    for kind, is_one_of, is_negated, argument, result in conditions:
        if result.startswith("-") and not (is_one_of == "true" and one_is_met):
            marks = ("|" if is_one_of == "true" else "") + ("!" if is_negated == "true" else "")
            yield f"{kind}={marks}{argument}"


def _unmet_commands(values: Sequence[str]) -> Iterator[str]:
    rest = list(values)
    while rest:
        end = 2 + abs(int(rest[1]))
        # After the arguments: whether errors are ignored, four times, the process id.
        how, status = rest[end + 6 : end + 8]
        if (how, status) != (_EXITED, "0") and how != "0":
            yield f"ExecCondition={shlex.join(rest[2:end])}"
        rest = rest[end + 8 :]
