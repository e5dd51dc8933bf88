"""A .deb that a host fetches by itself, and believes only by its digest."""

import shlex
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath

from relight.domain.release import DebFile

PROGRAM = PurePosixPath("/usr/local/sbin/relight-host")
CONFIGURATION = PurePosixPath("/etc/relight/host")

SOURCES_FILE = "sources.list.d/relight.sources"
"""Our apt source, relative to /etc/apt: the only one that the program reads."""

SERVICE_EXIT_CODE = 90
"""How a change ends whose package was installed, and whose service did not start."""

NO_ANSWER_EXIT_CODE = 75
"""How a question ends that systemd does not answer, as while the host goes down."""

_TEXT = Path(__file__).parent / "files" / PROGRAM.name


@dataclass(frozen=True)
class Change:
    """What a host is to be brought to.

    Attributes:
        version: the exact version of the package.
        rollback: whether it may take the place of a newer one.
        deb: the file that the host fetches by its URL; apt finds one without a URL, or None.
    """

    version: str
    rollback: bool = False
    deb: DebFile | None = None

    def words(self) -> list[str]:
        """Return it as the program's last words."""
        words = [self.version, "rollback" if self.rollback else "upgrade"]
        if self.deb is not None and self.deb.url is not None:
            words += [self.deb.url, self.deb.sha256, str(self.deb.size_bytes)]
            words.append(self.deb.architecture)
        return words


def text() -> bytes:
    """Return the program."""
    return _TEXT.read_bytes()


def configuration(package: str, unit: str, executable: str, deb_urls: str) -> str:
    """Return the file that says which package and service of a host the program is about.

    Args:
        package: the Debian package.
        unit: the systemd unit that it carries.
        executable: the file that the unit's main process runs.
        deb_urls: how the address of every file begins that the host may fetch; empty for a host
            that fetches none.
    """
    values = {"PACKAGE": package, "UNIT": unit, "EXECUTABLE": executable, "DEB_URLS": deb_urls}
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


SUDO_RULE = f"ALL=(root) NOPASSWD: {PROGRAM}"
"""What the control plane's user may do as root, in the words of sudoers."""


def swap(unit: str, patience: timedelta, change: Change) -> list[str]:
    """Begin a change or attach to it, wait for its end, and tell how all stands."""
    return [*_call("swap"), unit, _seconds(patience), *change.words()]


def see(unit: str | None = None, patience: timedelta = timedelta()) -> list[str]:
    """Wait for a change, if one is named, and tell how all stands."""
    return [*_call("see"), *([unit, _seconds(patience)] if unit else [])]


def said(unit: str) -> list[str]:
    """Ask what a change wrote."""
    return [*_call("said"), unit]


def forget(unit: str) -> list[str]:
    """Have a change that ended forgotten. One that is not known is forgotten already."""
    return [*_call("forget"), unit]


def journal(lines: int) -> list[str]:
    """Ask for the daemon's last lines, of all its starts, with systemd's own remarks."""
    return [*_call("journal"), str(lines)]


def step(name: str) -> list[str]:
    """Ask what a step of the first boot wrote."""
    return [*_call("step"), name]


def install(change: Change) -> list[str]:
    """Bring the package to a version, from whatever state, while the caller waits."""
    return [*_call("install"), *change.words()]


def dry_run(change: Change) -> list[str]:
    """See that a change could be made, and make none."""
    return [*_call("rehearse"), *change.words()]


def serve() -> list[str]:
    """Have the service run what is installed, while the caller waits."""
    return _call("serve")


def _call(verb: str) -> list[str]:
    return [str(PROGRAM), verb]


def _seconds(patience: timedelta) -> str:
    return f"{patience.total_seconds():.0f}"


# MERGEDOC """`relight-host`, the program on a host that does as root what is to be done there.
#
# sudo lets the control plane's user run this program alone. Its text lies in `remote/host/`, and a
# host gets it at its first boot, together with a file that says which package it is about. Here is
# how it is called; nothing here does I/O but reading that text.
# """
