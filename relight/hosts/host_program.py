"""`relight-host`, the program on a host that does everything that needs root.

sudo lets the control plane's user run this program only. A host gets it at its first boot,
together with a configuration file that names its package and service. This module builds calls of
the program; its only I/O is reading the program's text from `files/`.
"""

import re
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

PUSHED = "pushed"
"""Stands for the URL of a package that the control plane brings."""

REFUSED_KEY_EXIT_CODE = 77
"""Exit code of a call that refuses the host key, or the settings, that it reads."""

OTHER_SETTINGS_EXIT_CODE = 92
"""Exit code of a change that found other settings than the caller's, and began nothing."""

NO_CONFIGURATION_EXIT_CODE = 93
"""Exit code of a change whose configuration the host does not have; it began nothing."""

REFUSED_CONFIGURATION_EXIT_CODE = 94
"""Exit code of a change whose configuration the service's own check refuses."""

NOT_WRITTEN_EXIT_CODE = 95
"""Exit code of a change whose configuration could not be written."""

_FILES = Path(__file__).parent / "files"
_PART = re.compile(r"(?:# shellcheck source=.*\n)?\. ([a-z_]+\.sh)\n")
"""A line of the program for which a part stands."""


@dataclass(frozen=True)
class Change:
    """The package version that a host is changed to.

    Attributes:
        version: the exact version of the package.
        rollback: whether it may replace a newer version.
        deb: the file that the host fetches or was brought; None if apt finds the package.
    """

    version: str
    rollback: bool = False
    deb: DebFile | None = None

    def words(self) -> list[str]:
        """Return the change as the program's last arguments."""
        words = [self.version, "rollback" if self.rollback else "upgrade"]
        if self.deb is not None and not self.deb.by_apt:
            words += [self.deb.url or PUSHED, self.deb.sha256, str(self.deb.size_bytes)]
            words.append(self.deb.architecture)
        return words


def text(*, first_boot: bool = False, by_apt: bool = False) -> bytes:
    """Return the program as a host gets it: in one file, without comments and indentation.

    In no text of it does a blank or a `#` count at the beginning of a line.

    Args:
        first_boot: its short form, as providers limit the size of what a machine boots with.
        by_apt: its short form of a host that gets packages by apt only.
    """
    interpreter, *lines = source(first_boot=first_boot, by_apt=by_apt).splitlines()
    stripped = (line.strip() for line in lines)
    kept = (line for line in stripped if not line.startswith("#"))
    return "\n".join((interpreter, *kept, "")).encode()


def source(*, first_boot: bool = False, by_apt: bool = False) -> str:
    """Return the program's source, as `text` does, with its parts and its comments."""
    name = f"{PROGRAM.name}-first-boot" if first_boot else PROGRAM.name
    replaced = {"deb_files.sh": "no_deb_files.sh"} if by_apt else {}
    return _PART.sub(lambda part: _read(replaced.get(part[1], part[1])), _read(name))


def _read(name: str) -> str:
    return (_FILES / name).read_text("utf-8")


def configuration(service: Service, deb_urls: str, *, pushed: bool = False) -> str:
    """Return the configuration file of a host, in shell syntax.

    Args:
        service: the package and service that the program may change.
        deb_urls: the prefix of every URL that the host may fetch a package from; empty for a host
            that fetches none.
        pushed: whether the host takes packages that the control plane brings.
    """
    values = {
        "PACKAGE": service.package,
        "UNIT": service.unit,
        "MORE_UNITS": " ".join(service.more_units),
        "EXECUTABLE": service.executable,
        "ON_CHANGE": service.on_change,
        "STATE_FILES": " ".join(service.state_files),
        "DEB_URLS": deb_urls,
        **({"PUSHED": "yes"} if pushed else {}),
    }
    if service.packages:
        values["PACKAGES"] = " ".join(service.packages)
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def swap(
    unit: str,
    wait: timedelta,
    deadline: timedelta,
    change: Change,
    settings_sha256: str = "",
    configuration: str = "",
) -> list[str]:
    """Return the call that starts a transaction or attaches to it, waits, and observes the host.

    Args:
        unit: the transaction's unit.
        wait: how long the call waits for its end.
        deadline: when the host kills the transaction, after its start.
        change: what it does.
        settings_sha256: the digest of the settings that the host must have; empty for any.
        configuration: the digest of the service's configuration; empty for none.
    """
    digests = [settings_sha256] if settings_sha256 else []
    if configuration:
        digests = [settings_sha256 or "any", configuration]
    return [*_call("swap"), unit, _seconds(wait), _seconds(deadline), *digests, *change.words()]


def observe(unit: str | None = None, wait: timedelta = timedelta()) -> list[str]:
    """Return the call that waits for a transaction, if one is named, and observes the host."""
    return [*_call("observe"), *([unit, _seconds(wait)] if unit else [])]


def received(deb: DebFile) -> list[str]:
    """Return the call that ends with 0 if the host was brought a package."""
    return [*_call("received"), deb.sha256]


def receive(deb: DebFile) -> list[str]:
    """Return the call that reads a package from its standard input, and keeps it."""
    return [*_call("receive"), deb.sha256, str(deb.size_bytes)]


def log(unit: str) -> list[str]:
    """Return the call that prints what a transaction wrote."""
    return [*_call("log"), unit]


def forget(unit: str) -> list[str]:
    """Return the call that stops and deletes a transaction. Absent is no error."""
    return [*_call("forget"), unit]


def stop(unit: str) -> list[str]:
    """Return the call that stops and deletes a transaction, and finishes what dpkg had begun."""
    return [*_call("stop"), unit]


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
    """Return the call by which a first boot installs a version, without starting the service."""
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


def settings(sha256: str) -> list[str]:
    """Return the call that fails with `OTHER_SETTINGS_EXIT_CODE` on a host with other settings."""
    return [*_call("settings"), sha256]


def configure() -> list[str]:
    """Return the call that changes the host's settings to those that it reads."""
    return _call("configure")


def stage(digest: str) -> list[str]:
    """Return the call that reads the service's configuration, which the next change takes."""
    return [*_call("stage"), digest]


def _call(subcommand: str) -> list[str]:
    return [str(PROGRAM), subcommand]


def _seconds(wait: timedelta) -> str:
    return f"{wait.total_seconds():.0f}"
