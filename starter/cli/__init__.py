"""The command line. The script `relight` calls `main`."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from pydantic import ValidationError

from relight.engine.errors import SetupError, UnknownContextError
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
from starter.cli.errors import CliError, ExitCode
from starter.cli.output import print_error
from starter.local.children import ChildFailedError

# Errors that commands do not catch themselves. The first match counts.
_EXIT_CODES: tuple[tuple[type[Exception], ExitCode], ...] = (
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
)


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
    try:
        app(args=None if words is None else list(words), prog_name="relight")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.OK
    except CliError as error:
        print_error(str(error))
        return error.exit_code
    except tuple(kind for kind, _ in _EXIT_CODES) as error:
        print_error(_bad_values(error) if isinstance(error, ValidationError) else str(error))
        return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
    return ExitCode.OK


def _bad_values(error: ValidationError) -> str:
    # pydantic's own text contains the rejected input, which can be a secret.
    faults = (
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
        for fault in error.errors(include_input=False, include_url=False)
    )
    return "\n".join((f"{error.title} cannot have these values:", *faults))
