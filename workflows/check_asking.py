"""A check of the operator's own, asked until it answers or nobody waits for it any more."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from temporalio import workflow
from temporalio.exceptions import ActivityError

from messages.gate import CheckGateInput, GateChecked
from workflows import steps
from workflows.failures import fault_of
from workflows.rollout_wave import FIRST_HOLD, LONGEST_HOLD


async def ask_check(
    asked: CheckGateInput, is_over: Callable[[], bool], tell: Callable[[str], None]
) -> GateChecked | None:
    """Return a check's answer; None where the rollout has ended meanwhile.

    One that gives no answer says nothing about the release: it is asked again, less and less often.

    Args:
        asked: the check, and what it is asked about.
        is_over: whether the rollout has ended.
        tell: is told why there is no answer.
    """
    pause = FIRST_HOLD
    while not is_over():
        asking = await _asked(asked, is_over)
        if asking.cancelled() or is_over():
            return None
        try:
            return asking.result()
        except ActivityError as error:
            tell(fault_of(error).summary)
        with suppress(TimeoutError):
            await workflow.wait_condition(
                is_over, timeout=pause, timeout_summary=f"until {asked.name} is asked again"
            )
        pause = min(2 * pause, LONGEST_HOLD)
    return None


async def _asked(asked: CheckGateInput, is_over: Callable[[], bool]) -> asyncio.Task[GateChecked]:
    """Ask once, and call it off where the rollout ends meanwhile; what is returned is done."""
    asking = asyncio.create_task(steps.check_gate(asked))
    try:
        await workflow.wait_condition(lambda: asking.done() or is_over())
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    return asking
