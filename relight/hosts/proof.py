"""Proof that a host runs a release: observe it for a whole stability window.

Neither an exit code nor a version string proves anything: dpkg prints the version of a
half-configured package, and a package without maintainer scripts leaves the old process running.
Each observation reads everything at once; `verdict` is pure.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from relight.domain.service import OnChange, Service
from relight.hosts import host_program
from relight.hosts.errors import (
    ConfigurationError,
    PackageError,
    RemoteError,
    ServiceFailedError,
    StaleProcessError,
)
from relight.hosts.observation import Observation, journal, observe
from relight.hosts.packages import Sibling
from relight.hosts.shell import Shell
from relight.hosts.units import UnitState

POLL_INTERVAL = timedelta(seconds=5)
"""Time between observations. systemd's counters show what happened between two of them, and each
costs the host some 30 ms of CPU time."""

RECHECK_INTERVAL = timedelta(seconds=1)
"""Time until the next observation while the unit is starting or the process looks stale."""

START_TIMEOUT = timedelta(seconds=60)
"""How long a unit may be starting, as one of Type=notify, before it counts as not active."""

RELOAD_TIMEOUT = timedelta(seconds=60)
"""How long old processes may end their work after a reload, before they count as stale."""

_SHORTEST_PAUSE_SECONDS = 0.05

# How a main process ended, in waitid's numbers.
_EXITED, _BY_SIGNAL = 1, (2, 3)


@dataclass(frozen=True)
class StableObservation:
    """A host that was observed to run the release for the whole window.

    Attributes:
        observation: the last one.
        stable_for: time since the first observation of the same start of the unit.
    """

    observation: Observation
    stable_for: timedelta


async def watch(
    shell: Shell,
    service: Service,
    version: str,
    on_observation: Callable[[Observation], None],
    first: Observation | None = None,
    configurations: Collection[str] | None = None,
) -> StableObservation:
    """Observe a host until it has run a version for the whole stability window.

    Args:
        shell: on the host.
        service: what the host should run; one start of its unit must run for its window.
        version: the exact version of its package.
        on_observation: is called after every observation but the last, as to send a heartbeat.
        first: an observation that was made just now, used as the first one.
        configurations: the service should have taken one with one of these digests, of which an
            empty one means none; None if any is right.

    Raises:
        ConfigurationError: it has another configuration, or files of it were changed.
        PackageError: dpkg has another version, or not completely, or its files are changed.
        ServiceFailedError: the unit does not run, or not stably; with its journal.
        StaleProcessError: a process runs something else than what is installed.
        RemoteError: the host did not answer.
    """
    called = time.monotonic()
    current, baseline, began = first, None, called
    stale: Observation | None = None
    while True:
        current = current or await observe(shell, host_program.observe())
        now = time.monotonic()
        error = verdict(current, baseline, service, version, configurations)
        pause = RECHECK_INTERVAL.total_seconds()
        if error is None:
            if baseline is None:
                baseline, began = current, now
            left = service.stability_window.total_seconds() - (now - began)
            if left <= 0:
                return StableObservation(current, timedelta(seconds=now - began))
            pause = min(POLL_INTERVAL.total_seconds(), max(left, _SHORTEST_PAUSE_SECONDS))
        elif _may_still_start(error, current, timedelta(seconds=now - called)) or (
            _may_still_end(error, service, timedelta(seconds=now - called))
        ):
            pass
        elif isinstance(error, StaleProcessError) and stale is None:
            # The process may just have ended, or may not have executed its own file yet.
            stale = current
        else:
            if isinstance(error, StaleProcessError) and stale is not None:
                # A crash loop looks stale if its process ends while it is observed.
                error = _units_verdict(current, stale, service) or error
            raise await _completed(error, shell, service, version)
        on_observation(current)
        await asyncio.sleep(pause)
        current = None


async def service_failure(
    shell: Shell, observation: Observation, service: Service, version: str, text: str
) -> RemoteError:
    """Return the error of a service that did not start.

    Args:
        shell: on the host.
        observation: made right after the attempt to start it.
        service: the service.
        version: of its package.
        text: the message of the attempt itself.
    """
    error = _units_verdict(observation, None, service)
    if error is None or error.kind == "unit-not-active":
        error = ServiceFailedError("unit-failed", text or f"{service.unit} did not start")
    error = await _completed(error, shell, service, version)
    error.attempted = f"restart {service.unit}"
    error.exit_code = host_program.SERVICE_EXIT_CODE
    return error


def verdict(
    observation: Observation,
    baseline: Observation | None,
    service: Service,
    version: str,
    configurations: Collection[str] | None = None,
) -> RemoteError | None:
    """Return what is wrong with an observed host; None if nothing is.

    Args:
        observation: the one to judge.
        baseline: the first observation of this window that had no fault.
        service: what the host should run.
        version: the exact version of its package.
        configurations: the digests of its configuration; None if any is right.
    """
    return (
        _boot_verdict(observation, baseline)
        or _package_verdict(observation, service.package, version)
        or _configuration_verdict(observation, configurations)
        or _units_verdict(observation, baseline, service)
        or _process_verdict(observation, service)
    )


def _boot_verdict(observation: Observation, baseline: Observation | None) -> RemoteError | None:
    if baseline is None or baseline.boot_id == observation.boot_id:
        return None
    return ServiceFailedError("host-rebooted", "the host rebooted during the proof")


def _package_verdict(observation: Observation, name: str, version: str) -> RemoteError | None:
    package = observation.package
    if package.version != version:
        differs = PackageError(
            "package-version-differs",
            f"{name} is at {package.version or 'no version'}, not {version}",
        )
        if package.version and package.is_installed(package.version):
            differs.installed_version = package.version
        return differs
    if not package.is_installed(version):
        return PackageError(
            "package-not-installed",
            f"{name} {package.version} is not fully installed: {package.status}",
        )
    for sibling in observation.siblings:
        error = _sibling_verdict(sibling, name)
        if error is not None:
            return error
    if observation.damaged:
        return PackageError(
            "package-damaged",
            f"files differ from the package's: {', '.join(observation.damaged)}",
        )
    return None


def _configuration_verdict(
    observation: Observation, wanted: Collection[str] | None
) -> RemoteError | None:
    if observation.edited:
        more = len(observation.edited) - 1
        return ConfigurationError(
            "configuration-edited",
            observation.edited[0] + (f"; {more} more" if more else ""),
        )
    if wanted is None or observation.configuration in wanted:
        return None
    if not observation.configuration:
        return ConfigurationError(
            "configuration-differs", "the service has not taken its configuration"
        )
    return ConfigurationError(
        "configuration-differs",
        "the service has another configuration than its release"
        if any(wanted)
        else "the service has a configuration, and its release has none",
    )


def _sibling_verdict(sibling: Sibling, name: str) -> PackageError | None:
    state = sibling.state
    if not state.is_installed(state.version):
        return PackageError(
            "package-not-installed",
            f"{sibling.name}, which belongs to {name}, is not fully installed: {state.status}",
        )
    if sibling.version and state.version != sibling.version:
        return PackageError(
            "package-version-differs",
            f"{sibling.name}, which belongs to {name}, is at {state.version}, and the last change "
            f"left it at {sibling.version}",
        )
    return None


def _units_verdict(
    observation: Observation, baseline: Observation | None, service: Service
) -> RemoteError | None:
    """Return the first fault of a unit; None if each is as it should be, and one at least runs."""
    if not observation.units:
        return _unit_verdict(observation.unit, None, service.unit)
    host_decides = service.on_change is OnChange.TRY_RESTART
    one_runs = any(unit.is_running for unit in observation.units)
    for unit in observation.units:
        is_triggered = _is_triggered(unit, observation)
        if unit.is_resting and (is_triggered or (host_decides and one_runs)):
            continue
        before = baseline.state_of(unit.name) if baseline else None
        unmet = [condition for name, condition in observation.unmet if name == unit.name]
        error = _unit_verdict(unit, before, unit.name or service.unit, unmet)
        may_be_disabled = host_decides or is_triggered
        if error is not None and not (may_be_disabled and error.kind == "unit-disabled"):
            return error
    return None


def _is_triggered(unit: UnitState, observation: Observation) -> bool:
    """Whether a unit that does not run starts with the next connection to its socket."""
    sockets = (observation.state_of(name) for name in unit.triggered_by)
    return any(socket is not None and socket.active == "active" for socket in sockets)


def _unit_verdict(
    unit: UnitState, baseline: UnitState | None, name: str, unmet: Sequence[str] = ()
) -> RemoteError | None:
    if unit.is_masked:
        return ServiceFailedError("unit-masked", f"{name} is masked on the host")
    if unit.load == "not-found":
        return ServiceFailedError("unit-not-found", f"there is no unit {name}")
    restarted = baseline is not None and unit.restarts > baseline.restarts
    if unit.sub == "auto-restart" or restarted:
        return ServiceFailedError("unit-crash-looping", _crash_text(unit, name))
    if unit.active == "failed":
        return ServiceFailedError("unit-failed", f"{name} failed ({_end_text(unit)})")
    if not unit.is_running:
        return _rest_error(unit, name, unmet)
    if baseline is not None and unit.invocation_id != baseline.invocation_id:
        return ServiceFailedError("unit-restarted", f"{name} was restarted during the proof")
    if unit.unit_file == "disabled":
        return ServiceFailedError(
            "unit-disabled", f"{name} is disabled and would not start at the next boot"
        )
    return None


def _rest_error(unit: UnitState, name: str, unmet: Sequence[str]) -> RemoteError:
    """Return the error of a unit that does not run, and did not fail."""
    if not (unit.is_resting and unmet):
        return ServiceFailedError("unit-not-active", f"{name} is {unit.active} ({unit.sub})")
    are = "a condition of its unit is" if len(unmet) == 1 else "conditions of its unit are"
    return ServiceFailedError(
        "unit-condition-unmet",
        f"{name} was not started: {are} not met on the host: {', '.join(unmet)}",
    )


def _process_verdict(observation: Observation, service: Service) -> RemoteError | None:
    if observation.is_installed_file:
        return None
    if observation.stale:
        more = len(observation.stale) - 1
        return StaleProcessError(observation.stale[0] + (f"; {more} more" if more else ""))
    return StaleProcessError(
        f"{service.unit} runs {observation.running_file or 'nothing'}, "
        f"not the installed {service.executable or 'release'}"
    )


def _crash_text(unit: UnitState, name: str) -> str:
    count = f"{unit.restarts} {'restart' if unit.restarts == 1 else 'restarts'} so far"
    if unit.sub != "auto-restart":
        return f"{name} ended by itself, and systemd restarted it ({count})"
    return f"{name} ended by itself ({_end_text(unit)}); systemd is restarting it ({count})"


def _end_text(unit: UnitState) -> str:
    """Return how a unit ended, as in `exit-code, 1` or `signal, SIGABRT`."""
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


def _may_still_start(error: RemoteError, observation: Observation, waited: timedelta) -> bool:
    """Whether the only fault is that the unit is still starting."""
    not_active = isinstance(error, ServiceFailedError) and error.kind == "unit-not-active"
    is_starting = any(unit.is_starting for unit in observation.units)
    return not_active and is_starting and waited < START_TIMEOUT


def _may_still_end(error: RemoteError, service: Service, waited: timedelta) -> bool:
    """Whether the only fault is that old processes have not ended after a reload."""
    is_stale = isinstance(error, StaleProcessError)
    return is_stale and service.on_change is OnChange.RELOAD and waited < RELOAD_TIMEOUT


async def _completed(
    error: RemoteError, shell: Shell, service: Service, version: str
) -> RemoteError:
    """Add the host, what was attempted and the service's journal to an error."""
    error.destination = shell.destination
    error.attempted = f"prove {service.package} {version}"
    if not isinstance(error, PackageError | ConfigurationError):
        error.journal = await journal(shell)
    return error
