"""Liveness of all machines, and the verification of those that fell silent."""

from contextlib import suppress

from temporalio import workflow
from temporalio.common import Priority, VersioningBehavior
from temporalio.exceptions import WorkflowAlreadyStartedError

from relight.domain.destruction import EvaluateBreakerInput
from relight.domain.liveness import (
    CheckLivenessInput,
    LivenessCheck,
    MachinesProbed,
    ProbeMachinesInput,
    RecordLivenessCheckInput,
)
from relight.domain.reconcile.run import (
    VERIFY_SILENT_WORKFLOW_ID,
    RoutesVerified,
    VerifyRoutesInput,
)
from workflows.fleet.steps import (
    LivenessActivities,
    ObservationActivities,
    VerificationActivities,
)

PAGES_PER_RUN = 50
"""A check of more machines continues as new, so that no history grows with the fleet."""

_PRIORITY = Priority(priority_key=4)


# A run stays on the worker version that started it, until it continues as a new one.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class CheckLiveness:
    """Probe every machine, page by page, and record those that fell silent or answer again.

    Nothing is changed on a host or at a provider. If a machine fell silent or answers again,
    `VerifyRoutes` is started. A check that fails is left to the next one.
    """

    @workflow.run
    async def run(self, input: CheckLivenessInput) -> LivenessCheck:
        """Probe the machines, record that, and start verifications."""
        check = input.so_far or LivenessCheck(began_at=workflow.now())
        after, to_verify = input.after, input.to_verify
        for _ in range(PAGES_PER_RUN):
            page = await LivenessActivities.probe_machines(
                ProbeMachinesInput(after=after, origin=input.origin)
            )
            check = _with_page(check, page)
            to_verify = to_verify or page.changed > 0 or page.unverified > 0
            if page.last is None:
                break
            after = page.last
        else:
            workflow.continue_as_new(
                input.model_copy(update={"after": after, "so_far": check, "to_verify": to_verify})
            )
        await LivenessActivities.record_liveness_check.local(
            RecordLivenessCheckInput(check=check, origin=input.origin)
        )
        workflow.set_current_details(_text(check))
        # Offline, a verification would find a fault on each host.
        if to_verify and not check.offline:
            await self._verify(input)
        return check

    async def _verify(self, input: CheckLivenessInput) -> None:
        """Start to evaluate the breaker, and to verify the routes that it names.

        Nobody waits for that: it may take longer than the time to the next check, which starts it
        again if a route is not verified by then.
        """
        with suppress(WorkflowAlreadyStartedError):
            await workflow.start_child_workflow(
                VerifyRoutes.run,
                VerifyRoutesInput(routes=(), origin=input.origin),
                id=VERIFY_SILENT_WORKFLOW_ID,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
                priority=_PRIORITY,
                static_summary="evaluate the breaker, and verify the routes that it names",
            )


# It takes minutes, so a run stays on the worker version that started it.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class VerifyRoutes:
    """Verify routes through fresh logins, and evaluate the breaker with the results.

    Without routes, the breaker is evaluated first, and names them. Nothing is changed on the hosts.
    A route with a running operation is skipped.
    """

    @workflow.run
    async def run(self, input: VerifyRoutesInput) -> RoutesVerified:
        """Observe the hosts, record the results, and evaluate the breaker."""
        evaluate = EvaluateBreakerInput(origin=input.origin)
        routes = input.routes
        if not routes:
            routes = (await ObservationActivities.evaluate_breaker(evaluate)).to_verify
        if not routes:
            return RoutesVerified(routes=())
        verified = await VerificationActivities.verify_routes(
            VerifyRoutesInput(routes=routes, origin=input.origin)
        )
        if any(each.skipped is None and each.failed is None for each in verified.routes):
            await ObservationActivities.evaluate_breaker(evaluate)
        return verified


def _with_page(check: LivenessCheck, page: MachinesProbed) -> LivenessCheck:
    return check.model_copy(
        update={
            "machines": check.machines + page.machines,
            "silent": check.silent + page.silent,
            "not_probed": check.not_probed + page.not_probed,
            "offline": check.offline or page.offline,
        }
    )


def _text(check: LivenessCheck) -> str:
    counts = f"{check.machines} machines probed, {check.silent} silent"
    if check.not_probed:
        counts += f", {check.not_probed} could not be probed"
    return f"{counts}; {check.offline}: none is recorded as silent" if check.offline else counts
