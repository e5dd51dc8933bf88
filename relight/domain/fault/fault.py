"""Faults: what failed, on which host, and in which class."""

from enum import StrEnum

from relight.domain.base import Message


class FaultClass(StrEnum):
    """The part that is to blame for a fault."""

    HOST = "host"
    RELEASE = "release"
    REPOSITORY = "repository"
    PROVIDER = "provider"
    CONTROLLER = "controller"


BUDGETED_CLASSES = frozenset({FaultClass.HOST, FaultClass.RELEASE})
"""Classes whose faults blame a host or the release that it runs."""


class Fault(Message):
    """One failure, with all that an operator needs to act on it.

    Attributes:
        kind: what failed, in kebab-case, as in `unit-failed`.
        fault_class: the part that is to blame.
        summary: one sentence for a person.
        attempted: what was attempted, as in `restart lantern-box.service`.
        host: the address of the host, if there was one.
        machine_key: the machine, if there was one.
        argv: the command that failed on the host.
        exit_code: its exit code.
        stderr_tail: the last lines of its standard error.
        journal_tail: the last lines of the unit's journal.
        refused: the request cannot be fulfilled in the current state, and nothing was changed.
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
