"""The end of a machine: asked of the breaker, destroyed, written down."""

from temporalio import workflow
from temporalio.exceptions import FailureError

from relight.domain.machine import DestroyMachineInput
from relight.domain.replacement import (
    AskDestructionInput,
    RecordDestroyedInput,
    Removal,
)
from workflows.failures import fault_of
from workflows.machine.steps import DestructionActivities, MachineActivities
from workflows.shield import growing_pauses

LEFT_TO_A_PERSON = frozenset({"machine-not-ours", "machine-conflict"})
"""What has the machine's key is not known to be ours: that does not change by waiting."""


async def why_not_destroy(removal: Removal) -> str | None:
    """Ask the breaker why a machine may not be destroyed now; None where it may."""
    allowed = await DestructionActivities.ask_destruction.local(
        AskDestructionInput(
            key=removal.key, provider=removal.provider, region=removal.region, track=removal.track
        )
    )
    return allowed.why_not


async def destroy(removal: Removal) -> None:
    """Destroy a machine that the breaker lets go, and write it down. Absent is success.

    Raises:
        FailureError: it is not known to be gone, or that is not written down.
    """
    await MachineActivities.destroy_machine(
        DestroyMachineInput(
            provider=removal.provider, key=removal.key, provider_id=removal.provider_id
        )
    )
    await DestructionActivities.record_destroyed(
        RecordDestroyedInput(
            key=removal.key,
            reason=removal.reason,
            unreachable=removal.unreachable,
            origin=removal.origin,
        )
    )


async def remove(removal: Removal) -> None:
    """Destroy a machine as soon as the breaker lets it go, however often that has to be tried.

    What it waits for is shown as the operation's details.

    Raises:
        FailureError: what has its key is not known to be ours: nothing was destroyed.
    """
    for pause in growing_pauses():
        try:
            why_not = await why_not_destroy(removal)
            if why_not is None:
                await destroy(removal)
                workflow.set_current_details("")
                return
        except FailureError as error:
            fault = fault_of(error)
            if fault.kind in LEFT_TO_A_PERSON:
                raise
            why_not = fault.summary
        workflow.set_current_details(f"machine {removal.key} is not destroyed yet: {why_not}")
        await workflow.sleep(pause, summary=f"until {removal.key} may be destroyed")
