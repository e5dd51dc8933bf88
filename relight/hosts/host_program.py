"""`relight-host`, the program on a host that does everything that needs root.

sudo lets the control plane's user run this program only. A host gets it at its first boot,
together with a configuration file that names its package and service. This module builds calls of
the program; its only I/O is reading the program's text from `files/`.
"""

import shlex
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath

from relight.domain.release import DebFile
from relight.domain.service import Service

PROGRAM = PurePosixPath("/usr/local/sbin/relight-host")
CONFIGURATION = PurePosixPath("/etc/relight/host")

SUDO_RULE = f"ALL=(root) NOPASSWD: NOSETENV: {PROGRAM}"
"""What the control plane's user may do as root, in the syntax of sudoers: also where a host's
defaults let callers set variables, such as LD_PRELOAD."""

SOURCES_FILE = "sources.list.d/relight.sources"
"""Relight's apt source, relative to /etc/apt: the only one that the program reads at first."""

SERVICE_EXIT_CODE = 90
"""Exit code of a change whose package was installed and whose service did not start."""

UNKNOWN_CALL_EXIT_CODE = 64
"""Exit code of a call that the program refuses, or does not know because it is older."""

NO_ANSWER_EXIT_CODE = 75
"""Exit code of a call that systemd did not answer, as while the host shuts down."""

_FILES = Path(__file__).parent / "files"
_PART = "processes.sh"


@dataclass(frozen=True)
class Change:
    """The package version that a host is changed to.

    Attributes:
        version: the exact version of the package.
        rollback: whether it may replace a newer version.
        deb: the file that the host fetches if it has a URL; otherwise apt finds the package.
    """

    version: str
    rollback: bool = False
    deb: DebFile | None = None

    def words(self) -> list[str]:
        """Return the change as the program's last arguments."""
        words = [self.version, "rollback" if self.rollback else "upgrade"]
        if self.deb is not None and self.deb.url is not None:
            words += [self.deb.url, self.deb.sha256, str(self.deb.size_bytes)]
            words.append(self.deb.architecture)
        return words


def text() -> bytes:
    """Return the program as a host gets it: in one file, and without the lines that are comments.

    Providers limit the size of a first boot's data.
    """
    interpreter, _, rest = source().partition("\n")
    lines = [line for line in rest.splitlines() if not line.lstrip().startswith("#")]
    return "\n".join((interpreter, *lines, "")).encode()


def source() -> str:
    """Return the program's source, with its comments."""
    part = (_FILES / _PART).read_text("utf-8")
    return (_FILES / PROGRAM.name).read_text("utf-8").replace(f". {_PART}\n", part)


def configuration(service: Service, deb_urls: str) -> str:
    """Return the configuration file of a host, in shell syntax.

    Args:
        service: the package and service that the program may change.
        deb_urls: the prefix of every URL that the host may fetch a package from; empty for a host
            that fetches none.
    """
    values = {
        "PACKAGE": service.package,
        "UNIT": service.unit,
        "MORE_UNITS": " ".join(service.more_units),
        "EXECUTABLE": service.executable,
        "ON_CHANGE": service.on_change,
        "STATE_FILES": "\n".join(service.state_files),
        "DEB_URLS": deb_urls,
    }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def swap(unit: str, wait: timedelta, deadline: timedelta, change: Change) -> list[str]:
    """Return the call that starts a transaction or attaches to it, waits, and observes the host.

    Args:
        unit: the transaction's unit.
        wait: how long the call waits for its end.
        deadline: when the host kills the transaction, after its start.
        change: what it does.
    """
    return [*_call("swap"), unit, _seconds(wait), _seconds(deadline), *change.words()]


def observe(unit: str | None = None, wait: timedelta = timedelta()) -> list[str]:
    """Return the call that waits for a transaction, if one is named, and observes the host."""
    return [*_call("observe"), *([unit, _seconds(wait)] if unit else [])]


def log(unit: str) -> list[str]:
    """Return the call that prints what a transaction wrote."""
    return [*_call("log"), unit]


def forget(unit: str) -> list[str]:
    """Return the call that stops and deletes a transaction. Absent is no error."""
    return [*_call("forget"), unit]


def journal(lines: int, *, follow: bool = False) -> list[str]:
    """Return the call that prints the last lines of the service's journal, over all its starts.

    Args:
        lines: how many.
        follow: then print each new line, without an end.
    """
    return [*_call("journal"), str(lines), *(["follow"] if follow else [])]


def step(name: str) -> list[str]:
    """Return the call that prints what a step of the first boot wrote."""
    return [*_call("step"), name]


def install(change: Change) -> list[str]:
    """Return the call that installs a version, from any state, while the caller waits."""
    return [*_call("install"), *change.words()]


def dry_run(change: Change) -> list[str]:
    """Return the call that checks whether a version could be installed, and installs nothing."""
    return [*_call("dry-run"), *change.words()]


def serve() -> list[str]:
    """Return the call that makes the service run the installed file, while the caller waits."""
    return _call("serve")


def host_key() -> list[str]:
    """Return the call that changes the SSH host key to the second of two keys that it reads."""
    return _call("host-key")


def _call(subcommand: str) -> list[str]:
    return [str(PROGRAM), subcommand]


def _seconds(wait: timedelta) -> str:
    return f"{wait.total_seconds():.0f}"
