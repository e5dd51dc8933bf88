"""One step of a sweep, under the lock of the machine that it is about."""

from temporalio import workflow
from temporalio.common import VersioningBehavior

from relight.domain.machine import DestroyMachineInput
from relight.domain.reconcile.run import (
    MachineSwept,
    RecordSweptInput,
    SweepMachineInput,
)
from relight.domain.replacement import Removal
from relight.domain.sweep.sweep import MachineAtProvider, SweepStep
from workflows.fleet.steps import MachineActivities, SweepActivities
from workflows.machine.remove import why_not_destroy


# Minutes long: it ends on the code that it began with.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class SweepMachine:
    """Look at a machine once more, and adopt it, destroy it, or write down that it is lost.

    An operation that began since the sweep may have taken the machine up: it has had the lock
    then, and what is seen now is what it left.
    """

    @workflow.run
    async def run(self, input: SweepMachineInput) -> MachineSwept:
        """Look again, act, record."""
        key = input.step.key
        seen = await SweepActivities.observe_machine(input)
        workflow.set_current_details(f"**{seen.step or 'left alone'}** {key}: {seen.reason}")
        if seen.step is None:
            return MachineSwept(key=key, reason=seen.reason)
        if seen.step is SweepStep.DESTROY and seen.machine is not None:
            why_not = await why_not_destroy(_doomed(seen.machine, seen.reason, input))
            if why_not is not None:
                return MachineSwept(key=key, reason=f"{seen.reason}, but {why_not}")
            await MachineActivities.destroy_machine(
                DestroyMachineInput(
                    provider=seen.machine.provider,
                    key=key,
                    provider_id=seen.machine.provider_id,
                    generation=seen.machine.generation,
                )
            )
        await SweepActivities.record_swept(
            RecordSweptInput(
                step=seen.step,
                key=key,
                reason=seen.reason,
                origin=input.origin,
                machine=seen.machine,
            )
        )
        return MachineSwept(key=key, reason=seen.reason, step=seen.step)


def _doomed(machine: MachineAtProvider, reason: str, input: SweepMachineInput) -> Removal:
    return Removal(
        key=machine.key,
        provider=machine.provider,
        region=machine.region,
        provider_id=machine.provider_id,
        reason=reason,
        origin=input.origin,
    )
