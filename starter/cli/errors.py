"""The errors that end a command: a clear message on standard error, and an exit code.

Exit codes: 0 done; 1 tried and failed; 2 the input is invalid; 3 the input is valid, but the
present state forbids it, or something that is needed does not answer. After 2 and 3 nothing was
changed.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit code of a command."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    REFUSED = 3
    INTERRUPTED = 130


class CliError(Exception):
    """An expected error: its text is all that is shown."""

    exit_code = ExitCode.FAILED


class OperationFailedError(CliError):
    """The operation was tried and failed."""

    exit_code = ExitCode.FAILED


class BadInputError(CliError):
    """The input names something that does not exist, or is malformed."""

    exit_code = ExitCode.BAD_INPUT


class RefusedError(CliError):
    """The input is valid, but the present state forbids it."""

    exit_code = ExitCode.REFUSED
