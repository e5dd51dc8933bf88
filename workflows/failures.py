"""From an exception that ended an operation to the fault that it carries."""

import asyncio
from collections.abc import Awaitable, Iterator

from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    TerminatedError,
)
from temporalio.exceptions import (
    TimeoutError as TemporalTimeoutError,
)

from relight.domain.fault.fault import Fault
from relight.domain.fault.table import fault


def failure(carried: Fault) -> ApplicationError:
    """Return the error that ends an operation with a fault, and is never retried."""
    return ApplicationError(
        carried.summary, carried.model_dump(mode="json"), type=carried.kind, non_retryable=True
    )


def fault_of(error: BaseException) -> Fault:
    """Return the fault that an operation's error carries, or one that says what is known."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ApplicationError):
            return _carried(cause)
    last = causes[-1]
    attempted = next(
        (cause.activity_type for cause in causes if isinstance(cause, ActivityError)), ""
    )
    if isinstance(last, (CancelledError, asyncio.CancelledError)):
        kind, summary = "cancelled", "the operation was cancelled before it was done"
    elif isinstance(last, TerminatedError):
        kind, summary = "terminated", "the operation was terminated before it was done"
    elif isinstance(last, TemporalTimeoutError):
        kind, summary = "timed-out", f"{attempted or 'the operation'} timed out: {last}"
    else:
        kind, summary = "controller-bug", f"{type(last).__name__}: {last}"
    return fault(kind, summary, attempted)


def _carried(error: ApplicationError) -> Fault:
    for detail in error.details:
        if isinstance(detail, dict) and "fault_class" in detail:
            return Fault.model_validate(detail)
    return fault("controller-bug", f"{error.type}: {error.message}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what caused it, as far as engine errors wrap one another."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


_GONE = "ExternalWorkflowExecutionNotFound"


async def unless_gone(signal: Awaitable[None]) -> None:
    """Await a signal's delivery; one to a workflow that has ended needs none."""
    try:
        await signal
    except ApplicationError as error:
        if error.type != _GONE:
            raise


# MERGEDOC """Signals to workflows that may have ended in this very moment."""
