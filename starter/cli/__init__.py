"""The command line. `main` is what the script `relight` calls."""

import os
import sys
from typing import NoReturn

from pydantic import ValidationError

from relight.engine.errors import ChildFailedError, StarterError
from relight.releases.errors import ReleaseUnknownError, RepositoryError
from relight.settings import SettingsError
from relight.store.errors import (
    BadValueError,
    FleetError,
    UnknownRouteError,
    UnknownSettingError,
    UnknownTrackError,
)
from starter.cli.app import app
from starter.cli.errors import CliError, ExitCode
from starter.cli.output import complain

# What commands need not catch themselves. The first that fits counts.
_EXIT_CODES: tuple[tuple[type[Exception], ExitCode], ...] = (
    (UnknownTrackError, ExitCode.BAD_INPUT),
    (UnknownRouteError, ExitCode.BAD_INPUT),
    (UnknownSettingError, ExitCode.BAD_INPUT),
    (BadValueError, ExitCode.BAD_INPUT),
    (ReleaseUnknownError, ExitCode.BAD_INPUT),
    (ValidationError, ExitCode.BAD_INPUT),
    (ChildFailedError, ExitCode.FAILED),
    (FleetError, ExitCode.REFUSED),
    (RepositoryError, ExitCode.REFUSED),
    (SettingsError, ExitCode.REFUSED),
    (StarterError, ExitCode.REFUSED),
)


def main() -> NoReturn:
    """Run the command on the command line, and end the process with its exit code."""
    code = _run()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: the SDK's threads can still be at work while the interpreter takes itself
    # apart, which now and then aborts the process with 134 (temporalio/sdk-python#300).
    os._exit(code)


def _run() -> int:
    try:
        app(prog_name="relight")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.OK
    except CliError as error:
        complain(str(error))
        return error.exit_code
    except tuple(kind for kind, _ in _EXIT_CODES) as error:
        complain(_bad_values(error) if isinstance(error, ValidationError) else str(error))
        return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
    return ExitCode.OK


def _bad_values(error: ValidationError) -> str:
    # pydantic's own text shows the rejected input, which for a setting can be a secret.
    faults = (
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
        for fault in error.errors(include_input=False, include_url=False)
    )
    return "\n".join((f"{error.title} cannot have these values:", *faults))
