"""Proof: what a host is seen to run, looked at for long enough to believe it.

No exit code and no version string proves anything: dpkg prints the version of a half-configured
package, and a package without maintainer scripts leaves the old process running. Read, then
decide: `look` asks all at once, `verdict` is pure.
"""

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from remote import dpkg, systemd
from remote.dpkg import PackageState
from remote.errors import (
    PackageError,
    RemoteError,
    ServiceFailedError,
    StaleProcessError,
)
from remote.sections import Section
from remote.service import journal
from remote.shell import Shell
from remote.systemd import UnitState

COMMAND_TIMEOUT = timedelta(seconds=30)

LOOK_EVERY = timedelta(seconds=1)

STARTING = timedelta(seconds=60)
"""How long a unit may be on its way up, as one of Type=notify is, before it counts as not up."""

RUNNING_FILE_SCRIPT = """\
pid=$(systemctl show --property=MainPID --value -- "$1")
readlink "/proc/$pid/exe"
[ "/proc/$pid/exe" -ef "$2" ]"""
"""Prints the file that a unit's main process runs; exits with 0 if it is the one now on disk."""

_SHORTEST_PAUSE = 0.05

# How a main process ended, by waitid's own numbers.
_EXITED, _BY_SIGNAL = 1, (2, 3)

_PACKAGE, _UNIT, _FILE, _BOOT = "package", "unit", "file", "boot"


@dataclass(frozen=True)
class Expected:
    """What a host should be seen to run."""

    package: str
    version: str
    unit: str
    executable: str


@dataclass(frozen=True)
class Look:
    """What a host was seen to run, at one moment.

    Attributes:
        running_file: the file that the main process runs, as the kernel names it.
        is_installed_file: whether that is the very file that is on disk now.
        boot_id: the kernel's id of this boot.
    """

    package: PackageState
    unit: UnitState
    running_file: str
    is_installed_file: bool
    boot_id: str

    @property
    def is_starting(self) -> bool:
        """Whether the unit is on its way up, and not because it ended by itself."""
        return self.unit.active in {"activating", "reloading"} and self.unit.sub != "auto-restart"


@dataclass(frozen=True)
class Seen:
    """A host that was seen to run what it should.

    Attributes:
        look: the last look at it.
        stable_for: since the first look that saw the same start of the unit.
    """

    look: Look
    stable_for: timedelta


def questions(expected: Expected) -> dict[str, list[str]]:
    """Return what a look asks, all in one exec."""
    return {
        _PACKAGE: dpkg.query(expected.package),
        _UNIT: systemd.show(expected.unit),
        _FILE: [
            "/bin/sh",
            "-c",
            RUNNING_FILE_SCRIPT,
            "running-file",
            expected.unit,
            expected.executable,
        ],
        _BOOT: systemd.boot_id(),
    }


async def look(shell: Shell, expected: Expected) -> Look:
    """See what the host runs now."""
    answers = await shell.ask(questions(expected), timeout=COMMAND_TIMEOUT, sudo=True)
    package, running = answers[_PACKAGE], answers[_FILE]
    return Look(
        package=dpkg.parse_query(package.text if package.exit_code == 0 else ""),
        unit=systemd.parse_show(answers[_UNIT].text),
        running_file=_first_line(running),
        is_installed_file=running.exit_code == 0,
        boot_id=_first_line(answers[_BOOT]),
    )


async def watch(
    shell: Shell, expected: Expected, window: timedelta, on_look: Callable[[Look], None]
) -> Seen:
    """Look until the host has run what it should for the whole window.

    Args:
        shell: on the host.
        expected: what it should run.
        window: for how long one start of the unit must be seen to run.
        on_look: is told of every look, as to send a heartbeat.

    Raises:
        PackageError: dpkg does not have the version, or not wholly, or its files are changed.
        ServiceFailedError: the unit does not run, or not stably; with its journal.
        StaleProcessError: its process runs another file than the installed one.
        RemoteError: the host did not answer.
    """
    called = time.monotonic()
    first: Look | None = None
    began = called
    doubted = False
    while True:
        seen = await look(shell, expected)
        now = time.monotonic()
        on_look(seen)
        wrong = verdict(seen, first, expected)
        pause = LOOK_EVERY.total_seconds()
        if wrong is None:
            if first is None:
                first, began = seen, now
            left = window.total_seconds() - (now - began)
            if left <= 0:
                await _verify_files(shell, expected)
                return Seen(seen, timedelta(seconds=now - began))
            pause = min(pause, max(left, _SHORTEST_PAUSE))
        elif _may_come_up(wrong, seen, timedelta(seconds=now - called)):
            pass
        elif isinstance(wrong, StaleProcessError) and not doubted:
            # It may have ended, or not yet become what it was started as, in this very moment.
            doubted = True
        else:
            raise await _with_journal(wrong, shell, expected)
        await asyncio.sleep(pause)


async def _verify_files(shell: Shell, expected: Expected) -> None:
    """See that the package's files are those that it brought: a look knows the program's alone."""
    argv = dpkg.verify(expected.package)
    answer = await shell.run(argv, timeout=COMMAND_TIMEOUT, check=False, sudo=True)
    if damaged := dpkg.parse_verify(answer.stdout):
        wrong = PackageError(
            "package-damaged", f"not as the package brought them: {', '.join(damaged)}"
        )
        wrong.argv, wrong.exit_code = answer.argv, answer.exit_code
        raise await _with_journal(wrong, shell, expected)


def _may_come_up(wrong: RemoteError, seen: Look, waited: timedelta) -> bool:
    """Whether nothing is wrong yet but that the unit is still on its way up."""
    not_up = isinstance(wrong, ServiceFailedError) and wrong.kind == "unit-not-active"
    return not_up and seen.is_starting and waited < STARTING


def verdict(seen: Look, first: Look | None, expected: Expected) -> RemoteError | None:
    """Return what is wrong with a host that was seen like this; None when nothing is.

    Args:
        seen: the look to judge.
        first: the first look of this watch that nothing was wrong with.
        expected: what the host should run.
    """
    return (
        _boot_verdict(seen, first)
        or _package_verdict(seen.package, expected)
        or _unit_verdict(seen.unit, first.unit if first else None, expected)
        or _process_verdict(seen, expected)
    )


def _boot_verdict(seen: Look, first: Look | None) -> RemoteError | None:
    if first is None or first.boot_id == seen.boot_id:
        return None
    return ServiceFailedError("host-rebooted", "the host booted anew while it was being proven")


def _package_verdict(package: PackageState, expected: Expected) -> RemoteError | None:
    if package.version != expected.version:
        return PackageError(
            "package-version-differs",
            f"{expected.package} is at {package.version or 'no version'}, not {expected.version}",
        )
    if not dpkg.installed_exactly(package, expected.version):
        return PackageError(
            "package-not-installed",
            f"{expected.package} {package.version} is not wholly installed: {package.status}",
        )
    return None


def _unit_verdict(
    unit: UnitState, first: UnitState | None, expected: Expected
) -> RemoteError | None:
    name = expected.unit
    if unit.is_masked:
        return ServiceFailedError("unit-masked", f"{name} is masked: somebody forbade it to run")
    if unit.load == "not-found":
        return ServiceFailedError("unit-not-found", f"there is no unit {name}")
    restarted = first is not None and unit.restarts > first.restarts
    if unit.sub == "auto-restart" or restarted:
        return ServiceFailedError("unit-crash-looping", _crash_text(unit, name))
    if unit.active == "failed":
        return ServiceFailedError("unit-failed", f"{name} failed ({_end_text(unit)})")
    if not unit.is_running:
        return ServiceFailedError("unit-not-active", f"{name} is {unit.active} ({unit.sub})")
    if first is not None and unit.invocation_id != first.invocation_id:
        return ServiceFailedError(
            "unit-restarted", f"somebody started {name} anew while it was being proven"
        )
    if unit.unit_file == "disabled":
        return ServiceFailedError("unit-disabled", f"{name} would not come up at the next boot")
    return None


def _crash_text(unit: UnitState, name: str) -> str:
    count = f"{unit.restarts} {'restart' if unit.restarts == 1 else 'restarts'} so far"
    if unit.sub != "auto-restart":
        return f"{name} ended by itself, and systemd started it again ({count})"
    return f"{name} ended by itself ({_end_text(unit)}); systemd restarts it again ({count})"


def _end_text(unit: UnitState) -> str:
    """Say how a unit ended, as in `exit-code, 1` or `signal, SIGABRT`."""
    if unit.main_code == _EXITED:
        return f"{unit.result}, {unit.main_status}"
    if unit.main_code in _BY_SIGNAL:
        return f"{unit.result}, {_signal_name(unit.main_status)}"
    return unit.result


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _process_verdict(seen: Look, expected: Expected) -> RemoteError | None:
    if seen.is_installed_file:
        return None
    return StaleProcessError(
        f"{expected.unit} runs {seen.running_file or 'nothing'}, "
        f"which is not the {expected.executable} that is installed"
    )


async def _with_journal(wrong: RemoteError, shell: Shell, expected: Expected) -> RemoteError:
    """Complete what is wrong with where it is so, and what the unit had to say."""
    wrong.destination = shell.destination
    wrong.attempted = f"prove {expected.package} {expected.version}"
    if not isinstance(wrong, PackageError):
        wrong.journal = await journal(shell, expected.unit)
    return wrong


def _first_line(section: Section) -> str:
    return section.text.partition("\n")[0]
