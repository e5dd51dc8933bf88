"""The state of the service's packages on a host, from dpkg. Parsers are pure."""

import re
from dataclasses import dataclass

from relight.domain.text import head
from relight.hosts.errors import UnreadableAnswerError
from relight.hosts.units import WORD

_VERIFIED = re.compile(r"(?:[?5.MT]{9}|missing) +(?:(?P<kind>[a-z]) )?(?P<path>/.*)")
_STATUS = re.compile(r"[uihrp?][ncHUFWti?][ Rr?]?")
_VERSION = re.compile(r"[A-Za-z0-9.+:~-]{0,256}")
_PACKAGE_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]{0,255}")

MAX_SIBLINGS = 256
"""How many further packages of the service are read."""


@dataclass(frozen=True)
class PackageState:
    """The state of a package in dpkg's database.

    Attributes:
        status: the abbreviated status, stripped, as in `ii`, `hi` (held), `iF` (half-configured)
            or `iHR`; `un` if dpkg does not know the package.
        version: empty if dpkg does not know the package.
        architecture: empty if dpkg does not know the package.
    """

    status: str
    version: str
    architecture: str

    @property
    def is_held(self) -> bool:
        """Whether an operator put the package on hold."""
        return self.status.startswith("h")

    def is_installed(self, version: str) -> bool:
        """Whether the package is fully installed at exactly this version, held or not."""
        return self.status in {"ii", "hi"} and self.version == version


ABSENT = PackageState(status="un", version="", architecture="")


@dataclass(frozen=True)
class Sibling:
    """A further package of the service.

    Attributes:
        version: the one that the last change left; empty if that is unknown.
        state: in dpkg's database now.
    """

    name: str
    version: str
    state: PackageState


def parse_query(text: str) -> PackageState:
    """Parse one line of `dpkg-query`: status, version and architecture, separated by tabs.

    Empty text means that dpkg does not know the package.

    Raises:
        UnreadableAnswerError: it is not one line of three fields.
    """
    lines = text.splitlines()
    if not lines:
        return ABSENT
    fields = lines[0].split("\t")
    well_formed = (
        len(lines) == 1
        and len(fields) == 3
        and _STATUS.fullmatch(fields[0])
        and _VERSION.fullmatch(fields[1])
        and WORD.fullmatch(fields[2])
    )
    if not well_formed:
        raise UnreadableAnswerError(
            f"unexpected output of dpkg-query: {lines[0]!r}",
            attempted="read a package's state",
            stderr=text,
        )
    return PackageState(status=fields[0].strip(), version=fields[1], architecture=fields[2])


def parse_siblings(text: str) -> tuple[Sibling, ...]:
    """Parse a line for each further package: name, version of the last change, and state.

    Raises:
        UnreadableAnswerError: a line is malformed, or there are too many.
    """
    lines = text.splitlines()
    if len(lines) > MAX_SIBLINGS:
        raise UnreadableAnswerError(
            f"there are more than {MAX_SIBLINGS} packages", attempted="read the service's packages"
        )
    return tuple(map(_sibling, lines))


def _sibling(line: str) -> Sibling:
    name, _, rest = line.partition("\t")
    version, _, state = rest.partition("\t")
    if not (_PACKAGE_NAME.fullmatch(name) and _VERSION.fullmatch(version)):
        raise UnreadableAnswerError(
            f"not a package and its version: {head(line, 64)!r}",
            attempted="read the service's packages",
            stderr=line,
        )
    return Sibling(name, version, parse_query(state))


def parse_verify(text: str) -> tuple[str, ...]:
    """Parse the output of `dpkg --verify`; return the files that are missing or changed.

    A line is `??5?????? /usr/bin/lantern-box`, or `missing     /usr/bin/lantern-box`. A
    configuration file has a `c` between the two; an edited one is not damage.
    """
    damaged = []
    for line in text.splitlines():
        found = _VERIFIED.fullmatch(line)
        if found is not None and found["kind"] != "c":
            damaged.append(found["path"])
    return tuple(damaged)
