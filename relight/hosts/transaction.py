"""A change on a host that outlives the link to it: a transient systemd unit, found by its name.

Begin it or attach to it, wait for its end, read what it said if it failed. The unit keeps its
outcome until it is forgotten, so whoever comes after a lost reply reads the same. A reboot forgets
the unit; beginning it again is right then, because a change begins by mending what it finds.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from relight.domain.fault.fault import FaultClass
from relight.hosts import host_program
from relight.hosts.apt import (
    NO_REASON,
    Diagnosis,
    diagnose,
)
from relight.hosts.errors import (
    CommandFailedError,
    HostNotReadyError,
    PackageError,
    RemoteError,
    TransactionLostError,
)
from relight.hosts.host_program import Change
from relight.hosts.observation import (
    COMMAND_TIMEOUT,
    Observation,
    look,
)
from relight.hosts.proof import Expected, service_failure
from relight.hosts.shell import Shell
from relight.hosts.systemd import UnitState

PATIENCE = timedelta(seconds=5)
"""How long the host waits before it tells where a change stands: as long as we may be silent."""

LAST_WORDS_ATTEMPTS = 5


class Phase(StrEnum):
    """Where a transaction is."""

    ABSENT = "absent"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class TransactionState:
    """What a host says of a transaction.

    Attributes:
        exit_code: of its program; None before it ended, negative for a signal.
        took: from start to end by the host's clock; None before it ended.
    """

    phase: Phase
    exit_code: int | None = None
    took: timedelta | None = None


@dataclass(frozen=True)
class TransactionEnded:
    """A transaction that succeeded.

    Attributes:
        attached: it had been started before, by an attempt whose reply was lost.
        took: from start to end by the host's clock.
        look: how the host stood right after.
    """

    attached: bool
    took: timedelta
    look: Observation


def unit_name(operation: str) -> str:
    """Return the unit of an operation: the same for each attempt, another for each operation."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", operation).strip("-").lower()[:60]
    digest = hashlib.sha256(operation.encode()).hexdigest()[:12]
    return f"relight-{readable}-{digest}.service"


async def run_to_end(
    shell: Shell,
    unit: str,
    change: Change,
    expected: Expected,
    on_look: Callable[[TransactionState], None],
) -> TransactionEnded:
    """Bring a transaction to its end, be it new or another attempt's.

    One that succeeded is kept on the host, for whoever comes after a lost reply; `forget` it.

    Args:
        shell: on the host.
        unit: its name, from `unit_name`.
        change: what it brings the host to.
        expected: what the host should run then.
        on_look: is told of every look that another follows, as to send a heartbeat.

    Raises:
        PackageError: apt failed; the error says why.
        ServiceFailedError: the package is there, and its service did not start.
        TransactionLostError: the host forgot it, as after a reboot.
        RemoteError: the host did not answer; the transaction may go on.
    """
    begin = host_program.swap(unit, PATIENCE, change)
    seen = await look(shell, begin, PATIENCE)
    attached = _attached(seen, begin, shell)
    while (state := transaction_state(seen.change)).phase is Phase.RUNNING:
        on_look(state)
        seen = await look(shell, host_program.see(unit, PATIENCE), PATIENCE)
    if state.phase is Phase.ABSENT:
        raise TransactionLostError(
            "the host no longer knows it; did it reboot?",
            destination=shell.destination,
            attempted=f"wait for {unit}",
        )
    if state.phase is Phase.FAILED:
        failure = await _failure(shell, unit, state, seen, expected)
        failure.argv = failure.argv or tuple(begin)
        await forget(shell, unit)
        raise failure
    return TransactionEnded(attached=attached, took=state.took or timedelta(), look=seen)


async def forget(shell: Shell, unit: str) -> None:
    """Have the host forget an ended transaction. One that it does not know is forgotten already."""
    await shell.run(host_program.forget(unit), timeout=COMMAND_TIMEOUT, check=False, sudo=True)


def _attached(seen: Observation, argv: Sequence[str], shell: Shell) -> bool:
    """Say whether the transaction had been begun before."""
    if seen.begun is None or seen.begun.exit_code == 0:
        return False
    if "already loaded" in seen.begun.text or "already exists" in seen.begun.text:
        return True
    raise CommandFailedError(
        seen.begun.text or "no reason was given",
        destination=shell.destination,
        attempted="begin a change",
        argv=argv,
        exit_code=seen.begun.exit_code,
        stderr=seen.begun.text,
    )


async def _failure(
    shell: Shell, unit: str, state: TransactionState, seen: Observation, expected: Expected
) -> RemoteError:
    """Return what made a transaction fail."""
    said, diagnosis = await _last_words(shell, unit, state, expected.package)
    words = said[-1].removeprefix("relight: ") if said else ""
    if state.exit_code == host_program.SERVICE_EXIT_CODE:
        return await service_failure(shell, seen, expected, words)
    if state.exit_code == host_program.NO_ANSWER_EXIT_CODE:
        return HostNotReadyError(
            words,
            destination=shell.destination,
            attempted=f"restart {expected.unit}",
            exit_code=state.exit_code,
            stderr="\n".join(said),
        )
    return PackageError(
        diagnosis.kind,
        diagnosis.text,
        destination=shell.destination,
        attempted=f"change {expected.package} to {expected.version}",
        exit_code=state.exit_code,
        stderr="\n".join(said),
    )


async def _last_words(
    shell: Shell, unit: str, state: TransactionState, package: str
) -> tuple[tuple[str, ...], Diagnosis]:
    """Return what a failed transaction said, and why it failed.

    journald may still be reading what a process wrote that ended at once: one that seems to have
    given no reason is asked again.
    """
    # These are told apart by their exit codes: any words will do.
    of_service = state.exit_code in {
        host_program.SERVICE_EXIT_CODE,
        host_program.NO_ANSWER_EXIT_CODE,
    }
    for _ in range(LAST_WORDS_ATTEMPTS):
        told = await shell.run(host_program.said(unit), timeout=COMMAND_TIMEOUT, sudo=True)
        said = tuple(told.stdout.splitlines())
        diagnosis = _diagnosis(state, said, package)
        if diagnosis.text != NO_REASON or (of_service and said):
            break
    return said, diagnosis


def _diagnosis(state: TransactionState, said: Sequence[str], package: str) -> Diagnosis:
    if state.exit_code is not None and state.exit_code < 0:
        # It had no time for last words, and dpkg went with it.
        return Diagnosis("dpkg-interrupted", f"it was killed by signal {-state.exit_code}")
    return diagnose("\n".join(said), package)


def transaction_state(unit: UnitState | None) -> TransactionState:
    """Read a transient unit's state as a transaction's."""
    # `inactive` is stopped and about to be forgotten: another attempt has read its outcome.
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
    )


TIMEOUT = timedelta(minutes=2)
"""A repository that does not answer is given up by apt well before."""

HOSTS_OWN = FaultClass.HOST
"""The class of faults that say something about the host, and nothing about the release."""


async def dry_run(shell: Shell, change: Change, package: str) -> None:
    """See that a host finds a release, and that apt would install it.

    Raises:
        PackageError: it would not; the error says why.
        RemoteError: the host did not answer.
    """
    argv = host_program.dry_run(change)
    ended = await shell.run(argv, timeout=TIMEOUT, check=False, sudo=True)
    if ended.exit_code == 0:
        return
    said = f"{ended.stdout}\n{ended.stderr}"
    diagnosis = diagnose(said, package)
    raise PackageError(
        diagnosis.kind,
        diagnosis.text,
        destination=shell.destination,
        attempted=f"rehearse {package} {change.version}",
        argv=ended.argv,
        exit_code=ended.exit_code,
        stderr=said,
    )


# MERGEDOC """A change rehearsed on a host: whether it could be made, without making it."""
