"""The command line. The script `relight` calls `main`."""

import itertools
import logging
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from pydantic import ValidationError
from typer.exceptions import TyperException

from relight.engine.errors import SetupError, UnknownContextError
from relight.images.programs import NoProgramError, NoRootError
from relight.process_end import end_process
from relight.releases.errors import ReleaseUnknownError, RepositoryError
from relight.setting_groups import SettingsError
from relight.settings import bad_values_text
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
    (UnknownContextError, ExitCode.BAD_INPUT),
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
    (NoProgramError, ExitCode.REFUSED),
    (NoRootError, ExitCode.REFUSED),
    (OSError, ExitCode.REFUSED),
)

_FILE_ERRORS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
"""A file that a setting names, or the home folder, is not there or not this user's."""


def main() -> NoReturn:
    """Run the command of the command line, and end the process with its exit code."""
    # The pool of the store's connections logs an interrupt with its stack before it passes it on.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    try:
        code = run()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        # Ctrl-C once more, while the command ends because of the first.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = ExitCode.INTERRUPTED
    end_process(code)


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
    except _expected() as raised:
        error = _of_store(raised)
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


def _expected() -> tuple[type[Exception], ...]:
    """Return the errors that end a command with a message. It is called once there is an error."""
    from sqlalchemy.exc import DatabaseError, InterfaceError  # noqa: PLC0415 - slow to import

    known = (kind for kind, _ in _EXIT_CODES if kind is not OSError)
    return (CliError, *known, *_FILE_ERRORS, DatabaseError, InterfaceError)


def _of_store(error: Exception) -> Exception:
    """Return the error of the store for one of its database; any other as it is.

    Raises:
        DBAPIError: it is a bug: not the database is the cause, but what was asked of it.
    """
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 - slow to import

    from relight.store.unreachable import is_unreachable, unreachable  # noqa: PLC0415

    if not isinstance(error, DBAPIError):
        return error
    if not is_unreachable(error):
        raise error
    return unreachable(error)


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
        return bad_values_text(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return error.format_message() if isinstance(error, TyperException) else str(error)
