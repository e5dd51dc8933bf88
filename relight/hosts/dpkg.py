"""What dpkg says of a package. Nothing here does I/O.

A version alone says nothing: dpkg prints one for removed and half-configured packages too.
"""

import re
from dataclasses import dataclass

from relight.hosts.errors import UnreadableAnswerError

_VERIFIED = re.compile(r"(?:[?5.MT]{9}|missing) +(?:(?P<kind>[a-z]) )?(?P<path>/.*)")
_STATUS = re.compile(r"[uihrp?][ncHUFWti?][ Rr?]?")


@dataclass(frozen=True)
class PackageState:
    """What dpkg says of a package.

    Attributes:
        status: its abbreviated status, stripped, as in `ii`, `hi` (held), `iF` (half-configured)
            or `iHR`; `un` where dpkg does not know the package.
        version: empty where dpkg does not know the package.
        architecture: likewise.
    """

    status: str
    version: str
    architecture: str

    @property
    def is_held(self) -> bool:
        """Whether an operator forbade to change it."""
        return self.status.startswith("h")


ABSENT = PackageState(status="un", version="", architecture="")


def parse_query(text: str) -> PackageState:
    """Read a line of status, version and architecture; empty is a package that is not known.

    Raises:
        UnreadableAnswerError: it is not one line of three fields.
    """
    lines = text.splitlines()
    if not lines:
        return ABSENT
    fields = lines[0].split("\t")
    if len(lines) > 1 or len(fields) != 3 or not _STATUS.fullmatch(fields[0]):
        raise UnreadableAnswerError(
            f"dpkg-query said {lines[0]!r}", attempted="read a package's state", stderr=text
        )
    return PackageState(status=fields[0].strip(), version=fields[1], architecture=fields[2])


def installed_exactly(state: PackageState, version: str) -> bool:
    """Whether the package is wholly installed at this very version, held or not."""
    return state.status in {"ii", "hi"} and state.version == version


def parse_verify(text: str) -> tuple[str, ...]:
    """Return the files that are missing or changed; an edited configuration file is no damage.

    A line is `??5?????? /usr/bin/lantern-box`, or `missing     /usr/bin/lantern-box`; for a
    configuration file a `c` stands between the two.
    """
    damaged = []
    for line in text.splitlines():
        found = _VERIFIED.fullmatch(line)
        if found is not None and found["kind"] != "c":
            damaged.append(found["path"])
    return tuple(damaged)
