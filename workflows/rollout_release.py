"""One release over a scope, wave by wave, behind a gate."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError

from messages.base import Origin
from messages.fault_table import fault
from messages.faults import Fault
from messages.names import ReleaseTag, RouteId, route_workflow_id
from messages.release import Release, ResolveReleaseInput
from messages.rollout import (
    CloseRolloutInput,
    OpenRolloutInput,
    RecordSteerInput,
    RolloutPhase,
    RolloutPlan,
    RolloutReleaseInput,
    RolloutStatus,
    RouteOutcome,
    RouteProgress,
    Steer,
)
from messages.route import HotSwapRouteInput, ListRoutesInput, Route, RouteSwapped
from planning.gates import judge
from planning.waves import cut_waves
from workflows import policies, search_attributes, steps
from workflows.failures import failure, fault_of
from workflows.hot_swap_route import HotSwapRoute
from workflows.reporting import report_fault
from workflows.rollout_board import RolloutBoard
from workflows.undo import UndoStack


@workflow.defn
class RolloutRelease:
    """Bring every route of a scope to a release, or stop at the first wave that says no.

    It completes as `converged`, `stopped` or `aborted`. It fails only where it changed nothing:
    the release, the scope or another rollout stands in its way.
    """

    @workflow.init
    def __init__(self, input: RolloutReleaseInput) -> None:
        self._input = input
        self._board = RolloutBoard(input)
        self._plan: RolloutPlan | None = None
        self._release: Release | None = None
        self._refusal: Fault | None = None

    @workflow.run
    async def run(self, input: RolloutReleaseInput) -> RolloutStatus:
        """Claim the scope, cut it into waves, take them one by one."""
        try:
            async with UndoStack() as undo:
                undo.on_fault(steps.close_rollout, self._fault_closing)
                plan = await self._prepare(input)
                for number, wave in enumerate(plan.waves, start=1):
                    await self._while_paused()
                    if self._halted:
                        break
                    await self._take_wave(number, wave)
                if input.strategy.roll_back:
                    await asyncio.gather(*map(self._roll_back, self._board.failed))
                status = self._end()
                await steps.close_rollout(self._closing(status.phase, status.detail))
                return status
        finally:
            await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.update
    async def planned(self) -> RolloutPlan:
        """Answer with the plan once there is one; raise the refusal if there is none."""
        await workflow.wait_condition(lambda: self._plan is not None or self._refusal is not None)
        if self._plan is None:
            assert self._refusal is not None
            raise failure(self._refusal)
        return self._plan

    @workflow.update
    async def pause(self, input: Steer) -> RolloutStatus:
        """Start no further route until resumed; those under way are brought to their end."""
        self._show(RolloutPhase.PAUSED, f"paused by {_by(input.origin)}")
        return await self._steered("pause", input)

    @pause.validator
    def _pause_may(self, input: Steer) -> None:  # noqa: ARG002 - all updates take it
        self._require("pause", RolloutPhase.RUNNING)

    @workflow.update
    async def resume(self, input: Steer) -> RolloutStatus:
        """Go on where the pause stopped."""
        self._show(RolloutPhase.RUNNING, f"resumed by {_by(input.origin)}")
        return await self._steered("resume", input)

    @resume.validator
    def _resume_may(self, input: Steer) -> None:  # noqa: ARG002 - all updates take it
        self._require("resume", RolloutPhase.PAUSED)

    @workflow.update
    async def abort(self, input: Steer) -> RolloutStatus:
        """Start no further route at all; those under way are brought to their end."""
        self._show(RolloutPhase.ABORTED, f"aborted by {_by(input.origin)}")
        return await self._steered("abort", input)

    @abort.validator
    def _abort_may(self, input: Steer) -> None:  # noqa: ARG002 - all updates take it
        self._require("abort", RolloutPhase.RUNNING, RolloutPhase.PAUSED)

    @workflow.query
    def status(self) -> RolloutStatus:
        """Answer where the rollout stands."""
        return self._board.status()

    async def _prepare(self, input: RolloutReleaseInput) -> RolloutPlan:
        await steps.open_rollout(
            OpenRolloutInput(release_tag=input.release_tag, scope=input.scope, origin=input.origin)
        )
        listed = await steps.list_routes(ListRoutesInput(scope=input.scope))
        self._release = await steps.resolve_release(
            ResolveReleaseInput(tag=input.release_tag, architectures=_architectures(listed.routes))
        )
        self._plan = self._cut(self._release, listed.routes)
        self._board.take(self._plan, listed.routes)
        return self._plan

    def _cut(self, release: Release, routes: tuple[Route, ...]) -> RolloutPlan:
        if not routes:
            raise failure(
                fault(
                    "no-routes",
                    f"no route in scope {self._input.scope} serves: nothing to roll out to",
                )
            )
        return RolloutPlan(
            release_tag=release.tag,
            scope=self._input.scope,
            version=release.version,
            waves=cut_waves(routes, self._input.strategy.waves),
        )

    async def _take_wave(self, number: int, wave: tuple[RouteId, ...]) -> None:
        self._board.wave = number
        self._show(RolloutPhase.RUNNING, f"wave {number}: {len(wave)} routes")
        slots = asyncio.Semaphore(self._input.strategy.max_concurrent)
        await asyncio.gather(*(self._take_route(route_id, slots) for route_id in wave))

    async def _take_route(self, route_id: RouteId, slots: asyncio.Semaphore) -> None:
        async with slots:
            await self._while_paused()
            if self._halted:
                return
            self._move(route_id, RouteProgress.SWAPPING)
            try:
                await self._swap(route_id, self._input.release_tag)
            except ChildWorkflowError as error:
                self._move(route_id, RouteProgress.FAILED, fault_of(error))
            except WorkflowAlreadyStartedError:
                self._move(route_id, RouteProgress.FAILED, _busy(route_id))
            else:
                self._move(route_id, RouteProgress.CONVERGED)

    async def _roll_back(self, outcome: RouteOutcome) -> None:
        """Bring a route that failed back to what it was proven at; its fault stays on the board."""
        route_id = outcome.route_id
        self._move(route_id, RouteProgress.ROLLING_BACK, outcome.fault)
        try:
            await self._swap(route_id, None)
        except ChildWorkflowError as error:
            self._move(route_id, RouteProgress.FAILED, fault_of(error))
        except WorkflowAlreadyStartedError:
            self._move(route_id, RouteProgress.FAILED, _busy(route_id))
        else:
            self._move(route_id, RouteProgress.ROLLED_BACK, outcome.fault)

    async def _swap(self, route_id: RouteId, tag: ReleaseTag | None) -> RouteSwapped:
        """Run the route's own operation, which lives on if the rollout does not."""
        for _ in range(policies.ROUTE_BUSY_TRIES):
            try:
                return await self._start_swap(route_id, tag)
            except WorkflowAlreadyStartedError:
                await workflow.sleep(policies.ROUTE_BUSY_PAUSE, summary=f"{route_id} is busy")
        return await self._start_swap(route_id, tag)

    async def _start_swap(self, route_id: RouteId, tag: ReleaseTag | None) -> RouteSwapped:
        return await workflow.execute_child_workflow(
            HotSwapRoute.run,
            HotSwapRouteInput(
                route_id=route_id,
                release_tag=tag,
                origin=self._input.origin,
                # Each route gets the very files that the tag stood for when the rollout began.
                release=self._release if tag else None,
                rollout=workflow.info().workflow_id,
            ),
            id=route_workflow_id(route_id),
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
            search_attributes=search_attributes.attributes(
                {
                    search_attributes.ROUTE: route_id,
                    search_attributes.RELEASE: tag,
                    search_attributes.ROLLOUT: workflow.info().workflow_id,
                }
            ),
            static_summary=f"hot swap {route_id} to {tag}" if tag else f"roll {route_id} back",
        )

    async def _while_paused(self) -> None:
        await workflow.wait_condition(
            lambda: self._board.phase is not RolloutPhase.PAUSED or self._halted
        )

    @property
    def _halted(self) -> bool:
        """Whether no further route may be started, ever."""
        return (
            self._board.phase is RolloutPhase.ABORTED
            or not judge(self._board.faults, self._input.strategy.failure_budget).go_on
        )

    def _end(self) -> RolloutStatus:
        verdict = judge(self._board.faults, self._input.strategy.failure_budget)
        if self._board.phase is RolloutPhase.ABORTED:
            phase, detail = RolloutPhase.ABORTED, self._board.detail
        elif verdict.go_on:
            phase, detail = RolloutPhase.CONVERGED, verdict.reason
        else:
            phase = RolloutPhase.STOPPED
            detail = f"stopped in wave {self._board.wave}: {verdict.reason}"
        status = self._board.end(phase, detail)
        workflow.set_current_details(self._board.details())
        return status

    def _move(self, route_id: RouteId, progress: RouteProgress, cause: Fault | None = None) -> None:
        self._board.move(route_id, progress, cause)
        workflow.set_current_details(self._board.details())

    def _show(self, phase: RolloutPhase, detail: str) -> None:
        self._board.phase, self._board.detail = phase, detail
        workflow.set_current_details(self._board.details())

    async def _steered(self, action: str, input: Steer) -> RolloutStatus:
        await steps.record_steer(
            RecordSteerInput(
                release_tag=self._input.release_tag,
                scope=self._input.scope,
                action=action,
                origin=input.origin,
            )
        )
        return self._board.status()

    def _require(self, action: str, *phases: RolloutPhase) -> None:
        if self._board.phase not in phases:
            raise failure(
                fault(
                    "wrong-phase", f"cannot {action} a rollout that is {self._board.phase}", action
                )
            )

    def _fault_closing(self, ended_by: Fault) -> CloseRolloutInput:
        self._refusal = ended_by
        report_fault(ended_by)
        phase = RolloutPhase.STOPPED if self._plan is None else RolloutPhase.ABORTED
        status = self._board.end(phase, ended_by.summary)
        return self._closing(status.phase, status.detail)

    def _closing(self, phase: RolloutPhase, detail: str) -> CloseRolloutInput:
        return CloseRolloutInput(
            release_tag=self._input.release_tag,
            scope=self._input.scope,
            phase=phase,
            detail=detail,
            origin=self._input.origin,
            promote=phase is RolloutPhase.CONVERGED,
        )


def _architectures(routes: tuple[Route, ...]) -> tuple[str, ...]:
    return tuple(sorted({route.machine.architecture for route in routes if route.machine}))


def _by(origin: Origin) -> str:
    return f"{origin.requested_by}: {origin.reason}"


def _busy(route_id: RouteId) -> Fault:
    held = route_workflow_id(route_id)
    return fault("route-busy", f"another operation has held {held} for too long", "hot swap")
