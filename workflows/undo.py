"""Undo steps (compensation), registered before the step that they undo.

They run when the workflow's body ends with the failure of a step or with a cancellation. They do
not run for a bug in workflow code: the workflow then waits for a worker with the bug fixed, and
nothing is destroyed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import FailureError

from relight.domain.fault.fault import Fault
from workflows.failures import fault_of
from workflows.shield import shielding

I = TypeVar("I")  # noqa: E741 - a step's input


class UndoStack:
    """The undo steps of one workflow body. The last registered runs first.

    Use it as `async with UndoStack() as undo:` around the body.
    """

    def __init__(self) -> None:
        self._undos: list[Callable[[Fault], Awaitable[Any]]] = []

    def on_failure(self, step: Callable[[I], Awaitable[Any]], input: I) -> None:
        """Run `step` with `input` if the body fails or is cancelled."""
        self._undos.append(lambda _fault: step(input))

    def on_fault(self, step: Callable[[I], Awaitable[Any]], build: Callable[[Fault], I]) -> None:
        """Run `step` if the body fails or is cancelled; `build` makes its input from the fault."""
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
        with shielding():
            for undo in reversed(self._undos):
                try:
                    await undo(fault)
                except FailureError as failure:
                    # One failed undo must not keep the others from running.
                    workflow.logger.error("undo failed: %s", fault_of(failure).summary)
