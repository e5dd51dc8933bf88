"""Several questions in one exec: a shell script whose answers can be told apart.

On an open connection an exec is cheap for us, but each `sudo` on the host is not, and answers
that are taken together belong together.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from remote.errors import UnreadableAnswerError

_MARK = "%%relight"


@dataclass(frozen=True)
class Section:
    """One question's answer: standard output and error in one, and the exit code."""

    text: str
    exit_code: int


def ask(questions: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the one command that asks all `questions`, each named and an argv.

    """
    script: list[str] = []
    for name, argv in questions.items():
        script.append(f"said=$({shlex.join(argv)} 2>&1); code=$?")
        script.append(f"printf '%s\\n{_MARK} {name} %d\\n' \"$said\" \"$code\"")
    return ["/bin/sh", "-c", "\n".join(script)]


def parse(text: str, names: Sequence[str]) -> dict[str, Section]:
    """Read the answer to `ask`.

    Raises:
        UnreadableAnswerError: one of `names` was not answered.
    """
    found: dict[str, Section] = {}
    lines: list[str] = []
    for line in text.splitlines():
        words = line.split(" ")
        if words[0] == _MARK and len(words) == 3 and words[1] in names:
            found[words[1]] = Section("\n".join(lines).strip("\n"), int(words[2]))
            lines = []
        else:
            lines.append(line)
    missing = [name for name in names if name not in found]
    if missing:
        raise UnreadableAnswerError(
            f"no answer to {', '.join(missing)}", attempted="read a host's answers", stderr=text
        )
    return found
