"""Faults: what failed, on which host, and in which class."""

from enum import StrEnum
from functools import partial
from typing import Annotated

from pydantic import AfterValidator

from relight.domain.base import Message
from relight.domain.text import first_words, head, last_lines, visible_head, visible_tail


class FaultClass(StrEnum):
    """The part that is to blame for a fault."""

    HOST = "host"
    RELEASE = "release"
    REPOSITORY = "repository"
    PROVIDER = "provider"
    CONTROLLER = "controller"


BUDGETED_CLASSES = frozenset({FaultClass.HOST, FaultClass.RELEASE})
"""Classes whose faults blame a host or the release that it runs."""


def _visible_words(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(visible_head(word, MAX_WORD_BYTES) for word in words)


def _visible_lines(lines: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(visible_head(line, MAX_LINE_BYTES) for line in lines)


MAX_WORD_BYTES, MAX_LINE_BYTES = 128, 1024

Summary = Annotated[str, AfterValidator(partial(visible_head, max_bytes=2048))]
Attempted = Annotated[str, AfterValidator(partial(visible_head, max_bytes=256))]
Address = Annotated[str, AfterValidator(partial(visible_head, max_bytes=256))]
Argv = Annotated[
    tuple[str, ...],
    AfterValidator(_visible_words),
    AfterValidator(partial(first_words, max_word_bytes=MAX_WORD_BYTES, max_words=8)),
]
ErrorTail = Annotated[str, AfterValidator(partial(visible_tail, max_bytes=4096))]
JournalTail = Annotated[
    tuple[str, ...],
    AfterValidator(_visible_lines),
    AfterValidator(partial(last_lines, max_line_bytes=MAX_LINE_BYTES, max_bytes=8192)),
]

BRIEF_SUMMARY_BYTES, BRIEF_ATTEMPTED_BYTES = 300, 150


class Fault(Message):
    """One failure, with all that an operator needs to act on it.

    Its texts are visible and cut: together they have at most 16 KiB. The store has it as it is; a
    message about many routes carries the brief form.

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
    summary: Summary
    attempted: Attempted = ""
    host: Address | None = None
    machine_key: Address | None = None
    argv: Argv = ()
    exit_code: int | None = None
    stderr_tail: ErrorTail = ""
    journal_tail: JournalTail = ()
    refused: bool = False

    @property
    def brief(self) -> "Fault":
        """The fault without command, output and log, for messages; less than 1 KiB."""
        return self.model_copy(
            update={
                "summary": head(self.summary, BRIEF_SUMMARY_BYTES),
                "attempted": head(self.attempted, BRIEF_ATTEMPTED_BYTES),
                "argv": (),
                "stderr_tail": "",
                "journal_tail": (),
            }
        )
