"""systemd unit files, as `systemd.syntax(7)` describes them. Pure.

A file that systemd would read with warnings is read too: a line that is none is passed over.
"""

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

_PREFIXES = "@-:+!|"
"""Of a program in `ExecStart` and the like: they say how it is run."""


@dataclass(frozen=True)
class UnitFile:
    """A unit file with its drop-ins.

    Attributes:
        values: those of each key in each section, in the order of the files.
    """

    values: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    def all(self, section: str, key: str) -> tuple[str, ...]:
        """Return all values of a key."""
        return self.values.get((section, key), ())

    def last(self, section: str, key: str, default: str = "") -> str:
        """Return the value that counts where a key can have one."""
        return (*(default,), *self.all(section, key))[-1]

    def words(self, section: str, *keys: str) -> list[str]:
        """Return the words of all values of keys."""
        return " ".join(value for key in keys for value in self.all(section, key)).split()

    def keys(self, section: str, *prefixes: str) -> list[str]:
        """Return the keys of a section that begin with one of these prefixes and have values."""
        return [
            key
            for (inside, key), values in self.values.items()
            if inside == section and key.startswith(prefixes) and values
        ]

    def commands(self, key: str) -> list[list[str]]:
        """Return the commands of a key of the section Service: the program and its arguments.

        A program has no prefixes, and no other name than its own (`@/bin/box name`).
        """
        return [
            command
            for value in self.all("Service", key)
            for part in _parts(words_of(value))
            if (command := _command(part))
        ]


def read_unit(texts: Iterable[str]) -> UnitFile:
    """Return a unit file.

    Args:
        texts: the contents of the file and of its drop-ins, in the order in which they count.
    """
    values: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for text in texts:
        section = ""
        for line in _lines(text):
            key, equals, value = (part.strip() for part in line.partition("="))
            if line.startswith("[") and line.endswith("]"):
                section = line[1:-1]
            elif not equals:
                continue
            elif value:
                values[section, key].append(value)
            else:  # An empty value takes back those before it.
                values[section, key].clear()
    return UnitFile({key: tuple(each) for key, each in values.items()})


def words_of(value: str) -> list[str]:
    """Return the words of a command or of an assignment, without their quotes."""
    try:
        return shlex.split(value)
    except ValueError:  # A quote is open.
        return value.split()


def read_environment(text: str) -> dict[str, str]:
    """Return the variables of an environment file."""
    assigned = (line.partition("=") for line in _lines(text) if "=" in line)
    return {
        name.strip().removeprefix("export "): " ".join(words_of(value))
        for name, _, value in assigned
    }


def _lines(text: str) -> Iterator[str]:
    """Yield the lines that are no comments; one that ends with a backslash goes on in the next."""
    begun = ""
    for line in text.splitlines():
        stripped = line.strip()
        # A comment between the lines of a continued one does not end it.
        if stripped.startswith(("#", ";")):
            continue
        if stripped.endswith("\\"):
            begun += f"{stripped[:-1]} "
            continue
        if whole := (begun + stripped).strip():
            yield whole
        begun = ""
    if whole := begun.strip():
        yield whole


def _parts(words: list[str]) -> Iterator[list[str]]:
    """Yield the commands of a line: `;` as a word of its own ends one."""
    part: list[str] = []
    for word in words:
        if word == ";":
            yield part
            part = []
        else:
            part.append(word)
    yield part


def _command(words: list[str]) -> list[str]:
    if not words:
        return []
    program = words[0].lstrip(_PREFIXES)
    prefixes = words[0][: len(words[0]) - len(program)]
    return [program, *words[2 if "@" in prefixes else 1 :]]
