"""Proof: what a host is seen to run, looked at for long enough to believe it.

No exit code and no version string proves anything: dpkg prints the version of a half-configured
package, and a package without maintainer scripts leaves the old process running. Read, then
decide: a look is taken of all at once, and `verdict` is pure.
"""

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from relight.hosts import dpkg, host_program
from relight.hosts.errors import (
    PackageError,
    RemoteError,
    ServiceFailedError,
    StaleProcessError,
)
from relight.hosts.observation import Observation, journal, look
from relight.hosts.shell import Shell
from relight.hosts.systemd import UnitState

POLL_EVERY = timedelta(seconds=5)
"""A look sees all that happened since the one before, and costs the host some 30 ms of CPU time."""

DOUBT_FOR = timedelta(seconds=1)
"""Until the next look at what is not yet as it should be."""

STARTING = timedelta(seconds=60)
"""How long a unit may be on its way up, as one of Type=notify is, before it counts as not up."""

_SHORTEST_PAUSE = 0.05

# How a main process ended, by waitid's own numbers.
_EXITED, _BY_SIGNAL = 1, (2, 3)


@dataclass(frozen=True)
class Expected:
    """What a host should be seen to run."""

    package: str
    version: str
    unit: str
    executable: str


@dataclass(frozen=True)
class Seen:
    """A host that was seen to run what it should.

    Attributes:
        look: the last look at it.
        stable_for: since the first look that saw the same start of the unit.
    """

    look: Observation
    stable_for: timedelta


async def watch(
    shell: Shell,
    expected: Expected,
    window: timedelta,
    on_look: Callable[[Observation], None],
    seen: Observation | None = None,
) -> Seen:
    """Look until the host has run what it should for the whole window.

    Args:
        shell: on the host.
        expected: what it should run.
        window: for how long one start of the unit must be seen to run.
        on_look: is told of every look that another follows, as to send a heartbeat.
        seen: the first look, where one was taken just now.

    Raises:
        PackageError: dpkg does not have the version, or not wholly, or its files are changed.
        ServiceFailedError: the unit does not run, or not stably; with its journal.
        StaleProcessError: its process runs another file than the installed one.
        RemoteError: the host did not answer.
    """
    called = time.monotonic()
    first: Observation | None = None
    began = called
    doubted = False
    while True:
        seen = seen or await look(shell, host_program.see())
        now = time.monotonic()
        wrong = verdict(seen, first, expected)
        pause = DOUBT_FOR.total_seconds()
        if wrong is None:
            if first is None:
                first, began = seen, now
            left = window.total_seconds() - (now - began)
            if left <= 0:
                return Seen(seen, timedelta(seconds=now - began))
            pause = min(POLL_EVERY.total_seconds(), max(left, _SHORTEST_PAUSE))
        elif _may_come_up(wrong, seen, timedelta(seconds=now - called)):
            pass
        elif isinstance(wrong, StaleProcessError) and not doubted:
            # It may have ended, or not yet become what it was started as, in this very moment.
            doubted = True
        else:
            raise await _with_journal(wrong, shell, expected)
        on_look(seen)
        await asyncio.sleep(pause)
        seen = None


def _may_come_up(wrong: RemoteError, seen: Observation, waited: timedelta) -> bool:
    """Whether nothing is wrong yet but that the unit is still on its way up."""
    not_up = isinstance(wrong, ServiceFailedError) and wrong.kind == "unit-not-active"
    return not_up and seen.is_starting and waited < STARTING


async def service_failure(
    shell: Shell, seen: Observation, expected: Expected, words: str
) -> RemoteError:
    """Return why a service did not start, that was seen like this right after.

    Args:
        shell: on the host.
        seen: how the host stood then.
        expected: what it should run.
        words: what the attempt itself said.
    """
    wrong = _unit_verdict(seen.unit, None, expected)
    if wrong is None or wrong.kind == "unit-not-active":
        wrong = ServiceFailedError("unit-failed", words or f"{expected.unit} did not start")
    wrong = await _with_journal(wrong, shell, expected)
    wrong.attempted = f"restart {expected.unit}"
    wrong.exit_code = host_program.SERVICE_EXIT_CODE
    return wrong


def verdict(seen: Observation, first: Observation | None, expected: Expected) -> RemoteError | None:
    """Return what is wrong with a host that was seen like this; None when nothing is.

    Args:
        seen: the look to judge.
        first: the first look of this watch that nothing was wrong with.
        expected: what the host should run.
    """
    return (
        _boot_verdict(seen, first)
        or _package_verdict(seen, expected)
        or _unit_verdict(seen.unit, first.unit if first else None, expected)
        or _process_verdict(seen, expected)
    )


def _boot_verdict(seen: Observation, first: Observation | None) -> RemoteError | None:
    if first is None or first.boot_id == seen.boot_id:
        return None
    return ServiceFailedError("host-rebooted", "the host booted anew while it was being proven")


def _package_verdict(seen: Observation, expected: Expected) -> RemoteError | None:
    package = seen.package
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
    if seen.damaged:
        return PackageError(
            "package-damaged", f"not as the package brought them: {', '.join(seen.damaged)}"
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


def _process_verdict(seen: Observation, expected: Expected) -> RemoteError | None:
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
        wrong.journal = await journal(shell)
    return wrong
