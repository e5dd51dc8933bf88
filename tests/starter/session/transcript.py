"""The form of a kept session, and what may differ between two plays of it.

    # A line of explanation.
    ! host eu-2 loses its network
    $ relight route list
    what standard output shows
    2> what standard error shows
    [exit 0; nothing changed]

A command may stand after where or how it is typed: `(80 columns) $ relight ...`. A line with `!` is
something that happens meanwhile; it has no output.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_COMMAND = re.compile(r"^(?:\((?P<how>[^)]*)\) )?\$ (?P<words>.+)$")
_END = re.compile(r"^\[exit .*\]$")


@dataclass(frozen=True)
class Typed:
    """A command.

    Attributes:
        how: where or how it is typed; empty for a pipe in the folder of the fleet.
    """

    words: str
    how: str

    def __str__(self) -> str:
        return f"({self.how}) $ {self.words}" if self.how else f"$ {self.words}"


@dataclass(frozen=True)
class Happens:
    """Something that happens between two commands."""

    what: str


@dataclass(frozen=True)
class Remark:
    """A line for readers."""

    line: str


def read(text: str) -> Iterator[Typed | Happens | Remark]:
    """Yield the parts of a session, without the outputs."""
    in_output = False
    for line in text.splitlines():
        if in_output:
            in_output = _END.match(line) is None
        elif command := _COMMAND.match(line):
            yield Typed(command["words"], command["how"] or "")
            in_output = True
        elif line.startswith("! "):
            yield Happens(line.removeprefix("! "))
        else:
            yield Remark(line)


_DIFFERS = (
    # On a terminal the line is broken, at a place that depends on the folder's name.
    (
        re.compile(r"context environment\s+\([^)]*\)"),
        "context environment (<folder>/fleet.db, fleet <id>)",
    ),
    (re.compile(r"\b20\d\d-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00)?"), "<time>"),
    (re.compile(r"\b\d\d-\d\d \d\d:\d\d:\d\d\b"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "<time>"),
    (re.compile(r"\b\d+ (s|min|h|d)( \d+ (s|min|h))?(?= |$|[,;:.)])", re.M), "<duration>"),
    (re.compile("[─━]{3,}"), "───"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{20,}\b"), "<run>"),
    (re.compile(r"\b[0-9a-f]{16,64}\b"), "<digest>"),
    (re.compile(r"\bfleet [0-9a-f]{8}\b"), "fleet <id>"),
    (re.compile(r"\bfake-\d+\b"), "<provider id>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<address>"),
    (re.compile(r"192\.0\.2\.\d+"), "<host>"),
    (re.compile(r"SHA256:[A-Za-z0-9+/]{43}"), "SHA256:<digest>"),
    (re.compile(r"\b\d+@[A-Za-z0-9.-]+(?=[:, ]|$)", re.M), "<worker>"),
    (re.compile(r"[a-z_][a-z0-9_-]*@[A-Za-z0-9.-]+(?=[:, \"]|$)", re.M), "<person>"),
    (re.compile(r"workflows-[0-9a-f]{8}"), "<queue>"),
)


def without_what_differs(text: str, folder: str) -> str:
    """Return a text in which times, durations, ids and places have names."""
    text = text.replace(folder, "<folder>")
    for pattern, name in _DIFFERS:
        text = pattern.sub(name, text)
    # What had another width before may have moved the columns of a table.
    return "\n".join(re.sub(r"(?<=\S) {2,}", "  ", line.rstrip()) for line in text.splitlines())
