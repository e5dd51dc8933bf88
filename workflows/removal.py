"""The end of a machine: asked of the breaker, destroyed, written down."""

from collections.abc import Iterator
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

from messages.autoreplace import AskDestructionInput, Doomed, RecordDestroyedInput
from messages.machine import DestroyMachineInput
from workflows import policies, steps
from workflows.failures import fault_of
from workflows.steps import Input, Output, Step

LEFT_TO_A_PERSON = frozenset({"machine-not-ours", "machine-conflict"})
"""What has the machine's key is not known to be ours: that does not change by waiting."""


async def why_not_destroy(doomed: Doomed) -> str | None:
    """Ask the breaker why a machine may not be destroyed now; None where it may."""
    allowed = await steps.ask_destruction.local(
        AskDestructionInput(
            key=doomed.key, provider=doomed.provider, region=doomed.region, track=doomed.track
        )
    )
    return allowed.why_not


async def destroy(doomed: Doomed) -> None:
    """Destroy a machine that the breaker lets go, and write it down. Absent is success.

    Raises:
        FailureError: it is not known to be gone, or that is not written down.
    """
    await steps.destroy_machine(
        DestroyMachineInput(
            provider=doomed.provider, key=doomed.key, provider_id=doomed.provider_id
        )
    )
    await steps.record_destroyed(
        RecordDestroyedInput(
            key=doomed.key,
            reason=doomed.reason,
            unreachable=doomed.unreachable,
            origin=doomed.origin,
        )
    )


async def remove(doomed: Doomed) -> None:
    """Destroy a machine as soon as the breaker lets it go, however often that has to be tried.

    What it waits for is shown as the operation's details.

    Raises:
        FailureError: what has its key is not known to be ours: nothing was destroyed.
    """
    for pause in growing_pauses():
        try:
            why_not = await why_not_destroy(doomed)
            if why_not is None:
                await destroy(doomed)
                workflow.set_current_details("")
                return
        except FailureError as error:
            fault = fault_of(error)
            if fault.kind in LEFT_TO_A_PERSON:
                raise
            why_not = fault.summary
        workflow.set_current_details(f"machine {doomed.key} is not destroyed yet: {why_not}")
        await workflow.sleep(pause, summary=f"until {doomed.key} may be destroyed")


async def insist(step: Step[Input, Output], input: Input) -> Output:
    """Run a step that there is no way back from until it is done."""
    for pause in growing_pauses():
        try:
            return await step(input)
        except FailureError as error:
            workflow.logger.error("it is tried again: %s", fault_of(error).summary)
        await workflow.sleep(pause, summary="until it is tried again")
    raise AssertionError  # The pauses have no end.


def growing_pauses() -> Iterator[timedelta]:
    """Yield how long to wait after each try that came to nothing, without an end."""
    pause = policies.FIRST_WAIT
    while True:
        yield pause
        pause = min(2 * pause, policies.LONGEST_WAIT)
