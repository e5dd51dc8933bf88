"""Compensation, registered before the deed.

An undo runs when the workflow's body ends by a failure of its steps or by cancellation. It does
not run for a plain bug in workflow code: that leaves the workflow where it is, for a worker with
the bug mended, and destroys nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import FailureError

from messages.faults import Fault
from workflows.failures import fault_of

I = TypeVar("I")  # noqa: E741 - a step's input
Output = TypeVar("Output")

_undoing: ContextVar[bool] = ContextVar("undoing", default=False)


def undoing() -> bool:
    """Whether the code that asks must not be cut short by a cancel, as an undo must not."""
    return _undoing.get()


async def to_the_end(deed: Coroutine[Any, Any, Output]) -> Output:
    """Await what there is no way back from: a cancel that comes meanwhile does not reach it."""
    token = _undoing.set(True)
    try:
        under_way = asyncio.create_task(deed)
    finally:
        _undoing.reset(token)
    with suppress(asyncio.CancelledError):
        return await asyncio.shield(under_way)
    return await under_way


class UndoStack:
    """What to undo, last registered first.

    Used as `async with UndoStack() as undo:` around a workflow's body.
    """

    def __init__(self) -> None:
        self._undos: list[Callable[[Fault], Awaitable[Any]]] = []

    def on_failure(self, step: Callable[[I], Awaitable[Any]], input: I) -> None:
        """Run `step` with `input` if the body fails or is cancelled."""
        self._undos.append(lambda _fault: step(input))

    def on_fault(self, step: Callable[[I], Awaitable[Any]], build: Callable[[Fault], I]) -> None:
        """Run `step` with what `build` makes of the fault that ended the body."""
        self._undos.append(lambda fault: step(build(fault)))

    async def __aenter__(self) -> "UndoStack":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not isinstance(error, (FailureError, asyncio.CancelledError)):
            return
        fault = fault_of(error)
        token = _undoing.set(True)
        try:
            for undo in reversed(self._undos):
                try:
                    await undo(fault)
                except FailureError as failure:
                    # One undo that cannot be done must not keep the others from being done.
                    workflow.logger.error("undo failed: %s", fault_of(failure).summary)
        finally:
            _undoing.reset(token)
