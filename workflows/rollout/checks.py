"""A check of the operator's own, asked until it answers or nobody waits for it any more."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from temporalio import workflow
from temporalio.exceptions import ActivityError

from relight.domain.rollout.gate import CheckGateInput, GateChecked
from workflows.failures import fault_of
from workflows.rollout.steps import GateCheckActivities
from workflows.rollout.wave import FIRST_INCIDENT_PAUSE, LONGEST_INCIDENT_PAUSE


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
    pause = FIRST_INCIDENT_PAUSE
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
        pause = min(2 * pause, LONGEST_INCIDENT_PAUSE)
    return None


async def _asked(asked: CheckGateInput, is_over: Callable[[], bool]) -> asyncio.Task[GateChecked]:
    """Ask once, and call it off where the rollout ends meanwhile; what is returned is done."""
    asking = asyncio.create_task(GateCheckActivities.check_gate(asked))
    try:
        await workflow.wait_condition(lambda: asking.done() or is_over())
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    return asking
