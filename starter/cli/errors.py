"""What ends a command: one clear line on standard error, and an exit code.

Exit codes: 0 it was done, 1 it was tried and failed, 2 the input cannot be meant, 3 the input is
fine but the present state forbids it, or what is needed does not answer. After 2 and 3 nothing
was changed.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended, for the shell."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    REFUSED = 3
    INTERRUPTED = 130


class CliError(Exception):
    """An end that a person was told of in full; its text is all that is shown."""

    exit_code = ExitCode.FAILED


class OperationFailedError(CliError):
    """It was tried and did not succeed."""

    exit_code = ExitCode.FAILED


class BadInputError(CliError):
    """The input names something that does not exist, or has a shape that it cannot have."""

    exit_code = ExitCode.BAD_INPUT


class RefusedError(CliError):
    """The input is fine, but the present state forbids it."""

    exit_code = ExitCode.REFUSED
