"""Remove a machine: ask the breaker, destroy the machine, record that."""

from temporalio import workflow
from temporalio.exceptions import FailureError

from relight.domain.destruction import (
    CheckDestructionInput,
    DestructionAllowed,
    EvaluateBreakerInput,
    RecordDestroyedInput,
    Removal,
)
from relight.domain.machine import DestroyMachineInput
from relight.domain.reconcile.run import VerifyRoutesInput
from workflows.failures import fault_of
from workflows.machine.steps import (
    DestructionActivities,
    MachineActivities,
    ObservationActivities,
    VerificationActivities,
)
from workflows.shield import growing_pauses

NOT_OURS = frozenset({"machine-not-ours", "machine-conflict"})
"""Fault kinds left to a person: the machine with this key may not be ours. Waiting cannot help."""


async def destruction_refusal(removal: Removal) -> str | None:
    """Return why a machine may not be destroyed now; None if it may."""
    return (await _check(removal)).why_not


async def _check(removal: Removal) -> DestructionAllowed:
    return await DestructionActivities.check_destruction.local(
        CheckDestructionInput(
            key=removal.key, provider=removal.provider, region=removal.region, track=removal.track
        )
    )


async def _evaluate_breaker(removal: Removal) -> None:
    """Evaluate the breaker, and again if more routes have to be verified for it."""
    evaluate = EvaluateBreakerInput(origin=removal.origin)
    evaluated = await ObservationActivities.evaluate_breaker(evaluate)
    if evaluated.to_verify:
        await VerificationActivities.verify_routes(
            VerifyRoutesInput(routes=evaluated.to_verify, origin=removal.origin)
        )
        await ObservationActivities.evaluate_breaker(evaluate)


async def destroy(removal: Removal) -> None:
    """Destroy a machine that the breaker allows to destroy, and record that. Absent is success.

    Raises:
        FailureError: the machine may still exist, or its destruction is not recorded.
    """
    await MachineActivities.destroy_machine(
        DestroyMachineInput(
            provider=removal.provider,
            key=removal.key,
            provider_id=removal.provider_id,
            region=removal.region,
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
    """Destroy a machine as soon as the breaker allows it. Retries without limit.

    While the breaker refuses, it is evaluated before each attempt: no schedule may do that. The
    details of the operation show what it waits for, until when, and what ends it sooner.

    Raises:
        FailureError: the machine with this key may not be ours; nothing was destroyed.
    """
    for pause in growing_pauses():
        try:
            allowed = await _check(removal)
            if allowed.by_breaker:
                await _evaluate_breaker(removal)
                allowed = await _check(removal)
            reason = allowed.why_not
            if reason is None:
                await destroy(removal)
                workflow.set_current_details("")
                return
        except FailureError as error:
            fault = fault_of(error)
            if fault.kind in NOT_OURS:
                raise
            reason = fault.summary
        workflow.set_current_details(f"machine {removal.key} is not destroyed yet: {reason}")
        await workflow.sleep(
            pause, summary=f"pause before the next attempt to destroy {removal.key}"
        )
