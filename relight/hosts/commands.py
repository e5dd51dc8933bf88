"""sudo: how a command runs as root, and what sudo says where it may not. Nothing here does I/O."""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from relight.hosts.errors import UnreadableAnswerError

SUDO = ("sudo", "-n", "--")
"""Stands before a command that runs as root; it asks for no password."""

_MISSING = re.compile(r"^sudo: \S+: command not found$", re.MULTILINE)

# Each stands for a command that did not run. Of a host name that it cannot resolve sudo complains,
# too, and runs the command all the same.
_REFUSES = re.compile(
    # The user's shell speaks where there is no sudo, or none that he may run.
    r"^(?:\S*sh: (?:(?:line )?\d+: )?\S*sudo: (?:(?:command )?not found|Permission denied)"
    r"|sudo: (?:a password is required|a terminal is required|no valid sudoers sources"
    r"|account validation failure|effective uid is not 0|.* must be owned by uid 0)"
    r"|\S+ is not in the sudoers file|Sorry, user \S+ (?:is not allowed to|may not run) "
    r"|\S+ is not allowed to run sudo on).*$",
    re.MULTILINE,
)


def refusal(stderr: str) -> str | None:
    """Return the line by which sudo refused to run a command; None where it did not refuse."""
    found = _REFUSES.search(stderr)
    return found.group().strip() if found else None


def missing(stderr: str) -> str | None:
    """Return the line by which sudo says that there is no such command; None where it does not."""
    found = _MISSING.search(stderr)
    return found.group() if found else None


# The last line of an answer has its end, whether or not the command gave it one.
_TELL = """\
tell() { printf '%s\\n' "$said" | sed 's/^/ /'; printf '%s %d\\n' "$1" "$code"; }"""


@dataclass(frozen=True)
class Section:
    """One question's answer: standard output and error in one, and the exit code."""

    text: str
    exit_code: int


def ask(questions: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the one command that asks all questions, each a name without blanks and an argv."""
    script = [_TELL]
    for name, argv in questions.items():
        if " " in name:
            msg = f"the answer to {name!r} could not be told apart: its name has a blank"
            raise ValueError(msg)
        script.append(f"said=$({shlex.join(argv)} 2>&1 </dev/null); code=$?")
        script.append(shlex.join(["tell", name]))
    return ["/bin/sh", "-c", "\n".join(script)]


def parse(text: str, names: Collection[str], optional: Collection[str] = ()) -> dict[str, Section]:
    """Read answers that `ask` or `relight-host` told apart, without empty lines at either end.

    Args:
        text: all of them.
        names: whose answers there must be.
        optional: whose there may be.

    Raises:
        UnreadableAnswerError: one of `names` was not answered.
    """
    found: dict[str, Section] = {}
    lines: list[str] = []
    # str.splitlines knows ten ways to end a line; sed and a shell know one.
    for line in text.split("\n"):
        name, _, code = line.partition(" ")
        if line.startswith(" "):
            lines.append(line[1:])
        elif (name in names or name in optional) and code.isdecimal():
            found[name] = Section("\n".join(lines).strip("\n"), int(code))
            lines = []
    missing = [name for name in names if name not in found]
    if missing:
        raise UnreadableAnswerError(
            f"no answer to {', '.join(missing)}", attempted="read a host's answers", stderr=text
        )
    return found


# MERGEDOC """Several questions in one exec: a shell script whose answers can be told apart.
#
# On an open connection an exec is cheap for us, but each `sudo` on the host is not, and answers
# that are taken together belong together.
#
# Every line of an answer is indented; a line that is not says whose answer it was. So no answer,
# whatever it contains, can pass for the end of itself or for another.
# """
