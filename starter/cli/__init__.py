"""The command line. The script `relight` calls `main`."""

import itertools
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from pydantic import ValidationError
from typer.exceptions import TyperException

from relight.engine.errors import SetupError
from relight.releases.errors import ReleaseUnknownError, RepositoryError
from relight.setting_groups import SettingsError
from relight.store.errors import (
    BadValueError,
    StoreError,
    UnknownRouteError,
    UnknownSettingError,
    UnknownTrackError,
)
from starter.cli.app import app
from starter.cli.errors import CliError, ExitCode, answer_about
from starter.cli.output import print_error, print_error_answer
from starter.local.children import ChildFailedError

# Errors that commands do not catch themselves. The first match counts.
_EXIT_CODES: tuple[tuple[type[Exception], ExitCode], ...] = (
    (TyperException, ExitCode.BAD_INPUT),
    (UnknownTrackError, ExitCode.BAD_INPUT),
    (UnknownRouteError, ExitCode.BAD_INPUT),
    (UnknownSettingError, ExitCode.BAD_INPUT),
    (BadValueError, ExitCode.BAD_INPUT),
    (ReleaseUnknownError, ExitCode.BAD_INPUT),
    (ValidationError, ExitCode.BAD_INPUT),
    (ChildFailedError, ExitCode.FAILED),
    (StoreError, ExitCode.REFUSED),
    (RepositoryError, ExitCode.REFUSED),
    (SettingsError, ExitCode.REFUSED),
    (SetupError, ExitCode.REFUSED),
)

_EXPECTED: tuple[type[Exception], ...] = (CliError, *(kind for kind, _ in _EXIT_CODES))


def main() -> NoReturn:
    """Run the command of the command line, and end the process with its exit code."""
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: threads of the SDK may still run while the interpreter shuts down, which
    # sometimes aborts the process with 134 (temporalio/sdk-python#300).
    os._exit(code)


def run(words: Sequence[str] | None = None) -> int:
    """Run a command, print its error if it has one, and return its exit code.

    Args:
        words: the command's words after `relight`; None takes those of the process.
    """
    words = sys.argv[1:] if words is None else list(words)
    as_json = _wants_json(words)
    try:
        # For people, typer prints what it rejects itself, with the usage.
        ended = app(args=words, prog_name="relight", standalone_mode=not as_json)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.OK
    except _EXPECTED as error:
        text, code = _text_of(error), _code_of(error)
        if as_json:
            print_error_answer(answer_about(error, text, code))
        else:
            print_error(text)
        return code
    code = ended if isinstance(ended, int) else ExitCode.OK
    if code not in (ExitCode.OK, ExitCode.INTERRUPTED):
        failed = CliError("it did not succeed; the answer on standard output says why")
        print_error_answer(answer_about(failed, str(failed), code))
    return code


def _wants_json(words: Sequence[str]) -> bool:
    """Return whether the answer, and so the error, is to be JSON."""
    if words[:2] == ["route", "exec"]:
        return False  # The words are those of a command on a host.
    return "--json" in itertools.takewhile(lambda word: word != "--", words)


def _code_of(error: Exception) -> int:
    if isinstance(error, CliError):
        return error.exit_code
    return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))


def _text_of(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return _bad_values(error)
    return error.format_message() if isinstance(error, TyperException) else str(error)


def _bad_values(error: ValidationError) -> str:
    # pydantic's own text contains the rejected input, which can be a secret.
    faults = (
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
        for fault in error.errors(include_input=False, include_url=False)
    )
    return "\n".join((f"{error.title} cannot have these values:", *faults))
