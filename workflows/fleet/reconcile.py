"""One reconcile run: the fleet is observed, and the actions of the plan are started."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from temporalio import workflow
from temporalio.common import Priority, VersioningBehavior
from temporalio.exceptions import (
    ActivityError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

from relight.domain.base import Message
from relight.domain.destruction import EvaluateBreakerInput
from relight.domain.names import (
    rollout_workflow_id,
    route_workflow_id,
    scope_track,
)
from relight.domain.reconcile.plan import Action, ActionKind, about_of
from relight.domain.reconcile.run import (
    RECONCILE_WORKFLOW_ID,
    BeginRemediationInput,
    CloseOperationInput,
    FleetObserved,
    NotStarted,
    NotVerified,
    ReconcileFleetInput,
    ReconcileRun,
    RouteToVerify,
    RouteVerified,
    SweepMachineInput,
    VerifyRoutesInput,
    routes_to_verify,
)
from relight.domain.replacement import AutoreplaceRouteInput
from relight.domain.rollout.rollout import RolloutReleaseInput
from relight.domain.route import HotSwapRouteInput
from relight.domain.sweep.sweep import SweepStep
from relight.domain.text import plain
from relight.engine import search_attributes
from workflows.failures import fault_of
from workflows.fleet.pool import start_pool_upkeep
from workflows.fleet.report import details_of, summary_of
from workflows.fleet.steps import (
    ObservationActivities,
    RemediationActivities,
    VerificationActivities,
)
from workflows.fleet.sweep import SweepMachine
from workflows.rollout.rollout import RolloutRelease
from workflows.route.hot_swap import HotSwapRoute
from workflows.route.replace import AutoreplaceRoute

ROUTES_PER_VERIFICATION = 25
"""Routes verified by one activity, which has three events in the history."""

LOCKED_OUT_AT_ONCE = 500
"""Routes that are verified after one evaluation of the breaker, as their machines open again."""

_PRIORITY = Priority(priority_key=4)
"""The same as for rollouts. Operations of operators have 3 and go first."""

_BUSY = "another operation is running on it"


# It takes minutes, so a run stays on the worker version that started it.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class ReconcileFleet:
    """Observe the fleet, plan, and start the planned actions, each under the lock of its subject.

    Started workflows run independently; only verifications are awaited. An action whose lock is
    held is not started; the next reconcile run plans it again. A failure or a cancellation leaves
    the remaining actions to the next reconcile run.
    """

    @workflow.init
    def __init__(self, input: ReconcileFleetInput) -> None:
        self._input = input
        self._started: Counter[str] = Counter()
        self._not_started: list[NotStarted] = []
        self._not_verified: list[NotVerified] = []

    @workflow.run
    async def run(self, input: ReconcileFleetInput) -> ReconcileRun:
        """Observe and plan, start the actions, and verify routes."""
        if not input.dry_run and workflow.info().workflow_id != RECONCILE_WORKFLOW_ID:
            return await self._run_as_child()
        observed = await ObservationActivities.observe_fleet(input)
        workflow.set_current_details(details_of(observed))
        if input.dry_run:
            return ReconcileRun(observed=observed, summary=summary_of(observed.plan))
        verifications = []
        for action in observed.plan.actions:
            if action.kind is ActionKind.VERIFY:
                verifications.append(action)
            else:
                await self._start_or_report(action, observed)
        verified = await self._verify(verifications)
        verified += await self._verify_locked_out(verifications, verified)
        workflow.set_current_details(details_of(observed, self._not_started, self._not_verified))
        return self._result(observed, verified)

    async def _run_as_child(self) -> ReconcileRun:
        """Run as a child with the workflow id that is the lock: a schedule appends to its ids."""
        try:
            return await workflow.execute_child_workflow(
                ReconcileFleet.run,
                self._input,
                id=RECONCILE_WORKFLOW_ID,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary="reconcile the fleet",
            )
        except WorkflowAlreadyStartedError:
            return ReconcileRun(observed=None, summary="another reconcile run is running")

    # ------------------------------------------------------------------ actions

    async def _start_or_report(self, action: Action, observed: FleetObserved) -> None:
        try:
            await self._start(action, observed)
        except (WorkflowAlreadyStartedError, ChildWorkflowError):
            self._not_started.append(NotStarted(about=about_of(action), reason=_BUSY))
        else:
            self._started[action.kind] += 1

    async def _start(self, action: Action, observed: FleetObserved) -> None:
        match action.kind:
            case ActionKind.REPAIR:
                await self._record(action)
                await self._swap(action)
            case ActionKind.SWAP:
                await self._swap(action)
            case ActionKind.QUARANTINE:
                await self._record(action)
            case ActionKind.START_ROLLOUT:
                await self._start_rollout(action)
            case ActionKind.SWEEP:
                await self._sweep(action, observed)
            case ActionKind.REPLACE:
                await self._replace(action)
            case ActionKind.POOL:
                # One upkeep run takes all steps of a pool, and is started only once.
                assert action.pool is not None
                await start_pool_upkeep(
                    action.pool.provider, action.pool.region, self._input.origin
                )
            case ActionKind.VERIFY:
                raise AssertionError(action)  # Verifications are not started as workflows.

    async def _record(self, action: Action) -> None:
        await RemediationActivities.begin_remediation.local(
            BeginRemediationInput(action=action, origin=self._input.origin)
        )

    async def _swap(self, action: Action) -> None:
        assert action.route_id is not None
        swap = HotSwapRouteInput(
            route_id=action.route_id,
            release_tag=action.release_tag,
            origin=self._input.origin.model_copy(update={"reason": action.reason}),
            within_budget=True,
            # A repair goes to what the route should run, whatever its host has. A route whose host
            # runs a release that our records do not know is in doubt, and is left alone.
            allow_downgrade=action.kind is ActionKind.REPAIR,
        )
        target = action.release_tag or "its last release"
        summary = f"{action.kind} {action.route_id} to {target}"
        await self._start_operation(HotSwapRoute.run, swap, action, summary)

    async def _replace(self, action: Action) -> None:
        assert action.route_id is not None
        replace = AutoreplaceRouteInput(
            route_id=action.route_id,
            release_tag=action.release_tag if action.pinned else None,
            reason=action.reason,
            unreachable=action.unreachable,
            requested=action.requested,
            gone=action.gone,
            origin=self._input.origin,
        )
        summary = f"replace the machine of {action.route_id}"
        await self._start_operation(AutoreplaceRoute.run, replace, action, summary)

    async def _start_operation(
        self, operation: Callable[..., Any], input: Message, action: Action, summary: str
    ) -> None:
        """Start an operation on a route. It runs independently."""
        assert action.route_id is not None
        await workflow.start_child_workflow(
            operation,
            input,
            id=route_workflow_id(action.route_id),
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            search_attributes=search_attributes.attributes(
                {
                    search_attributes.ROUTE: action.route_id,
                    search_attributes.RELEASE: action.release_tag,
                }
            ),
            priority=_PRIORITY,
            static_summary=summary,
            static_details=plain(action.reason),
        )

    async def _start_rollout(self, action: Action) -> None:
        assert action.scope is not None
        assert action.release_tag is not None
        workflow_id = rollout_workflow_id(action.release_tag, action.scope)
        await workflow.start_child_workflow(
            RolloutRelease.run,
            RolloutReleaseInput(
                release_tag=action.release_tag,
                scope=action.scope,
                origin=self._input.origin.model_copy(update={"reason": action.reason}),
                strategy=self._input.policy.strategy,
            ),
            id=workflow_id,
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            search_attributes=search_attributes.attributes(
                {
                    search_attributes.ROLLOUT: workflow_id,
                    search_attributes.RELEASE: action.release_tag,
                    search_attributes.TRACK: scope_track(action.scope),
                }
            ),
            static_summary=f"roll out {action.release_tag} over {action.scope}",
            static_details=plain(action.reason),
        )

    async def _sweep(self, action: Action, observed: FleetObserved) -> None:
        step, origin = action.sweep, self._input.origin
        assert step is not None
        if step.step is SweepStep.CLOSE:
            # No lock is needed: what is closed belongs to one run, and can be closed only once.
            await RemediationActivities.close_operation.local(
                CloseOperationInput(step=step, origin=origin)
            )
            return
        await workflow.start_child_workflow(
            SweepMachine.run,
            SweepMachineInput(
                step=step,
                grace=self._input.grace,
                gone_for=self._input.policy.replacement.gone_for,
                origin=origin,
            ),
            id=observed.locks[step.key],
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            priority=_PRIORITY,
            static_summary=f"{step.step} {step.key}",
            static_details=plain(step.reason),
        )

    # ------------------------------------------------------------------ verifications

    async def _verify(self, actions: list[Action]) -> list[RouteVerified]:
        """Verify the routes of the plan's verifications."""
        return await self._verify_routes(routes_to_verify(actions))

    async def _verify_locked_out(
        self, actions: list[Action], verified: list[RouteVerified]
    ) -> list[RouteVerified]:
        """Verify all machines that locked the control plane out, once some of them let it in again.

        While they do not, each run verifies no more of them than its policy allows. As soon as the
        right key is back, one run proves them all.
        """
        further: list[RouteVerified] = []
        locked_out = {each.route_id for each in actions if each.locked_out}
        evaluate = EvaluateBreakerInput(origin=self._input.origin, max_verified=LOCKED_OUT_AT_ONCE)
        while any(each.is_proven and each.route_id in locked_out for each in verified):
            evaluated = await ObservationActivities.evaluate_breaker(evaluate)
            locked_out = set(evaluated.locked_out)
            verified = await self._verify_routes(
                tuple(each for each in evaluated.to_verify if each.route_id in locked_out)
            )
            further += verified
        return further

    async def _verify_routes(self, to_verify: tuple[RouteToVerify, ...]) -> list[RouteVerified]:
        """Verify routes in pages of `ROUTES_PER_VERIFICATION`, one activity for each page."""
        pages = [
            VerifyRoutesInput(
                routes=to_verify[start : start + ROUTES_PER_VERIFICATION],
                origin=self._input.origin,
            )
            for start in range(0, len(to_verify), ROUTES_PER_VERIFICATION)
        ]
        self._started[ActionKind.VERIFY] += len(to_verify)
        verified = await asyncio.gather(*map(self._verify_page, pages))
        routes = [route for page in verified for route in page]
        hosts = {each.route_id: each.machine_key for each in to_verify}
        self._not_verified += [
            NotVerified(about=f"route {each.route_id} ({hosts[each.route_id]})", reason=each.failed)
            for each in routes
            if each.failed is not None
        ]
        return routes

    async def _verify_page(self, page: VerifyRoutesInput) -> tuple[RouteVerified, ...]:
        """Return the results of a page. If it fails as a whole, so does each of its routes."""
        try:
            return (await VerificationActivities.verify_routes(page)).routes
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            reason = fault_of(error).summary
            return tuple(
                RouteVerified(route_id=each.route_id, failed=reason) for each in page.routes
            )

    def _result(self, observed: FleetObserved, verified: list[RouteVerified]) -> ReconcileRun:
        skipped = sum(route.skipped is not None for route in verified)
        faulted = sum(route.fault is not None for route in verified)
        doubted = sum(route.newer_version is not None for route in verified)
        failed = len(self._not_verified)
        proven = len(verified) - skipped - faulted - failed - doubted
        verification = (
            f"; {len(verified)} verified: {proven} proven, {faulted} faulted, {skipped} skipped"
            + (f", {doubted} newer than our records" if doubted else "")
            + (f", {failed} failed" if failed else "")
        )
        return ReconcileRun(
            observed=observed,
            started={kind: count for kind, count in self._started.items() if count},
            not_started=tuple(self._not_started),
            not_verified=tuple(self._not_verified),
            proven=proven,
            faulted=faulted,
            skipped=skipped,
            doubted=doubted,
            summary=summary_of(observed.plan) + (verification if verified else ""),
        )
