"""How long a command waits for the operation that it has started: `--no-wait` and `--timeout`."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Annotated, NamedTuple, TypeVar

import typer

from relight.domain.duration import span
from starter.cli.errors import BadInputError, OperationFailedError
from starter.cli.output import print_done
from starter.cli.times import duration_option

Result = TypeVar("Result")

WaitOption = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait for the result, or only start it.")
]
TimeoutOption = Annotated[
    timedelta | None,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        parser=duration_option,
        help="How long to wait for the result: 90s, 30m. What was started continues.  "
        "\\[default: no limit]",
    ),
]


class TimedOutError(OperationFailedError):
    """The operation has not ended in time; it continues."""

    kind = "timed-out"


class Patience(NamedTuple):
    """Whether a command waits for what it has started, and for how long.

    Attributes:
        timeout: None for no limit.
    """

    waits: bool = True
    timeout: timedelta | None = None


def patience_of(
    timeout: timedelta | None, *, waits: bool, option: str = "leave out --no-wait"
) -> Patience:
    """Return the patience that the options give.

    Args:
        timeout: the value of `--timeout`.
        waits: whether the command waits.
        option: the option that excludes or allows `--timeout`, for the error.

    Raises:
        BadInputError: there is a time limit, and nothing is waited for.
    """
    if timeout is not None and not waits:
        msg = f"--timeout is for a command that waits: {option}"
        raise BadInputError(msg)
    return Patience(waits, timeout)


async def within(patience: Patience, result: Awaitable[Result], what: str, later: str) -> Result:
    """Return a result.

    Args:
        patience: how long it is waited for.
        result: is cancelled at the end of that time; the operation is not.
        what: the operation, as in `route/eu-1`.
        later: the command that shows the result later.

    Raises:
        TimedOutError: it is not there in time.
    """
    limit = patience.timeout
    try:
        async with asyncio.timeout(None if limit is None else limit.total_seconds()) as scope:
            return await result
    except TimeoutError:
        if limit is None or not scope.expired():
            raise
        msg = f"{what} has not ended within {span(limit)}; it continues: `{later}` shows its result"
        raise TimedOutError(msg) from None


def print_started(workflow_id: str, what: str, later: str, *, as_json: bool) -> None:
    """Print that an operation was started, and how to see its result.

    Args:
        workflow_id: of the operation.
        what: the operation in words.
        later: the command that shows the result.
        as_json: print JSON.
    """
    line = f"{what} is started; `{later}` shows its result"
    print_done(line, {"workflow_id": workflow_id, "started": True}, as_json=as_json)
