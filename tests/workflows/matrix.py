"""Runs the cells of a matrix of injections side by side in one installation."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from tests.workflows.harness import Harness

Case = TypeVar("Case")
End = TypeVar("End")

CONCURRENCY = 16
"""As many cells keep two cores busy; more would only make each one slower."""


async def run_cells(
    harness: Harness, cell: Callable[[Harness, Case], Awaitable[End]], cases: Iterable[Case]
) -> dict[Case, End]:
    """Run `cell` for each case, and return what each returned.

    Each cell has a provider account and a track of its own.

    Raises:
        AssertionError: some cells failed; it lists each of them.
    """
    slots = asyncio.Semaphore(CONCURRENCY)

    async def run(case: Case) -> End:
        async with slots:
            return await cell(harness.cell(), case)

    all_cases = list(cases)
    ends = await asyncio.gather(*map(run, all_cases), return_exceptions=True)
    completed: dict[Case, End] = {}
    failed: dict[Case, BaseException] = {}
    for case, end in zip(all_cases, ends, strict=True):
        if isinstance(end, BaseException):
            failed[case] = end
        else:
            completed[case] = end
    if failed:
        lines = "\n".join(f"{case}: {_described(error)}" for case, error in failed.items())
        message = f"{len(failed)} of {len(all_cases)} cells failed, the first as above:\n{lines}"
        raise AssertionError(message) from next(iter(failed.values()))
    assert harness.interference.pending == [], "these injections did not happen"
    return completed


def _described(error: BaseException) -> str:
    """Return an error with its causes, as one text."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    return " <- ".join(f"{type(each).__name__}: {each}" for each in causes)
