"""Remove a machine: drain it, ask the breaker, destroy the machine, record that."""

from contextlib import suppress

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import (
    ActivityError,
    FailureError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

from relight.domain.destruction import (
    CheckDestructionInput,
    DestructionAllowed,
    EvaluateBreakerInput,
    MachineRemoved,
    RecordDestroyedInput,
    Removal,
    RemoveMachineInput,
)
from relight.domain.fault.fault import Fault
from relight.domain.machine import DestroyMachineInput
from relight.domain.names import machine_workflow_id
from relight.domain.reconcile.run import VerifyRoutesInput
from relight.domain.replacement import DrainMachineInput
from relight.domain.route import RecordFaultInput
from relight.engine import search_attributes
from workflows.failures import fault_of
from workflows.machine.steps import (
    DestructionActivities,
    DrainActivities,
    MachineActivities,
    ObservationActivities,
    RouteActivities,
    VerificationActivities,
)
from workflows.reporting import report_fault
from workflows.shield import growing_pauses, retry_until_done

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


# A run stays on the worker version that started it, until it continues as a new one.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class RemoveMachine:
    """Drain a machine that serves no route any more, and destroy it once the breaker allows it.

    Its workflow id is the machine's lock; the route is free meanwhile. A failed destruction is
    retried without limit. While the breaker refuses, it is evaluated before each attempt: no
    schedule may do that. The details of the workflow show what it waits for, until when, and what
    ends it sooner. A cancellation leaves the machine `draining`: a later sweep destroys it.
    """

    @workflow.init
    def __init__(self, input: RemoveMachineInput) -> None:
        machine = input.machine
        self._input = input
        self._removal = Removal(
            key=machine.key,
            provider=machine.provider,
            region=machine.region,
            provider_id=machine.provider_id,
            track=input.track,
            reason=input.reason,
            unreachable=input.unreachable,
            origin=input.origin,
        )

    @workflow.run
    async def run(self, input: RemoveMachineInput) -> MachineRemoved:
        """Drain the machine, and destroy it as soon as the breaker allows it."""
        if not input.drained:
            await self._drain()
        try:
            await self._remove()
        except FailureError as error:
            if not is_cancelled_exception(error):
                fault = fault_of(error)
                report_fault(fault)
                await retry_until_done(RouteActivities.record_fault, self._fault_record(fault))
            raise
        return MachineRemoved(key=input.machine.key)

    async def _drain(self) -> None:
        try:
            await DrainActivities.drain_machine(
                DrainMachineInput(route_id=self._input.route_id, machine=self._input.machine)
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            key, summary = self._input.machine.key, fault_of(error).summary
            workflow.logger.warning("%s was not drained: %s", key, summary)

    async def _remove(self) -> None:
        """Destroy the machine as soon as the breaker allows it. Raises as `_try_to_destroy`."""
        key = self._removal.key
        for pause in growing_pauses():
            reason = await self._try_to_destroy()
            if reason is None:
                workflow.set_current_details("")
                return
            workflow.set_current_details(f"machine {key} is not destroyed yet: {reason}")
            await workflow.sleep(pause, summary=f"pause before the next attempt to destroy {key}")
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(self._input.model_copy(update={"drained": True}))

    async def _try_to_destroy(self) -> str | None:
        """Return why the machine is not destroyed yet; None if it is destroyed.

        Raises:
            FailureError: the removal is cancelled, or the machine with this key may not be ours.
        """
        try:
            allowed = await _check(self._removal)
            if allowed.by_breaker:
                await _evaluate_breaker(self._removal)
                allowed = await _check(self._removal)
            if allowed.why_not is None:
                # The provider may be down for long: the activity is retried until it answers.
                workflow.set_current_details(
                    f"machine {self._removal.key} is being destroyed at {self._removal.provider}, "
                    "until the provider reports that it is gone"
                )
                await destroy(self._removal)
        except FailureError as error:
            fault = fault_of(error)
            if fault.kind in NOT_OURS or is_cancelled_exception(error):
                raise
            return fault.summary
        return allowed.why_not

    def _fault_record(self, fault: Fault) -> RecordFaultInput:
        return RecordFaultInput(
            route_id=self._input.route_id,
            release_tag=None,
            fault=fault,
            origin=self._input.origin,
            machine_key=self._input.machine.key,
        )


async def start_removal(input: RemoveMachineInput) -> None:
    """Start the removal of a machine, unless it runs already. Does not wait for its end."""
    key = input.machine.key
    with suppress(WorkflowAlreadyStartedError):
        await workflow.start_child_workflow(
            RemoveMachine.run,
            input,
            id=machine_workflow_id(key),
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
            search_attributes=search_attributes.attributes(
                {search_attributes.ROUTE: input.route_id}
            ),
            static_summary=f"remove {key}",
            static_details=input.reason,
        )
