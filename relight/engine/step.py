"""Steps: activities together with their policy and summary.

An activity is declared once, at its definition: `@step(POLICY, summary)`. The worker registers the
activities of its class with `activities_of`. A workflow awaits the activity through the class:
`await RouteActivities.load_route(input)`.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, Protocol, Self, TypeVar, cast, overload

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    is_cancelled_exception,
)

from relight.domain.base import Message
from relight.domain.text import head, visible_line

Owner = TypeVar("Owner")
Input = TypeVar("Input", bound=Message)
Output = TypeVar("Output", bound=Message)
Returned = TypeVar("Returned")

shielded: ContextVar[bool] = ContextVar("shielded", default=False)
"""Whether the running code must finish despite a cancellation, as an undo must."""


MAX_SUMMARY_BYTES = 200
"""The server refuses a workflow's task if a summary in it has more than 400 bytes."""


@dataclass(frozen=True)
class Policy:
    """How long an activity may take, and how it is retried.

    Attributes:
        attempt: the time limit of one attempt.
        retry: pauses and number of attempts. An error that must not be retried carries that mark.
        heartbeat: the longest time between two heartbeats; None for short activities.
    """

    attempt: timedelta
    retry: RetryPolicy
    heartbeat: timedelta | None = None


_LASTING = "_lasting"
"""The name of the attribute of an activity's method that says whether its effect is lasting."""

_ONCE = RetryPolicy(maximum_attempts=1)


class Step(Generic[Input, Output, Returned]):
    """An activity with its policy and its summary.

    Accessed through an instance, it is the plain method. Accessed through the class, workflows
    await it. If the workflow is cancelled meanwhile, the step first waits for the activity to end,
    so that no undo overtakes it. It then raises the cancellation even if the activity succeeded,
    unless the running code is shielded.
    """

    def __init__(
        self,
        method: Callable[..., Any],
        policy: Policy,
        summary: Callable[[Any], str],
        *,
        lasting: bool,
    ) -> None:
        self._method = activity.defn(method)
        setattr(method, _LASTING, lasting)
        self._policy = policy
        self._summary = summary
        functools.update_wrapper(cast("Callable[..., Any]", self), method)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Callable[[Input], Returned]: ...
    def __get__(self, instance: object | None, owner: type) -> Self | Callable[[Input], Returned]:
        """Return the step for the class, the bound method for an instance."""
        if instance is None:
            return self
        return cast("Callable[[Input], Returned]", self._method.__get__(instance, owner))

    async def __call__(self, input: Input, activity_id: str | None = None) -> Output:
        """Run the activity under its policy.

        Args:
            input: of the activity.
            activity_id: that of an earlier activity, so that their writes to the store are those
                of one; None for a new one.

        Raises:
            ActivityError: the last attempt failed; its cause carries the fault.
            asyncio.CancelledError: the workflow was cancelled meanwhile.
        """
        output = await workflow.execute_activity(
            self._method,
            input,
            activity_id=activity_id,
            start_to_close_timeout=self._policy.attempt,
            heartbeat_timeout=self._policy.heartbeat,
            retry_policy=self._policy.retry,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=self._shown(input),
        )
        return self._unless_cancelled(output)

    async def local(self, input: Input) -> Output:
        """Run the activity in the worker of the workflow, without a task at the server.

        For activities that take milliseconds and ignore cancellation. It costs a tenth of a normal
        activity, and the history shows it as a marker with the same summary. Only its first attempt
        is made there: while a local activity is retried, the history grows by three events every
        few seconds. The retries are those of a normal activity, which add none. Raises as above.
        """
        # Both have the same id, so that their writes to the store are those of one activity.
        activity_id = str(workflow.uuid4())
        try:
            output = await workflow.execute_local_activity(
                self._method,
                input,
                activity_id=activity_id,
                start_to_close_timeout=self._policy.attempt,
                retry_policy=_ONCE,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                summary=self._shown(input),
            )
        except FailureError as error:
            if not _may_be_retried(error):
                raise
            self._unless_cancelled(None)
            return await self(input, activity_id)
        return self._unless_cancelled(output)

    def _shown(self, input: Input) -> str:
        return head(visible_line(self._summary(input)), MAX_SUMMARY_BYTES)

    def _unless_cancelled(self, output: Any) -> Output:
        if workflow.cancellation_reason() is not None and not shielded.get():
            raise asyncio.CancelledError
        return cast("Output", output)


def _may_be_retried(error: FailureError) -> bool:
    """Return whether a failed attempt was neither cancelled nor failed for good."""
    # The engine raises the failure of a local activity itself, not as the cause of another error.
    cause = error.cause if isinstance(error, ActivityError) else error
    for_good = isinstance(cause, ApplicationError) and cause.non_retryable
    return not (for_good or is_cancelled_exception(error))


class _Declare(Protocol):
    """Decorates a coroutine method, or a plain method that runs in a thread."""

    @overload
    def __call__(
        self, method: Callable[[Owner, Input], Coroutine[Any, Any, Output]]
    ) -> Step[Input, Output, Coroutine[Any, Any, Output]]: ...
    @overload
    def __call__(self, method: Callable[[Owner, Input], Output]) -> Step[Input, Output, Output]: ...


def step(policy: Policy, summary: Callable[[Any], str], *, lasting: bool = False) -> _Declare:
    """Declare a method as an activity.

    Args:
        policy: its timeouts and retries.
        summary: returns the text that the Temporal UI shows beside the activity, from its input.
        lasting: it does what nothing mends by itself later: it creates or destroys a machine,
            changes a host, deletes from the store, or changes which machines, routes and releases
            the store declares. A worker makes sure right before that the task is of its fleet.
    """

    def declare(method: Callable[..., Any]) -> Step[Any, Any, Any]:
        return Step(method, policy, summary, lasting=lasting)

    return cast("_Declare", declare)


def is_lasting(method: Callable[..., Any]) -> bool:
    """Return whether a method is declared as an activity whose effect is lasting."""
    return bool(getattr(method, _LASTING, False))


def activities_of(*owners: object) -> list[Callable[..., Any]]:
    """Return the activities of these instances, for registration with a worker."""
    return [
        getattr(owner, name)
        for owner in owners
        for name, member in vars(type(owner)).items()
        if isinstance(member, Step)
    ]
