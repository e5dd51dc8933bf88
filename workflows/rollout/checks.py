"""Running a gate check until it gives an answer or the rollout ends."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from temporalio import workflow
from temporalio.exceptions import ActivityError

from relight.domain.rollout.gate import CheckGateInput, GateChecked
from workflows.failures import fault_of
from workflows.rollout.incident import FIRST_INCIDENT_PAUSE, MAX_INCIDENT_PAUSE
from workflows.rollout.steps import GateCheckActivities


async def run_check(
    input: CheckGateInput, has_ended: Callable[[], bool], report: Callable[[str], None]
) -> GateChecked | None:
    """Return the result of a check; None if the rollout has ended meanwhile.

    A check without an answer says nothing about the release. It is retried with growing pauses.

    Args:
        input: the check and the wave.
        has_ended: returns whether the rollout has ended.
        report: receives the reason why there is no answer yet.
    """
    pause = FIRST_INCIDENT_PAUSE
    while not has_ended():
        attempt = await _attempt(input, has_ended)
        if attempt.cancelled() or has_ended():
            return None
        try:
            return attempt.result()
        except ActivityError as error:
            report(fault_of(error).summary)
        with suppress(TimeoutError):
            await workflow.wait_condition(
                has_ended,
                timeout=pause,
                timeout_summary=f"pause before check {input.name} is retried",
            )
        pause = min(2 * pause, MAX_INCIDENT_PAUSE)
    return None


async def _attempt(
    input: CheckGateInput, has_ended: Callable[[], bool]
) -> asyncio.Task[GateChecked]:
    """Run the check once; cancel it if the rollout ends. The returned task is done."""
    attempt = asyncio.create_task(GateCheckActivities.check_gate(input))
    try:
        await workflow.wait_condition(lambda: attempt.done() or has_ended())
    finally:
        attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)
    return attempt
