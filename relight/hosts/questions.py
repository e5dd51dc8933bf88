"""Several questions to a host in one command, and the answers in sections."""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from relight.hosts.errors import UnreadableAnswerError

_EXIT_CODE = re.compile(r"[0-9]{1,3}")

# The last line of an answer gets a newline even if the command printed none.
_PRINT_SECTION = """\
section() { printf '%s\\n' "$output" | sed 's/^/ /'; printf '%s %d\\n' "$1" "$code"; }"""


@dataclass(frozen=True)
class Section:
    """The answer to one question.

    Attributes:
        text: standard output and error together.
        exit_code: the command's exit code.
    """

    text: str
    exit_code: int


def questions_command(questions: Mapping[str, Sequence[str]]) -> list[str]:
    """Return one command that asks all questions.

    Args:
        questions: an argv by name. A name has no blanks.
    """
    script = [_PRINT_SECTION]
    for name, argv in questions.items():
        if " " in name:
            raise ValueError(f"the name of a question cannot contain a blank: {name!r}")
        script.append(f"output=$({shlex.join(argv)} 2>&1 </dev/null); code=$?")
        script.append(shlex.join(["section", name]))
    return ["/bin/sh", "-c", "\n".join(script)]


def parse_sections(
    text: str, names: Collection[str], optional: Collection[str] = ()
) -> dict[str, Section]:
    """Parse the sections of an answer to `questions_command` or of `relight-host`.

    Args:
        text: the whole output.
        names: the sections that must be there.
        optional: the sections that may be there.

    Returns:
        The sections by name, their text without empty lines at either end.

    Raises:
        UnreadableAnswerError: a section of `names` is missing, or one is there twice.
    """
    found: dict[str, Section] = {}
    lines: list[str] = []
    # str.splitlines splits at ten kinds of line ends; sed and the shell know one.
    for line in text.split("\n"):
        name, _, code = line.partition(" ")
        if line.startswith(" "):
            lines.append(line[1:])
        elif (name in names or name in optional) and _EXIT_CODE.fullmatch(code):
            if name in found:
                raise UnreadableAnswerError(
                    f"two answers to {name}", attempted="read a host's answers", stderr=text
                )
            found[name] = Section("\n".join(lines).strip("\n"), int(code))
            lines = []
    missing = [name for name in names if name not in found]
    if missing:
        raise UnreadableAnswerError(
            f"no answer to {', '.join(missing)}", attempted="read a host's answers", stderr=text
        )
    return found
