"""Failures of operations: from an exception to its fault and back; signals to ended workflows."""

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
from relight.domain.fault.table import fault as new_fault

_WORKFLOW_ENDED = "ExternalWorkflowExecutionNotFound"


def failure(fault: Fault, message: str = "") -> ApplicationError:
    """Return the error that ends an operation with a fault. It is never retried.

    Args:
        fault: the fault.
        message: what it says in the Temporal UI; without one, the fault's summary.
    """
    return ApplicationError(
        message or fault.summary,
        fault.model_dump(mode="json"),
        type=fault.kind,
        non_retryable=True,
    )


def fault_of(error: BaseException) -> Fault:
    """Return the fault that an error carries, or a fault that describes the error."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ApplicationError):
            return _carried(cause)
    last = causes[-1]
    attempted = next(
        (cause.activity_type for cause in causes if isinstance(cause, ActivityError)), ""
    )
    if isinstance(last, (CancelledError, asyncio.CancelledError)):
        kind, summary = "cancelled", "the operation was cancelled before it finished"
    elif isinstance(last, TerminatedError):
        kind, summary = "terminated", "the operation was terminated before it finished"
    elif isinstance(last, TemporalTimeoutError):
        kind, summary = "timed-out", f"{attempted or 'the operation'} timed out: {last}"
    else:
        kind, summary = "controller-bug", f"{type(last).__name__}: {last}"
    return new_fault(kind, summary, attempted)


async def ignore_ended(signal: Awaitable[None]) -> None:
    """Deliver a signal; ignore it if the workflow has ended meanwhile."""
    try:
        await signal
    except ApplicationError as error:
        if error.type != _WORKFLOW_ENDED:
            raise


def _carried(error: ApplicationError) -> Fault:
    for detail in error.details:
        if isinstance(detail, dict) and "fault_class" in detail:
            return Fault.model_validate(detail)
    return new_fault("controller-bug", f"{error.type}: {error.message}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and its chain of causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
