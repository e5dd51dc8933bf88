"""Running a gate check until it gives an answer or the rollout ends."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from temporalio import workflow
from temporalio.exceptions import ActivityError

from relight.domain.rollout.gate import CheckGateInput, GateChecked
from workflows.failures import fault_of
from workflows.rollout.incident import FIRST_INCIDENT_PAUSE
from workflows.rollout.steps import GateCheckActivities
from workflows.rollout.waiting import longer, run_until


async def run_check(
    input: CheckGateInput, is_over: Callable[[], bool], report: Callable[[str], Awaitable[None]]
) -> GateChecked | None:
    """Return the result of a check; None if the wait for it is over before.

    A check without an answer says nothing about the release. It is retried with growing pauses.

    Args:
        input: the check and the wave.
        is_over: returns whether the rollout has ended, or must continue as new.
        report: receives the reason why there is no answer yet.
    """
    pause, since = FIRST_INCIDENT_PAUSE, workflow.now()
    while not is_over():
        attempt = await run_until(GateCheckActivities.check_gate(input), is_over)
        if attempt.cancelled() or is_over():
            return None
        try:
            return attempt.result()
        except ActivityError as error:
            await report(fault_of(error).summary)
        with suppress(TimeoutError):
            await workflow.wait_condition(
                is_over,
                timeout=pause,
                timeout_summary=f"pause before check {input.name} is retried",
            )
        pause = longer(pause, workflow.now() - since)
    return None
