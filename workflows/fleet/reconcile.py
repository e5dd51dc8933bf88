"""One pass of reconciliation: the fleet is looked at, and brought a step closer to what is said."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from temporalio import workflow
from temporalio.common import Priority, VersioningBehavior
from temporalio.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError

from relight.domain.base import Message
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
    NotBegun,
    ReconcileFleetInput,
    ReconcileRun,
    RouteToVerify,
    RouteVerified,
    SweepMachineInput,
    VerifyRoutesInput,
)
from relight.domain.replacement import AutoreplaceRouteInput
from relight.domain.rollout.rollout import RolloutReleaseInput
from relight.domain.route import HotSwapRouteInput
from relight.domain.sweep.sweep import SweepStep
from relight.engine import search_attributes
from workflows.fleet.pool import begin_keeping
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
"""So many routes are one activity, of three events: a pass of 50 proofs has some twenty in all."""

_IN_TURN = Priority(priority_key=4)
"""As a rollout's; an operator's own swap has 3, and comes first."""

_BUSY = "an operation is under way there"


# Minutes long: it ends on the code that it began with.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class ReconcileFleet:
    """Observe, then begin what the plan says, each under the lock of what it is about.

    What it begins lives on by itself; only what it looks at it waits for. It begins nothing on
    what somebody works on already: the next pass looks again.
    """

    @workflow.init
    def __init__(self, input: ReconcileFleetInput) -> None:
        self._input = input
        self._begun: Counter[str] = Counter()
        self._not_begun: list[NotBegun] = []

    @workflow.run
    async def run(self, input: ReconcileFleetInput) -> ReconcileRun:
        """Look, begin, audit."""
        if not input.dry_run and workflow.info().workflow_id != RECONCILE_WORKFLOW_ID:
            return await self._as_the_one_run()
        observed = await ObservationActivities.observe_fleet(input)
        workflow.set_current_details(details_of(observed))
        if input.dry_run:
            return ReconcileRun(observed=observed, summary=summary_of(observed.plan))
        verifications = []
        for action in observed.plan.actions:
            if action.kind is ActionKind.PROVE:
                verifications.append(action)
            else:
                await self._begin_or_report(action, observed)
        verified = await self._audit(verifications)
        workflow.set_current_details(details_of(observed, self._not_begun))
        return self._done(observed, verified)

    async def _as_the_one_run(self) -> ReconcileRun:
        """Run under the id that is the passes' lock: a schedule gives each run an id of its own."""
        try:
            return await workflow.execute_child_workflow(
                ReconcileFleet.run,
                self._input,
                id=RECONCILE_WORKFLOW_ID,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary="a pass of reconciliation",
            )
        except WorkflowAlreadyStartedError:
            return ReconcileRun(observed=None, summary="another pass is under way")

    # ------------------------------------------------------------------ what is begun

    async def _begin_or_report(self, action: Action, observed: FleetObserved) -> None:
        try:
            await self._begin(action, observed)
        except (WorkflowAlreadyStartedError, ChildWorkflowError):
            self._not_begun.append(NotBegun(about=about_of(action), reason=_BUSY))
        else:
            self._begun[action.kind] += 1

    async def _begin(self, action: Action, observed: FleetObserved) -> None:
        match action.kind:
            case ActionKind.REPAIR:
                await self._write_down(action)
                await self._swap(action)
            case ActionKind.SWAP:
                await self._swap(action)
            case ActionKind.QUARANTINE:
                await self._write_down(action)
            case ActionKind.START_ROLLOUT:
                await self._start_rollout(action)
            case ActionKind.SWEEP:
                await self._sweep(action, observed)
            case ActionKind.REPLACE:
                await self._replace(action)
            case ActionKind.POOL:
                # One run takes all the steps that the pool needs; it is begun but once.
                assert action.pool is not None
                await begin_keeping(action.pool.provider, action.pool.region, self._input.origin)
            case ActionKind.PROVE:
                raise AssertionError(action)  # It is looked at, and nothing is begun.

    async def _write_down(self, action: Action) -> None:
        await RemediationActivities.begin_remediation.local(
            BeginRemediationInput(action=action, origin=self._input.origin)
        )

    async def _swap(self, action: Action) -> None:
        assert action.route_id is not None
        asked = HotSwapRouteInput(
            route_id=action.route_id,
            release_tag=action.release_tag,
            origin=self._input.origin.model_copy(update={"reason": action.reason}),
            within_budget=True,
        )
        summary = f"{action.kind} {action.route_id} to {action.release_tag}"
        await self._operate(HotSwapRoute.run, asked, action, summary)

    async def _replace(self, action: Action) -> None:
        assert action.route_id is not None
        asked = AutoreplaceRouteInput(
            route_id=action.route_id,
            release_tag=action.release_tag,
            reason=action.reason,
            unreachable=action.unreachable,
            origin=self._input.origin,
        )
        summary = f"another machine for {action.route_id}"
        await self._operate(AutoreplaceRoute.run, asked, action, summary)

    async def _operate(
        self, operation: Callable[..., Any], asked: Message, action: Action, summary: str
    ) -> None:
        """Begin an operation on a route, which lives on by itself."""
        assert action.route_id is not None
        await workflow.start_child_workflow(
            operation,
            asked,
            id=route_workflow_id(action.route_id),
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            search_attributes=search_attributes.attributes(
                {
                    search_attributes.ROUTE: action.route_id,
                    search_attributes.RELEASE: action.release_tag,
                }
            ),
            priority=_IN_TURN,
            static_summary=summary,
            static_details=action.reason,
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
            static_details=action.reason,
        )

    async def _sweep(self, action: Action, observed: FleetObserved) -> None:
        step, origin = action.sweep, self._input.origin
        assert step is not None
        if step.step is SweepStep.CLOSE:
            # What is closed is a claim of one run, which can be taken but once: it needs no lock.
            await RemediationActivities.close_operation.local(
                CloseOperationInput(step=step, origin=origin)
            )
            return
        await workflow.start_child_workflow(
            SweepMachine.run,
            SweepMachineInput(step=step, grace=self._input.grace, origin=origin),
            id=observed.locks[step.key],
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            priority=_IN_TURN,
            static_summary=f"{step.step} {step.key}",
            static_details=step.reason,
        )

    # ------------------------------------------------------------------ what is looked at

    async def _audit(self, actions: list[Action]) -> list[RouteVerified]:
        """Look at routes, a page of them in one activity; a page that fails is told of."""
        asked = [
            RouteToVerify(route_id=action.route_id, release_tag=action.release_tag)
            for action in actions
            if action.route_id is not None and action.release_tag is not None
        ]
        pages = [
            VerifyRoutesInput(
                routes=tuple(asked[start : start + ROUTES_PER_VERIFICATION]),
                origin=self._input.origin,
            )
            for start in range(0, len(asked), ROUTES_PER_VERIFICATION)
        ]
        self._begun[ActionKind.PROVE] += len(asked)
        verified = await asyncio.gather(*map(VerificationActivities.verify_routes, pages))
        return [route for page in verified for route in page.routes]

    def _done(self, observed: FleetObserved, verified: list[RouteVerified]) -> ReconcileRun:
        skipped = sum(route.skipped is not None for route in verified)
        faulted = sum(route.fault is not None for route in verified)
        proven = len(verified) - skipped - faulted
        looks = (
            f"; of {len(verified)} looked at, {proven} proven, {faulted} faulted, {skipped} left"
        )
        return ReconcileRun(
            observed=observed,
            begun={kind: count for kind, count in self._begun.items() if count},
            not_begun=tuple(self._not_begun),
            proven=proven,
            faulted=faulted,
            skipped=skipped,
            summary=summary_of(observed.plan) + (looks if verified else ""),
        )
