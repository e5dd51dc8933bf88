"""One step of a sweep on one machine, under the lock of that machine."""

from temporalio import workflow
from temporalio.common import VersioningBehavior

from relight.domain.destruction import DestroyMachineInput, DestructionReason
from relight.domain.machine import MachineAtProvider
from relight.domain.reconcile.run import (
    MachineSwept,
    RecordSweptInput,
    SweepMachineInput,
)
from relight.domain.sweep.sweep import SweepStep
from relight.domain.text import plain
from workflows.fleet.steps import SweepActivities
from workflows.machine.remove import destroy


# It takes minutes, so a run stays on the worker version that started it.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class SweepMachine:
    """Observe a machine again under its lock, and adopt it, destroy it, or record it as lost.

    The new observation matters because an operation may have changed the machine since the sweep
    was planned. A failure or a cancellation leaves the machine for the next sweep.
    """

    @workflow.run
    async def run(self, input: SweepMachineInput) -> MachineSwept:
        """Observe the machine, take the step if it is still right, and record it."""
        key = input.step.key
        observed = await SweepActivities.observe_machine(input)
        workflow.set_current_details(
            f"**{observed.step or 'left alone'}** {key}: {plain(observed.reason)}"
        )
        if observed.step is None:
            return MachineSwept(key=key, reason=observed.reason)
        if observed.step is SweepStep.DESTROY and observed.machine is not None:
            # The gate asks again, and records what it destroys.
            request = _request(observed.machine, observed.reason, input)
            refusal = (await destroy(request)).refusal
            if refusal is not None:
                return MachineSwept(key=key, reason=f"{observed.reason}, but {refusal.why}")
            return MachineSwept(key=key, reason=observed.reason, step=observed.step)
        await SweepActivities.record_swept(
            RecordSweptInput(
                step=observed.step,
                key=key,
                reason=observed.reason,
                origin=input.origin,
                machine=observed.machine,
            )
        )
        return MachineSwept(key=key, reason=observed.reason, step=observed.step)


def _request(
    machine: MachineAtProvider, reason: str, input: SweepMachineInput
) -> DestroyMachineInput:
    return DestroyMachineInput(
        provider=machine.provider,
        key=machine.key,
        provider_id=machine.provider_id,
        generation=machine.generation,
        region=machine.region,
        reason=DestructionReason.ORPHAN,
        text=reason,
        origin=input.origin,
    )
