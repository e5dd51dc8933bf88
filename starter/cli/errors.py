"""The errors that end a command: a clear message on standard error, and an exit code.

With `--json` the message is an `ErrorAnswer`: one JSON object, the last line of standard error.

Exit codes: 0 done; 1 tried and failed; 2 the input is invalid; 3 the input is valid, but the
present state forbids it, or something that is needed does not answer; 130 interrupted by Ctrl-C,
what was started continues. After 2 and 3 nothing was changed.
"""

from enum import IntEnum

from pydantic import BaseModel

from relight.domain.fault.advice import UNKNOWN, FaultSubject, advice_about
from relight.domain.fault.fault import Fault


class ExitCode(IntEnum):
    """The exit code of a command."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    REFUSED = 3
    INTERRUPTED = 130


class ErrorAnswer(BaseModel):
    """Why a command failed or was refused, for programs.

    Attributes:
        kind: what failed, in kebab-case: a kind of docs/faults.md, or `bad-input`, `refused`,
            `operation-failed`, `setup-failed`, `temporal-unreachable` and the like.
        message: what people are shown, without the word `error`.
        remedy: what to do.
        exit_code: that of the command.
    """

    kind: str
    message: str
    remedy: str
    exit_code: int


class CliError(Exception):
    """An expected error: its text is all that is shown to people.

    Attributes:
        kind: what failed, in kebab-case.
        remedy: what to do; empty if the text says it.
    """

    exit_code = ExitCode.FAILED
    kind = "operation-failed"
    remedy = ""

    def __init__(
        self,
        text: str,
        fault: Fault | None = None,
        subject: FaultSubject = UNKNOWN,
        *,
        remedy: str = "",
    ) -> None:
        super().__init__(text)
        self.remedy = remedy
        if fault is not None:
            known = subject._replace(machine_key=fault.machine_key or subject.machine_key)
            self.kind = fault.kind
            self.remedy = remedy or advice_about(fault.kind, known)


class OperationFailedError(CliError):
    """The operation was tried and failed."""

    exit_code = ExitCode.FAILED


class BadInputError(CliError):
    """The input names something that does not exist, or is malformed."""

    exit_code = ExitCode.BAD_INPUT
    kind = "bad-input"


class RefusedError(CliError):
    """The input is valid, but the present state forbids it."""

    exit_code = ExitCode.REFUSED
    kind = "refused"


class UnansweredError(CliError):
    """A question was left by Ctrl-C or Ctrl-D."""

    exit_code = ExitCode.INTERRUPTED
    kind = "interrupted"

    def __init__(self) -> None:
        super().__init__(
            "the question was not answered, so nothing was changed",
            remedy="Type the command again; --yes answers the question.",
        )


_REMEDIES = {
    ExitCode.FAILED: "Read the message and the answer on standard output, then `relight events`.",
    ExitCode.BAD_INPUT: "Correct what the message names. `relight COMMAND --help` has examples.",
    ExitCode.REFUSED: "Nothing was changed. Do what the message names, then repeat the command.",
    ExitCode.INTERRUPTED: "What was started continues.",
}
"""What to do where neither the error nor the table of faults says more."""


def answer_about(error: Exception, text: str, code: int) -> ErrorAnswer:
    """Return the answer about an error.

    Args:
        error: the error; its kind and its remedy are used if it has them.
        text: what people are shown.
        code: the exit code of the command.
    """
    kind = getattr(error, "kind", "bad-input" if code == ExitCode.BAD_INPUT else "setup-failed")
    remedy = getattr(error, "remedy", "") or advice_about(kind, UNKNOWN)
    return ErrorAnswer(
        kind=kind,
        message=text,
        remedy=remedy or _REMEDIES.get(ExitCode(code), ""),
        exit_code=code,
    )
