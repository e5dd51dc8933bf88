"""Several questions in one exec: a shell script whose answers can be told apart.

On an open connection an exec is cheap for us, but each `sudo` on the host is not, and answers
that are taken together belong together.

Every line of an answer is indented; a line that is not says whose answer it was. So no answer,
whatever it contains, can pass for the end of itself or for another.
"""

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from remote.errors import UnreadableAnswerError

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
