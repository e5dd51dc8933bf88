"""What can befall an activity, done on purpose."""

from collections.abc import Callable
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
    """What befalls the chosen step, on its first attempt."""

    REPLY_LOST = "reply lost"
    RUN_TWICE = "run twice"
    CANCELLED_BEFORE = "cancelled before it acts"
    CANCELLED_AFTER = "cancelled after it acted"
    FAILS_BEFORE = "fails before it acts"
    FAILS_AFTER = "fails after it acted"


class Interference(Interceptor):
    """Brings one mishap on one step, and remembers every step that ran.

    Attributes:
        ran: the activity types in the order in which they were started, retries included.
    """

    def __init__(self) -> None:
        self.ran: list[str] = []
        self._step: str | None = None
        self._injection: Injection | None = None
        self._client: Client | None = None

    def bring(self, injection: Injection, step: str, client: Client) -> None:
        """Bring `mishap` on the first attempt of the activity type `step`."""
        self.ran.clear()
        self._injection, self._step, self._client = injection, step, client

    def leave_alone(self) -> None:
        """Bring nothing more."""
        self.ran.clear()
        self._injection = self._step = None

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Interfering(next, self)

    async def around(self, act: Callable[[], Any]) -> Any:
        """Run `act` with the mishap that is due to it, if any."""
        info = activity.info()
        self.ran.append(info.activity_type)
        if info.activity_type != self._step or info.attempt > 1:
            return await act()
        injection, self._step = self._injection, None
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
        assert self._client is not None
        info = activity.info()
        assert info.workflow_id is not None
        handle = self._client.get_workflow_handle(info.workflow_id, run_id=info.workflow_run_id)
        await handle.cancel()


class _Interfering(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, interference: Interference) -> None:
        super().__init__(next)
        self._interference = interference

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        return await self._interference.around(lambda: self.next.execute_activity(input))
