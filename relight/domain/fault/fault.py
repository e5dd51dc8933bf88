"""What went wrong, on which host, and at whose door it lies."""

from enum import StrEnum

from relight.domain.base import Message


class FaultClass(StrEnum):
    """Whose fault it is. Only host and release faults spend a rollout's failure budget."""

    HOST = "host"
    RELEASE = "release"
    REPOSITORY = "repository"
    PROVIDER = "provider"
    CONTROLLER = "controller"


class Fault(Message):
    """One failure, with all that an operator needs to see to act on it.

    Attributes:
        kind: what failed, in kebab-case, as in `unit-failed`.
        fault_class: at whose door it lies.
        summary: one sentence for a person.
        attempted: what was being done, as in `restart lantern-box.service`.
        host: the address that was spoken to, where there was one.
        machine_key: the machine that it happened on, where there was one.
        argv: the command that failed on the host.
        exit_code: its exit code.
        stderr_tail: the last lines of what it wrote to standard error.
        journal_tail: the last lines of the unit's journal.
        refused: what was asked for cannot be done as things stand, and nothing was changed.
    """

    kind: str
    fault_class: FaultClass
    summary: str
    attempted: str = ""
    host: str | None = None
    machine_key: str | None = None
    argv: tuple[str, ...] = ()
    exit_code: int | None = None
    stderr_tail: str = ""
    journal_tail: tuple[str, ...] = ()
    refused: bool = False
