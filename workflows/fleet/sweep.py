"""One step of a sweep on one machine, under the lock of that machine."""

from temporalio import workflow
from temporalio.common import VersioningBehavior

from relight.domain.destruction import Removal
from relight.domain.machine import DestroyMachineInput, MachineAtProvider
from relight.domain.reconcile.run import (
    MachineSwept,
    RecordSweptInput,
    SweepMachineInput,
)
from relight.domain.sweep.sweep import SweepStep
from workflows.fleet.steps import MachineActivities, SweepActivities
from workflows.machine.remove import destruction_refusal


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
            f"**{observed.step or 'left alone'}** {key}: {observed.reason}"
        )
        if observed.step is None:
            return MachineSwept(key=key, reason=observed.reason)
        if observed.step is SweepStep.DESTROY and observed.machine is not None:
            removal = _removal_of(observed.machine, observed.reason, input)
            refusal = await destruction_refusal(removal)
            if refusal is not None:
                return MachineSwept(key=key, reason=f"{observed.reason}, but {refusal}")
            await MachineActivities.destroy_machine(
                DestroyMachineInput(
                    provider=observed.machine.provider,
                    key=key,
                    provider_id=observed.machine.provider_id,
                    generation=observed.machine.generation,
                    region=observed.machine.region,
                )
            )
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


def _removal_of(machine: MachineAtProvider, reason: str, input: SweepMachineInput) -> Removal:
    return Removal(
        key=machine.key,
        provider=machine.provider,
        region=machine.region,
        provider_id=machine.provider_id,
        reason=reason,
        origin=input.origin,
    )
