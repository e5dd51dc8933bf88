"""The conditions of units that were not started, as `busctl` prints them on a host."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.hosts.conditions import MAX_CONDITION_BYTES, MAX_CONDITIONS, parse_unmet

PATHS = (
    'c1.service Conditions a(sbbsi) 3 "ConditionPathExists" true true "/etc" -1 '
    '"ConditionPathExists" true false "/x" -1 '
    r'"ConditionPathExists" false false "/etc/\"a b\"" -1'
)
COMMANDS = (
    'c3.service ExecCondition a(sasbttttuii) 2 "/bin/true" 1 "/bin/true" false 1796006462769850 '
    '42768124183 1796006462774028 42768128360 963 1 0 "/bin/sh" 3 "/bin/sh" "-c" "exit 3" false '
    "1796006462774597 42768128930 1796006462783345 42768137677 964 1 3"
)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (
            PATHS,
            (
                "ConditionPathExists=|!/etc",
                "ConditionPathExists=|/x",
                'ConditionPathExists=/etc/"a b"',
            ),
        ),
        (PATHS.replace('"/x" -1', '"/x" 1'), ('ConditionPathExists=/etc/"a b"',)),
        (PATHS.replace("-1", "1"), ()),
        (PATHS.replace("-1", "0"), ()),
        (
            'c2.service Asserts a(sbbsi) 1 "AssertPathExists" false true "/etc" -1',
            ("AssertPathExists=!/etc",),
        ),
        ("c2.service Conditions a(sbbsi) 0", ()),
        (COMMANDS, ("ExecCondition=/bin/sh -c 'exit 3'",)),
        (COMMANDS.replace(" 964 1 3", " 964 2 9"), ("ExecCondition=/bin/sh -c 'exit 3'",)),
        (COMMANDS.replace(" 964 1 3", " 0 0 0"), ()),
        (PATHS[:-3], ()),
        (COMMANDS[:-3], ()),
        (COMMANDS.replace(' 1 "/bin/true"', ' -9 "/bin/true"'), ()),
    ],
)
def test_a_condition_that_was_not_met_is_written_as_in_its_unit(
    line: str, found: tuple[str, ...]
) -> None:
    unit = line.partition(" ")[0]
    assert parse_unmet(line) == tuple((unit, each) for each in found)


def test_what_a_host_says_is_visible_and_bounded() -> None:
    line = f'c2.service Asserts a(sbbsi) 1 "A" false true "\x1b[2J{"x" * 4000}" -1'
    found = parse_unmet("\n".join([line] * 100))
    assert len(found) == MAX_CONDITIONS
    assert all(each.isprintable() and len(each) <= MAX_CONDITION_BYTES for _, each in found)


@given(st.text(st.sampled_from('a"\\ -0123\n'), max_size=200))
def test_whatever_it_says_is_read_soon(text: str) -> None:
    begun = time.monotonic()
    assert len(parse_unmet(f"u ExecCondition a 1 {text}")) <= MAX_CONDITIONS
    assert time.monotonic() - begun < 1
