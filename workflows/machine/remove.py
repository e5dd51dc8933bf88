"""Remove a machine: drain it, and destroy it as soon as the gate allows it."""

from contextlib import suppress

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import (
    ActivityError,
    FailureError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

from relight.domain.base import Origin
from relight.domain.destruction import (
    FOR_A_PERSON,
    BeginRemovalInput,
    DestroyMachineInput,
    DestructionReason,
    EvaluateBreakerInput,
    MachineDestroyed,
    MachineRemoved,
    RefusedBy,
    RemoveMachineInput,
)
from relight.domain.fault.fault import Fault
from relight.domain.machine import Machine, MachinePlan
from relight.domain.names import RouteId, TrackName, machine_workflow_id
from relight.domain.reconcile.run import VerifyRoutesInput
from relight.domain.replacement import DrainMachineInput
from relight.domain.route import RecordFaultInput
from relight.domain.text import plain
from relight.engine import search_attributes
from workflows.failures import fault_of
from workflows.machine.steps import (
    DestructionActivities,
    DrainActivities,
    ObservationActivities,
    RouteActivities,
    VerificationActivities,
)
from workflows.reporting import report_fault
from workflows.shield import growing_pauses, retry_until_done

NOT_OURS = frozenset({"machine-not-ours", "machine-conflict"})
"""Fault kinds left to a person: the machine with this key may not be ours. Waiting cannot help."""


async def destroy(request: DestroyMachineInput) -> MachineDestroyed:
    """Destroy a machine, if the gate allows it now. Absent is success.

    Every workflow that destroys a machine does it here.

    Raises:
        FailureError: the machine may still exist.
    """
    return await DestructionActivities.destroy_machine(request)


def removal_request(
    machine: Machine,
    reason: DestructionReason,
    origin: Origin,
    *,
    text: str,
    track: TrackName | None = None,
    unreachable: bool = False,
) -> DestroyMachineInput:
    """Return the request to destroy a machine as last observed."""
    return DestroyMachineInput(
        provider=machine.provider,
        key=machine.key,
        provider_id=machine.provider_id,
        region=machine.region,
        track=track,
        reason=reason,
        text=text,
        unreachable=unreachable,
        origin=origin,
    )


def undo_request(plan: MachinePlan, cause: Fault, origin: Origin) -> DestroyMachineInput:
    """Return the request to destroy what this run created by a plan, if it did."""
    return DestroyMachineInput(
        provider=plan.provider,
        key=plan.key,
        region=plan.region,
        track=plan.track,
        reason=DestructionReason.UNDONE,
        text=f"{cause.kind}: {cause.summary}",
        created_by=workflow.info().run_id,
        origin=origin,
    )


async def undo_creation(request: DestroyMachineInput, route_id: RouteId) -> bool:
    """Destroy the machine that a failed operation created; return whether it does not exist now.

    One that the operation did not create, and that may work, is left as it is: the gate has
    recorded why, and with which command a person removes it. If only the breaker or a limit
    refuses, the machine is removed by an operation of its own, which waits for them.

    Raises:
        FailureError: the machine may still exist.
    """
    refusal = (await destroy(request)).refusal
    if refusal is None:
        return True
    workflow.logger.warning("%s is not destroyed: %s", request.key, refusal.why)
    if refusal.created and refusal.by not in FOR_A_PERSON:
        await DestructionActivities.begin_removal(
            BeginRemovalInput(key=request.key, origin=request.origin)
        )
        await start_removal(
            RemoveMachineInput(
                route_id=route_id, reason=request.text, origin=request.origin, request=request
            )
        )
    return False


# A run stays on the worker version that started it, until it continues as a new one.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class RemoveMachine:
    """Drain a machine that serves no route any more, and destroy it once the gate allows it.

    Its workflow id is the machine's lock; the route is free meanwhile. A failed or refused
    destruction is tried again without limit. The details of the workflow show what it waits for,
    until when, and what ends it sooner. It also ends if a person keeps the machine. A cancellation
    leaves the machine `draining`: a later sweep destroys it.
    """

    @workflow.init
    def __init__(self, input: RemoveMachineInput) -> None:
        self._input = input
        self._request = input.request
        self._kept: str | None = None

    @workflow.run
    async def run(self, input: RemoveMachineInput) -> MachineRemoved:
        """Drain the machine, and destroy it as soon as the gate allows it."""
        if input.machine is not None and input.route_id is not None and not input.drained:
            await self._drain(input.route_id, input.machine)
        try:
            await self._remove()
        except FailureError as error:
            if not is_cancelled_exception(error):
                fault = fault_of(error)
                report_fault(fault)
                if input.route_id is not None:
                    record = self._fault_record(input.route_id, fault)
                    await retry_until_done(RouteActivities.record_fault, record)
            raise
        return MachineRemoved(key=self._request.key, kept=self._kept)

    async def _drain(self, route_id: RouteId, machine: Machine) -> None:
        try:
            await DrainActivities.drain_machine(
                DrainMachineInput(route_id=route_id, machine=machine)
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            summary = fault_of(error).summary
            workflow.logger.warning("%s was not drained: %s", machine.key, summary)

    async def _remove(self) -> None:
        """Destroy the machine as soon as the gate allows it, unless a person keeps it.

        Raises:
            FailureError: as `_try_to_destroy`.
        """
        key = self._request.key
        # The provider may be down for long: the activity is retried until it answers.
        workflow.set_current_details(
            f"machine {key} is being destroyed at {self._request.provider}, if that is allowed, "
            "until the provider reports that it is gone"
        )
        for pause in growing_pauses():
            reason = await self._try_to_destroy()
            if reason is None:
                workflow.set_current_details("")
                return
            workflow.set_current_details(
                f"machine {key} is not destroyed yet: {plain(reason)}; "
                f"`relight machine keep {key}` ends this removal"
            )
            await workflow.sleep(pause, summary=f"pause before the next attempt to destroy {key}")
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(self._input.model_copy(update={"drained": True}))

    async def _try_to_destroy(self) -> str | None:
        """Return why the machine is not destroyed yet; None if it is destroyed, or kept.

        Raises:
            FailureError: the removal is cancelled, or the machine with this key may not be ours.
        """
        try:
            refusal = (await destroy(self._request)).refusal
            if refusal is not None and refusal.by is RefusedBy.BREAKER and await self._verify():
                refusal = (await destroy(self._request)).refusal
        except FailureError as error:
            fault = fault_of(error)
            if fault.kind in NOT_OURS or is_cancelled_exception(error):
                raise
            return fault.summary
        if refusal is not None and refusal.by is RefusedBy.KEPT:
            self._kept = refusal.why
            return None
        return refusal.why if refusal is not None else None

    async def _verify(self) -> bool:
        """Verify routes that the breaker needs to know; return whether there were any."""
        origin = self._request.origin
        evaluated = await ObservationActivities.evaluate_breaker(
            EvaluateBreakerInput(origin=origin)
        )
        if evaluated.to_verify:
            await VerificationActivities.verify_routes(
                VerifyRoutesInput(routes=evaluated.to_verify, origin=origin)
            )
        return bool(evaluated.to_verify)

    def _fault_record(self, route_id: RouteId, fault: Fault) -> RecordFaultInput:
        return RecordFaultInput(
            route_id=route_id,
            release_tag=None,
            fault=fault,
            origin=self._input.origin,
            machine_key=self._request.key,
        )


async def start_removal(input: RemoveMachineInput) -> None:
    """Start the removal of a machine, unless it runs already. Does not wait for its end."""
    key, route_id = input.request.key, input.route_id
    with suppress(WorkflowAlreadyStartedError):
        await workflow.start_child_workflow(
            RemoveMachine.run,
            input,
            id=machine_workflow_id(key),
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
            search_attributes=search_attributes.attributes({search_attributes.ROUTE: route_id}),
            static_summary=f"remove {key}",
            static_details=plain(input.reason),
        )
