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

from activities.machines import UnknownPlaceError
from fleet.errors import FleetError
from messages.faults import Fault, FaultClass
from planning.desired_release import NoDesiredReleaseError
from planning.rollback import NoReleaseBeforeError
from providers.errors import ProviderError
from remote.errors import RemoteError, fault_of
from repositories.errors import ReleaseUnknownError, RepositoryError
from templates.user_data import TemplateError

log: structlog.stdlib.BoundLogger = structlog.get_logger("relight.faults")

DOMAIN_ERRORS = (
    FleetError,
    NoDesiredReleaseError,
    NoReleaseBeforeError,
    ProviderError,
    RemoteError,
    RepositoryError,
    TemplateError,
)

REFUSALS = (
    FleetError,
    NoDesiredReleaseError,
    NoReleaseBeforeError,
    ReleaseUnknownError,
    UnknownPlaceError,
)
"""What was asked for cannot be done as things stand; nothing was changed."""


def describe(error: Exception) -> tuple[Fault, bool]:
    """Return a domain error's fault, and whether trying again may help."""
    match error:
        case RemoteError():
            return fault_of(error), error.retryable
        case ProviderError():
            fault_class, retryable = FaultClass.PROVIDER, error.retryable
        case RepositoryError():
            fault_class, retryable = FaultClass.REPOSITORY, error.retryable
        case FleetError() | NoDesiredReleaseError() | NoReleaseBeforeError() | TemplateError():
            fault_class, retryable = FaultClass.CONTROLLER, False
        case _:
            raise TypeError(f"{type(error).__name__} is no domain error") from error
    fault = Fault(
        kind=error.kind,
        fault_class=fault_class,
        summary=str(error),
        attempted=activity.info().activity_type if activity.in_activity() else "",
        refused=isinstance(error, REFUSALS),
    )
    return fault, retryable


class _Translated(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        try:
            return await self.next.execute_activity(input)
        except DOMAIN_ERRORS as error:
            fault, retryable = describe(error)
            _log(fault, retryable=retryable)
            raise ApplicationError(
                fault.summary,
                fault.model_dump(mode="json"),
                type=fault.kind,
                non_retryable=not retryable,
            ) from error


def _log(fault: Fault, *, retryable: bool) -> None:
    """Say at once what went wrong and where: a fault that is retried for long is seen meanwhile."""
    info = activity.info()
    log.warning(
        fault.summary,
        fault=fault.kind,
        fault_class=fault.fault_class.value,
        host=fault.host,
        machine=fault.machine_key,
        activity=info.activity_type,
        attempt=info.attempt,
        will_retry=retryable,
        workflow_id=info.workflow_id,
    )


class FaultInterceptor(Interceptor):
    """Turns every domain error that leaves an activity into a fault on the wire."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the next interceptor."""
        return _Translated(next)
