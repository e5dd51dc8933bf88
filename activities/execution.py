"""What surrounds a running activity: its operation, heartbeats, log attributes and faults.

A `DomainError` that leaves an activity becomes an `ApplicationError`: its type is the fault kind,
its detail is the `Fault`. Any other exception is a bug: it keeps its type, and Temporal retries it
under the step's policy while somebody fixes it.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from operator import attrgetter
from typing import Any

import structlog
from temporalio import activity
from temporalio.exceptions import (
    ApplicationError,
    ApplicationErrorCategory,
    CancelledError,
)
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from relight.domain import names
from relight.domain.base import Origin
from relight.domain.fault.error import DomainError
from relight.domain.fault.fault import Fault
from relight.domain.fault.table import fault as new_fault
from relight.hosts import errors as host_errors
from relight.store.events import Operation
from relight.store.threads import guard_event_loop

log: structlog.stdlib.BoundLogger = structlog.get_logger("relight.activities")

HEARTBEAT_INTERVAL = timedelta(seconds=5)
"""How often the worker sends a heartbeat of each running activity that has a heartbeat timeout."""

RESUME_AFTER = timedelta(milliseconds=100)
"""When another worker takes over what a stopping one has interrupted."""

MIN_RETRY_AFTER = timedelta(seconds=1)
"""A cause that asks for less would use up all attempts at once."""


def current_operation(origin: Origin) -> Operation:
    """Return the operation of the running activity. All its attempts together write once."""
    info = activity.info()
    return Operation(
        origin=origin,
        workflow_id=info.workflow_id or "",
        run_id=info.workflow_run_id or "",
        activity_id=info.activity_id,
    )


def current_attempt(origin: Origin) -> Operation:
    """Return the operation of the current attempt only. Each attempt writes once."""
    info, operation = activity.info(), current_operation(origin)
    # Several activities of a run may have one id, each with a first attempt.
    attempt = f"{info.scheduled_time.timestamp()}/{info.attempt}"
    return replace(operation, activity_id=f"{operation.activity_id}/{attempt}")


def current_run_id() -> str:
    """Return the run id of the workflow of the running activity; empty outside of one."""
    return activity.info().workflow_run_id or ""


_INPUT_PATHS: Mapping[str, tuple[str, ...]] = {
    names.LOG_HOST: ("machine.key", "plan.key", "machine_key", "key"),
    names.LOG_ADDRESS: ("machine.address",),
    names.LOG_ROUTE: ("route_id", "plan.route_id"),
    names.LOG_TRACK: ("track", "plan.track"),
    names.LOG_PROVIDER: ("provider", "plan.provider", "machine.provider", "image.provider"),
    names.LOG_REGION: ("region", "plan.region", "machine.region", "image.region"),
    names.LOG_RELEASE: ("release_tag", "release.tag", "proof.release_tag", "tag"),
    names.LOG_ROLLOUT: ("rollout",),
}
"""Where the inputs of activities hold each attribute. The first path that exists is used."""


def attributes_of(input: object) -> dict[str, str]:
    """Return the log attributes that an activity's input contains."""
    attributes = {}
    for name, paths in _INPUT_PATHS.items():
        values = (_value_at(path, input) for path in paths)
        value = next((each for each in values if isinstance(each, str)), None)
        if value is not None:
            attributes[name] = value
    return attributes


class LogContextInterceptor(Interceptor):
    """Adds host, route, release and operation to log lines, and logs when an activity is done.

    It must wrap the fault interceptor, so that lines about faults have these attributes too.
    """

    def __init__(self, quiet: type) -> None:
        """Wrap nothing yet.

        Args:
            quiet: the class of the activities that only write to the store: at each of its ends an
                operator would read the same twice.
        """
        self._quiet = quiet

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the next interceptor."""
        return _LogContext(next, self._quiet)


class _LogContext(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, quiet: type) -> None:
        super().__init__(next)
        self._quiet = quiet

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info, started_at = activity.info(), time.monotonic()
        attributes = attributes_of(input.args[0] if input.args else None)
        # Not only bound for a block: the SDK logs a failure after all interceptors have returned.
        # The context ends with the activity's task; a thread has its own copy.
        structlog.contextvars.bind_contextvars(
            **{
                **names.workflow_attributes(info.workflow_id, info.workflow_run_id),
                **attributes,
                names.LOG_ACTIVITY: info.activity_type,
                names.LOG_ATTEMPT: info.attempt,
            }
        )
        result = await self.next.execute_activity(input)
        # An activity adds the host's name where its input has only that of the route.
        is_quiet = names.LOG_HOST not in structlog.contextvars.get_contextvars() or isinstance(
            getattr(input.fn, "__self__", None), self._quiet
        )
        log.log(
            logging.DEBUG if is_quiet else logging.INFO,
            f"{info.activity_type} done",
            duration_s=round(time.monotonic() - started_at, 3),
        )
        return result


def _value_at(path: str, input: object) -> object:
    try:
        return attrgetter(path)(input)
    except AttributeError:
        return None


def fault_of(error: DomainError) -> Fault:
    """Return the fault that a domain error stands for."""
    if isinstance(error, host_errors.RemoteError):
        return host_errors.fault_of(error)
    return Fault(
        kind=error.kind,
        fault_class=error.fault_class,
        summary=str(error),
        attempted=activity.info().activity_type if activity.in_activity() else "",
        refused=error.rule.is_refusal,
    )


class StoreGuardInterceptor(Interceptor):
    """Refuses calls of the store on the event loop, where a lock wait would stop all heartbeats."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the next interceptor."""
        return _StoreGuard(next)


class _StoreGuard(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        # For this activity only: each runs in a task with a context of its own.
        guard_event_loop()
        return await self.next.execute_activity(input)


class HeartbeatInterceptor(Interceptor):
    """Sends heartbeats of an activity until it ends, whatever it waits for.

    So a heartbeat timeout means that the worker is dead, and never that a host or a provider does
    not answer: these waits have limits of their own. Each heartbeat repeats the last details.
    """

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the next interceptor."""
        return _Heartbeats(next)


class _LastDetails(ActivityOutboundInterceptor):
    """Remembers the details of the last heartbeat, at first those of the attempt before."""

    def __init__(self, next: ActivityOutboundInterceptor) -> None:
        super().__init__(next)
        self._details = tuple(next.info().heartbeat_details)

    def heartbeat(self, *details: Any) -> None:
        self._details = details
        super().heartbeat(*details)

    async def repeat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL.total_seconds())
            super().heartbeat(*self._details)


class _Heartbeats(ActivityInboundInterceptor):
    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        self._last = _LastDetails(outbound)
        super().init(self._last)

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        if activity.info().heartbeat_timeout is None:
            return await self.next.execute_activity(input)
        beats = asyncio.create_task(self._last.repeat())
        try:
            return await self.next.execute_activity(input)
        finally:
            beats.cancel()


class FaultInterceptor(Interceptor):
    """Converts every domain error that leaves an activity, and the interruption of an attempt."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the next interceptor."""
        return _FaultConversion(next)


class _FaultConversion(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        try:
            return await self.next.execute_activity(input)
        except DomainError as error:
            fault = fault_of(error)
            _log(fault, retryable=error.retryable)
            raise ApplicationError(
                fault.summary,
                fault.model_dump(mode="json"),
                type=fault.kind,
                non_retryable=not error.retryable,
                next_retry_delay=_delay(error),
            ) from error
        except (asyncio.CancelledError, CancelledError) as error:
            if not _interrupted():
                raise
            fault = new_fault(
                "timed-out", "its worker was stopped before it ended", activity.info().activity_type
            )
            raise ApplicationError(
                fault.summary,
                fault.model_dump(mode="json"),
                type="worker-stopped",
                next_retry_delay=RESUME_AFTER,
                category=ApplicationErrorCategory.BENIGN,
            ) from error


def _interrupted() -> bool:
    """Return whether the attempt is cancelled because its worker stops: another one goes on."""
    details = activity.cancellation_details()
    return details is not None and details.worker_shutdown and not details.cancel_requested


def _delay(error: DomainError) -> timedelta | None:
    """Return when the activity is tried again; None: as its policy says."""
    return max(error.retry_after, MIN_RETRY_AFTER) if error.retry_after is not None else None


def _log(fault: Fault, *, retryable: bool) -> None:
    """Log the fault immediately: it may be retried for a long time.

    The other attributes are bound already. The host of the fault overrides theirs.
    """
    attributes = {
        names.LOG_FAULT: fault.kind,
        names.LOG_FAULT_CLASS: fault.fault_class.value,
        names.LOG_HOST: fault.machine_key,
        names.LOG_ADDRESS: fault.host,
        "retried": retryable,
    }
    log.warning(
        fault.summary,
        **{name: value for name, value in attributes.items() if value is not None},
    )
