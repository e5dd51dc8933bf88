"""A change on a host that outlives the link to it: a transient systemd unit, found by its name.

Start it or attach to it, look until it has ended, read what it said, clear it away. The unit
keeps its outcome until it is cleared, so whoever comes after a lost reply reads the same. A
reboot forgets the unit; starting it again is right then, because the transaction begins by
mending what it finds.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from remote import systemd
from remote.apt_output import NO_REASON, Diagnosis, diagnose
from remote.errors import HostNotReadyError, PackageError, TransactionLostError
from remote.shell import Shell, command_failed
from remote.systemd import UnitState

COMMAND_TIMEOUT = timedelta(seconds=30)
"""For the short commands here; a machine that is slower than this has another trouble."""

POLL = timedelta(milliseconds=300)

OUTPUT_LINES = 200

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
        exit_code: of its shell; None before it ended, negative for a signal.
        took: from start to end by the host's clock; None before it ended.
        invocation_id: under which its output stands in the journal.
    """

    phase: Phase
    exit_code: int | None
    took: timedelta | None
    invocation_id: str


@dataclass(frozen=True)
class TransactionEnded:
    """A transaction that succeeded.

    Attributes:
        attached: it had been started before, by an attempt whose reply was lost.
        took: from start to end by the host's clock.
        output: what it wrote, line by line.
    """

    attached: bool
    took: timedelta
    output: tuple[str, ...]


def unit_name(operation: str) -> str:
    """Return the unit of an operation: the same for each attempt, another for each operation."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", operation).strip("-").lower()[:60]
    digest = hashlib.sha256(operation.encode()).hexdigest()[:12]
    return f"relight-{readable}-{digest}.service"


async def run_to_end(
    shell: Shell,
    unit: str,
    argv: Sequence[str],
    package: str,
    on_look: Callable[[TransactionState], None],
) -> TransactionEnded:
    """Bring a transaction to its end, be it new or another attempt's, and clear it away.

    Args:
        shell: on the host.
        unit: its name, from `unit_name`.
        argv: what starts it, from `apt.install_transaction`.
        package: the package that it changes.
        on_look: is told of every look, as to send a heartbeat.

    Raises:
        PackageError: apt failed; the error says why.
        TransactionLostError: the host forgot it, as after a reboot.
        RemoteError: the host did not answer; the transaction may go on.
    """
    attached = await attach_or_start(shell, unit, argv)
    while True:
        state = await look(shell, unit)
        on_look(state)
        if state.phase is not Phase.RUNNING:
            break
        await asyncio.sleep(POLL.total_seconds())
    if state.phase is Phase.ABSENT:
        raise TransactionLostError(
            "the host no longer knows it; did it reboot?",
            destination=shell.destination,
            attempted=f"wait for {unit}",
        )
    said, diagnosis = await _last_words(shell, state, package)
    await clear(shell, unit)
    if diagnosis is not None:
        raise PackageError(
            diagnosis.kind,
            diagnosis.text,
            destination=shell.destination,
            attempted=f"change {package}",
            argv=argv,
            exit_code=state.exit_code,
            stderr="\n".join(said),
        )
    return TransactionEnded(attached=attached, took=state.took or timedelta(), output=said)


async def _last_words(
    shell: Shell, state: TransactionState, package: str
) -> tuple[tuple[str, ...], Diagnosis | None]:
    """Return what an ended transaction said, and why it failed if it did.

    journald may still be reading what a process wrote that ended at once: one that seems to have
    failed without a reason is asked again.
    """
    for attempt in range(LAST_WORDS_ATTEMPTS):
        if attempt > 0:
            await asyncio.sleep(POLL.total_seconds())
        said = await output(shell, state)
        if state.phase is not Phase.FAILED:
            return said, None
        diagnosis = _diagnosis(state, said, package)
        if diagnosis.text != NO_REASON:
            break
    return said, diagnosis


def _diagnosis(state: TransactionState, said: Sequence[str], package: str) -> Diagnosis:
    if state.exit_code is not None and state.exit_code < 0:
        # It had no time for last words, and dpkg went with it.
        return Diagnosis("dpkg-interrupted", f"it was killed by signal {-state.exit_code}")
    return diagnose("\n".join(said), package)


async def attach_or_start(shell: Shell, unit: str, argv: Sequence[str]) -> bool:
    """See to it that the transaction exists; return whether it did already."""
    if (await look(shell, unit)).phase is not Phase.ABSENT:
        return True
    started = await shell.run(argv, timeout=COMMAND_TIMEOUT, check=False, sudo=True)
    if started.exit_code == 0:
        return False
    if "already loaded" in started.stderr or "already exists" in started.stderr:
        return True  # another attempt, of which we had no reply, came between
    raise command_failed(started, shell.destination, f"start {unit}")


async def look(shell: Shell, unit: str) -> TransactionState:
    """Return where the transaction is.

    Raises:
        HostNotReadyError: systemd does not answer, as while the host goes down.
        RemoteError: the host did not answer.
    """
    answer = await shell.run(systemd.show(unit), timeout=COMMAND_TIMEOUT, check=False)
    if answer.exit_code != 0:
        # It answers for a unit that it does not know, too, but not while the host goes down.
        failed = command_failed(answer, shell.destination, f"look at {unit}")
        raise HostNotReadyError(
            f"systemd does not answer: {failed.text}",
            destination=shell.destination,
            attempted=failed.attempted,
            argv=failed.argv,
            exit_code=failed.exit_code,
            stderr=failed.stderr,
        )
    return transaction_state(systemd.parse_show(answer.stdout))


async def output(shell: Shell, state: TransactionState) -> tuple[str, ...]:
    """Return what the transaction wrote to its journal so far."""
    await shell.run(systemd.sync_journal(), timeout=COMMAND_TIMEOUT, sudo=True)
    journal = systemd.invocation_output(state.invocation_id, OUTPUT_LINES)
    answer = await shell.run(journal, timeout=COMMAND_TIMEOUT, sudo=True)
    return tuple(answer.stdout.splitlines())


async def clear(shell: Shell, unit: str) -> None:
    """Have the host forget an ended transaction. One that it does not know is cleared already."""
    for argv in (systemd.stop(unit), systemd.reset_failed(unit)):
        await shell.run(argv, timeout=COMMAND_TIMEOUT, check=False, sudo=True)


def transaction_state(unit: UnitState) -> TransactionState:
    """Read a transient unit's state as a transaction's."""
    if unit.load == "not-found":
        return TransactionState(Phase.ABSENT, None, None, "")
    if unit.active == "failed":
        phase = Phase.FAILED
    elif unit.active == "active" and unit.sub == "exited":
        phase = Phase.SUCCEEDED
    elif unit.active == "inactive":
        # Stopped and about to be forgotten: another attempt has read its outcome.
        return TransactionState(Phase.ABSENT, None, None, "")
    else:
        return TransactionState(Phase.RUNNING, None, None, unit.invocation_id)
    killed = unit.main_code in {2, 3}
    return TransactionState(
        phase,
        exit_code=-unit.main_status if killed else unit.main_status,
        took=timedelta(microseconds=unit.main_ended_usec - unit.main_started_usec),
        invocation_id=unit.invocation_id,
    )
