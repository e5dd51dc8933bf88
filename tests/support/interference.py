"""Failures, cancellations and repetitions of activities, injected on purpose."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)


class Injection(StrEnum):
    """What happens to the first attempt of an activity."""

    REPLY_LOST = "reply lost"
    RUN_TWICE = "run twice"
    CANCELLED_BEFORE = "cancelled before it acts"
    CANCELLED_AFTER = "cancelled after it acted"
    FAILS_BEFORE = "fails before it acts"
    FAILS_AFTER = "fails after it acted"


REPEATED = (Injection.REPLY_LOST, Injection.RUN_TWICE)
"""The activity runs again, and the operation goes on."""

CUT_SHORT = tuple(injection for injection in Injection if injection not in REPEATED)
"""The operation is cancelled, or the activity fails finally."""


@dataclass(frozen=True)
class Pending:
    """An injection into the next activity of a type, of one workflow or of any."""

    injection: Injection
    step: str
    workflow_id: str | None

    def hits(self, info: activity.Info) -> bool:
        return (
            info.activity_type == self.step
            and info.attempt == 1
            and self.workflow_id in {None, info.workflow_id}
        )


class Interference(Interceptor):
    """Injects into activities, and records every attempt.

    Attributes:
        ran: the activity types in the order in which their attempts started.
        pending: the injections that have not happened yet.
    """

    def __init__(self, client: Client) -> None:
        self.ran: list[str] = []
        self._client = client
        self.pending: list[Pending] = []

    def inject(self, injection: Injection, step: str, workflow_id: str | None = None) -> None:
        """Inject into the next activity of type `step`: of any workflow, or of one."""
        self.pending.append(Pending(injection, step, workflow_id))

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Interfering(next, self)

    async def run(self, act: Callable[[], Any]) -> Any:
        """Run `act`, the body of the current activity, with the injection that is due to it."""
        info = activity.info()
        self.ran.append(info.activity_type)
        due = next((each for each in self.pending if each.hits(info)), None)
        if due is None:
            return await act()
        self.pending.remove(due)
        return await self._run_with(due.injection, act)

    async def _run_with(self, injection: Injection, act: Callable[[], Any]) -> Any:
        if injection is Injection.CANCELLED_BEFORE:
            await self._cancel()
        if injection is Injection.FAILS_BEFORE:
            raise ApplicationError("it failed", type="injected", non_retryable=True)
        result = await act()
        if injection is Injection.RUN_TWICE:
            result = await act()
        if injection is Injection.CANCELLED_AFTER:
            await self._cancel()
        if injection is Injection.FAILS_AFTER:
            raise ApplicationError("it failed", type="injected", non_retryable=True)
        if injection is Injection.REPLY_LOST:
            raise ApplicationError("the reply was lost", type="reply-lost")
        return result

    async def _cancel(self) -> None:
        info = activity.info()
        assert info.workflow_id is not None
        handle = self._client.get_workflow_handle(info.workflow_id, run_id=info.workflow_run_id)
        await handle.cancel()


class _Interfering(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, interference: Interference) -> None:
        super().__init__(next)
        self._interference = interference

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        return await self._interference.run(lambda: self.next.execute_activity(input))
