"""The one place where a domain error becomes retryable or not.

Every domain error that leaves an activity becomes an `ApplicationError` whose type is the fault's
kind and whose detail is the `Fault`. What is not named here is a bug: it keeps its own name, and
the engine retries it under the step's policy while somebody mends it.
"""

from typing import Any

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from relight.domain.fault.error import DomainError
from relight.domain.fault.fault import Fault
from relight.engine import logs
from relight.hosts.errors import RemoteError, fault_of

log: structlog.stdlib.BoundLogger = structlog.get_logger("relight.faults")


def describe(error: DomainError) -> Fault:
    """Return the fault that a domain error is."""
    if isinstance(error, RemoteError):
        return fault_of(error)
    return Fault(
        kind=error.kind,
        fault_class=error.fault_class,
        summary=str(error),
        attempted=activity.info().activity_type if activity.in_activity() else "",
        refused=error.rule.is_refusal,
    )


class _Translated(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        try:
            return await self.next.execute_activity(input)
        except DomainError as error:
            fault = describe(error)
            _log(fault, retryable=error.retryable)
            raise ApplicationError(
                fault.summary,
                fault.model_dump(mode="json"),
                type=fault.kind,
                non_retryable=not error.retryable,
            ) from error


def _log(fault: Fault, *, retryable: bool) -> None:
    """Say at once what went wrong: a fault that is retried for long is seen meanwhile.

    What it was about, `activities.log_context` has bound; the fault's own host comes before that.
    """
    facts = {
        logs.FAULT: fault.kind,
        logs.FAULT_CLASS: fault.fault_class.value,
        logs.HOST: fault.machine_key,
        logs.ADDRESS: fault.host,
        "retried": retryable,
    }
    log.warning(fault.summary, **{name: fact for name, fact in facts.items() if fact is not None})


class FaultInterceptor(Interceptor):
    """Turns every domain error that leaves an activity into a fault on the wire."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the next interceptor."""
        return _Translated(next)
