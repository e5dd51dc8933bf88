"""A change on a host, made by a transient systemd unit that survives a lost connection.

Start the unit or attach to it, wait for its end, and read its log if it failed. The unit keeps its
result until it is forgotten, so an attempt after a lost reply reads the same result. A reboot
deletes the unit. Starting it again is then correct, because a change first repairs what it finds.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from relight.domain.duration import span
from relight.domain.fault.output import without_progress
from relight.domain.service import Service
from relight.hosts import host_program
from relight.hosts.apt import Diagnosis, diagnose, states_error
from relight.hosts.configuration import HostConfiguration, stage
from relight.hosts.errors import (
    CommandFailedError,
    ConfigurationError,
    HostMisbehavesError,
    HostNotReadyError,
    PackageError,
    RemoteError,
    TransactionLostError,
)
from relight.hosts.host_program import Change
from relight.hosts.host_settings import HostSettings, configure
from relight.hosts.keys import HostKey
from relight.hosts.observation import COMMAND_TIMEOUT, Observation, observe
from relight.hosts.proof import service_failure
from relight.hosts.shell import Shell
from relight.hosts.units import UnitState

LONG_POLL = timedelta(seconds=5)
"""How long the host waits for the end of a transaction before it answers."""

PAUSE = timedelta(milliseconds=50)
"""The shortest time between two questions about a running transaction: a host may answer at once
instead of waiting."""

OVERTIME = timedelta(minutes=2)
"""How long a transaction may still be running after its deadline, at which systemd kills it."""

STOP_TIMEOUT = timedelta(seconds=50)
"""systemd kills the transaction after 10 s, and dpkg is given 20 s."""

_PREPARATIONS = 3
"""How often a host is given what it lacks for a call: its program, settings, configuration."""

_CONFIGURATION_KINDS = {
    host_program.REFUSED_CONFIGURATION_EXIT_CODE: "configuration-refused",
    host_program.NOT_WRITTEN_EXIT_CODE: "configuration-not-written",
}

LOG_ATTEMPTS = 5
"""How often the log of a failed transaction is read until it contains a reason."""


class Phase(StrEnum):
    """The phase of a transaction."""

    ABSENT = "absent"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class TransactionState:
    """The state of a transaction, from its unit.

    Attributes:
        exit_code: of its program; negative for a signal; None before it ended.
        timed_out: the host killed it at its deadline.
        child: the command line that it waits for; empty if it does not run.
        took: from start to end by the host's clock; None before it ended.
    """

    phase: Phase
    exit_code: int | None = None
    took: timedelta | None = None
    timed_out: bool = False
    child: str = ""


@dataclass(frozen=True)
class TransactionEnded:
    """A transaction that succeeded.

    Attributes:
        attached: whether an earlier attempt had started it.
        took: from start to end by the host's clock.
        observation: the host right after the end.
    """

    attached: bool
    took: timedelta
    observation: Observation


def unit_name(operation: str) -> str:
    """Return the unit of an operation: the same for each attempt, unique for each operation."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", operation).strip("-").lower()[:60]
    digest = hashlib.sha256(operation.encode()).hexdigest()[:12]
    return f"relight-{readable}-{digest}.service"


async def run_transaction(  # noqa: PLR0913, PLR0917 - what is changed, and how it is told
    shell: Shell,
    unit: str,
    change: Change,
    service: Service,
    on_state: Callable[[TransactionState], None],
    settings: HostSettings | None = None,
    present: Sequence[HostKey] = (),
    configuration: HostConfiguration | None = None,
) -> TransactionEnded:
    """Start a transaction or attach to it, and wait for its end.

    The host keeps the result of a success for attempts after a lost reply: call `forget` then.

    Args:
        shell: on the host.
        unit: the unit's name, from `unit_name`.
        change: what the transaction does.
        service: what the host runs.
        on_state: is called with each state but the last, as to send a heartbeat.
        settings: what the host must be told to manage before; None: as it is.
        present: the host keys that the host may have, by which its settings are changed.
        configuration: of the service, which the change takes; None: the files from before any.

    Raises:
        HostSettingsNotChangedError: the host did not take its settings, or the configuration.
        ConfigurationError: the service's own check refuses it, or it cannot be written.
        PackageError: apt failed, or the deadline passed; the error contains the reason.
        ServiceFailedError: the package was installed, and its service did not start.
        TransactionLostError: the host does not know the transaction any more, as after a reboot.
        HostMisbehavesError: the transaction is still running long after its deadline.
        RemoteError: the host did not answer; the transaction may go on.
    """
    asked_at = time.monotonic()
    end = asked_at + (service.change_deadline + OVERTIME).total_seconds()
    call = _Call(unit, change, service, settings, configuration, present)
    observation, argv = await _begin(shell, call)
    attached = _attached(observation, argv, shell)
    while (state := _state(observation)).phase is Phase.RUNNING:
        now = time.monotonic()
        if now > end:
            raise HostMisbehavesError(
                f"its transaction is still running {span(OVERTIME)} after its deadline",
                destination=shell.destination,
                attempted=f"wait for {unit}",
            )
        on_state(state)
        # No pause after a host that did wait.
        await asyncio.sleep(max(asked_at + PAUSE.total_seconds() - now, 0))
        asked_at = time.monotonic()
        observation = await observe(shell, host_program.observe(unit, LONG_POLL), LONG_POLL)
    if state.phase is Phase.ABSENT:
        raise TransactionLostError(
            "the host does not know the transaction any more; did it reboot?",
            destination=shell.destination,
            attempted=f"wait for {unit}",
        )
    if state.phase is Phase.FAILED:
        error = await _failure(shell, call, state, observation)
        error.argv = error.argv or tuple(argv)
        await forget(shell, unit)
        raise error
    return TransactionEnded(attached, state.took or timedelta(), observation)


@dataclass(frozen=True)
class _Call:
    """What a transaction is told; see `run_transaction`."""

    unit: str
    change: Change
    service: Service
    settings: HostSettings | None
    configuration: HostConfiguration | None
    present: Sequence[HostKey]

    def argv(self, key: HostKey | None) -> list[str]:
        """Return the call for a host with this key; None if its settings are not compared."""
        settings_sha256 = self.settings.sha256(key) if self.settings and key else ""
        digest = self.configuration.digest if self.configuration else ""
        deadline = self.service.change_deadline
        return host_program.swap(
            self.unit, LONG_POLL, deadline, self.change, settings_sha256, digest
        )


async def _begin(shell: Shell, call: _Call) -> tuple[Observation, list[str]]:
    """Start a transaction or attach to it, on a host that has settings and configuration.

    Return the call too.
    """
    argv = call.argv(call.present[0] if call.present else None)
    for _ in range(_PREPARATIONS):
        try:
            return await observe(shell, argv, LONG_POLL), argv
        except CommandFailedError as error:
            argv = await _prepare(shell, call, argv, error)
    return await observe(shell, argv, LONG_POLL), argv


async def _prepare(
    shell: Shell, call: _Call, argv: list[str], error: CommandFailedError
) -> list[str]:
    """Give a host what it lacks for a call that it refused. Return the next call."""
    code, settings, configuration = error.exit_code, call.settings, call.configuration
    is_older = code == host_program.UNKNOWN_CALL_EXIT_CODE
    if configuration is not None and code == host_program.NO_CONFIGURATION_EXIT_CODE:
        await stage(shell, configuration, call.present)
    elif settings is not None and code == host_program.OTHER_SETTINGS_EXIT_CODE:
        return call.argv(await configure(shell, settings, call.present))
    elif settings is not None and is_older and configuration is not None:
        # It has the newest program then.
        return call.argv(await configure(shell, settings, call.present))
    elif settings is not None and is_older:
        return call.argv(None)  # an older program keeps the settings of its first boot
    else:
        raise error
    return argv


async def stop(shell: Shell, unit: str) -> None:
    """Stop a transaction, and finish what dpkg had begun, as far as its scripts end by themselves.

    One that does not exist is no error.
    """
    done = await shell.run(host_program.stop(unit), timeout=STOP_TIMEOUT, check=False, sudo=True)
    if done.exit_code == host_program.UNKNOWN_CALL_EXIT_CODE:
        await forget(shell, unit)  # its program is older than this call


async def forget(shell: Shell, unit: str) -> None:
    """Stop a transaction, and delete it from the host. One that does not exist is no error.

    What dpkg had begun is then unfinished; the next change repairs it.
    """
    await shell.run(host_program.forget(unit), timeout=COMMAND_TIMEOUT, check=False, sudo=True)


def _state(observation: Observation) -> TransactionState:
    state = transaction_state(observation.transaction)
    return replace(state, child=observation.child)


def transaction_state(unit: UnitState | None) -> TransactionState:
    """Return the transaction's state from its transient unit; a unit of None is absent."""
    # `inactive`: stopped, and about to be deleted, because another attempt has read its result.
    if unit is None or unit.load == "not-found" or unit.active == "inactive":
        return TransactionState(Phase.ABSENT)
    if unit.active == "failed":
        phase = Phase.FAILED
    elif unit.active == "active" and unit.sub == "exited":
        phase = Phase.SUCCEEDED
    else:
        return TransactionState(Phase.RUNNING)
    killed = unit.main_code in {2, 3}
    return TransactionState(
        phase,
        exit_code=-unit.main_status if killed else unit.main_status,
        took=timedelta(microseconds=unit.main_ended_usec - unit.main_started_usec),
        timed_out=phase is Phase.FAILED and unit.result == "timeout",
    )


def _attached(observation: Observation, argv: Sequence[str], shell: Shell) -> bool:
    """Return whether the transaction had been started before.

    Raises:
        CommandFailedError: it could not be started.
    """
    begin = observation.begin
    if begin is None or begin.exit_code == 0:
        return False
    if "already loaded" in begin.text or "already exists" in begin.text:
        return True
    raise CommandFailedError(
        begin.text or "no reason was given",
        destination=shell.destination,
        attempted="start a transaction",
        argv=argv,
        exit_code=begin.exit_code,
        stderr=begin.text,
    )


async def _failure(
    shell: Shell, call: _Call, state: TransactionState, observation: Observation
) -> RemoteError:
    """Return the error of a failed transaction."""
    service, version = call.service, call.change.version
    log, diagnosis = await _read_log(shell, call, state)
    last_line = log[-1].removeprefix("relight: ") if log else ""
    if state.exit_code == host_program.SERVICE_EXIT_CODE:
        return await service_failure(shell, observation, service, version, last_line)
    if state.exit_code in _CONFIGURATION_KINDS:
        return ConfigurationError(
            _CONFIGURATION_KINDS[state.exit_code],
            _with_own_words(log, last_line),
            destination=shell.destination,
            attempted=f"change the configuration of {service.package}",
            exit_code=state.exit_code,
            stderr="\n".join(log),
        )
    if state.exit_code == host_program.NO_ANSWER_EXIT_CODE:
        return HostNotReadyError(
            last_line,
            destination=shell.destination,
            attempted=f"restart {service.unit}",
            exit_code=state.exit_code,
            stderr="\n".join(log),
        )
    return PackageError(
        diagnosis.kind,
        diagnosis.text,
        destination=shell.destination,
        attempted=f"change {service.package} to {version}",
        exit_code=state.exit_code,
        stderr="\n".join(log),
    )


def _with_own_words(log: Sequence[str], last_line: str) -> str:
    """Return why a configuration was refused: the last line, and the check's own last one."""
    said = [line for line in log[:-1] if line.strip() and not line.startswith("relight: ")]
    return f"{last_line}: {said[-1].strip()}" if said and " check " in last_line else last_line


async def _read_log(
    shell: Shell, call: _Call, state: TransactionState
) -> tuple[tuple[str, ...], Diagnosis]:
    """Return the lines that a failed transaction wrote, and the reason of its failure.

    journald may still be reading the output of a process that has just ended: a log without a
    reason is read again.
    """
    # These exit codes are a reason of their own: any line will do.
    by_exit_code = state.exit_code in {
        host_program.SERVICE_EXIT_CODE,
        host_program.NO_ANSWER_EXIT_CODE,
        *_CONFIGURATION_KINDS,
    }
    for _ in range(LOG_ATTEMPTS):
        argv = host_program.log(call.unit)
        completed = await shell.run(argv, timeout=COMMAND_TIMEOUT, sudo=True)
        text = completed.stdout
        log = tuple((call.configuration.masked(text) if call.configuration else text).splitlines())
        diagnosis = _diagnosis(state, log, call.service)
        unknown = diagnosis.kind == "apt-failed" and not states_error(completed.stdout)
        if not unknown or (by_exit_code and log):
            break
    return log, diagnosis


def _diagnosis(state: TransactionState, log: Sequence[str], service: Service) -> Diagnosis:
    if state.timed_out:
        last_line = f": {without_progress(log)[-1]}" if log else ""
        return Diagnosis(
            "change-timed-out",
            f"it did not end within {span(service.change_deadline)}, and was stopped{last_line}",
        )
    if state.exit_code is not None and state.exit_code < 0:
        # Its process could not print a reason, and dpkg was killed with it.
        return Diagnosis("dpkg-interrupted", f"it was killed by signal {-state.exit_code}")
    return diagnose("\n".join(log), service.package)
