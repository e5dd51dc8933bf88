"""One wave of a rollout: one operation for each of its routes, a limited number at a time."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from itertools import islice

from temporalio import workflow
from temporalio.common import Priority, VersioningBehavior
from temporalio.exceptions import (
    ApplicationError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)

from relight.domain.fault.fault import Fault
from relight.domain.fault.rule import RolloutEffect
from relight.domain.fault.table import effect_in_rollout, fault
from relight.domain.names import RouteId, route_workflow_id
from relight.domain.rollout.gate import stop_reason
from relight.domain.rollout.rollout import MAX_LISTED_ROUTES, RouteOutcome, RouteProgress
from relight.domain.rollout.wave import (
    AdvanceWaveInput,
    Controls,
    RolloutWaveInput,
    WaveAdvanced,
    WaveEnded,
    WaveProgress,
    WaveWork,
)
from relight.domain.route import HotSwapRouteInput, ProveRouteInput
from relight.engine import search_attributes
from workflows.failures import failure, fault_of
from workflows.rollout.incident import IncidentHold
from workflows.rollout.steps import RolloutActivities
from workflows.route.hot_swap import HotSwapRoute
from workflows.route.prove import ProveRoute

MAX_HISTORY_EVENTS = 4000
"""Above it, the wave continues as new. The server's limit is more than ten times higher."""

REPORT_INTERVAL = timedelta(seconds=3)
"""How often successes are reported to the rollout. Failures are reported immediately."""

BATCH_DELAY = timedelta(seconds=3)
"""How long successes are collected, to be recorded together."""

BUDGET_PAUSE = timedelta(seconds=15)
"""Between checks of a disruption budget that is spent."""

ROUTE_BUSY_PAUSE, ROUTE_BUSY_ATTEMPTS = timedelta(seconds=15), 40
"""Ten minutes in all: longer than any operation on a healthy route."""

_PRIORITY = Priority(priority_key=4)
"""Operations of operators have 3 and go first."""

WAVE_PROGRESS = "wave_progress"
"""The signal with which a wave reports its progress to its rollout."""

_DONE = {
    WaveWork.SWAP: RouteProgress.CONVERGED,
    WaveWork.PROVE: RouteProgress.CONVERGED,
    WaveWork.ROLL_BACK: RouteProgress.ROLLED_BACK,
    WaveWork.UNDO: RouteProgress.CONVERGED,
}
_FAILED = {
    WaveWork.SWAP: RouteProgress.FAILED,
    WaveWork.PROVE: RouteProgress.FAILED,
    WaveWork.ROLL_BACK: RouteProgress.NOT_ROLLED_BACK,
    WaveWork.UNDO: RouteProgress.FAILED,
}
_REQUEUED = {
    WaveWork.SWAP: RouteProgress.WAITING,
    WaveWork.PROVE: RouteProgress.SOAKING,
    WaveWork.ROLL_BACK: RouteProgress.TO_ROLL_BACK,
    WaveWork.UNDO: RouteProgress.WAITING,
}
"""State of a route hit by an incident: requeued."""


# It moves to the current worker version like its rollout, so that new operations start there.
@workflow.defn(versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class RolloutWave:
    """Run one operation (swap, prove or roll back) on each route of a wave.

    The store has the routes and their progress. No further operation starts once the failure budget
    is spent. A fault that only waiting cures holds the wave as an incident: after a pause another
    route tries, and if it succeeds the others follow. If the incident lasts too long, the rollout
    is asked to pause. A cancellation or termination ends the wave; operations that are running on
    routes finish.
    """

    @workflow.init
    def __init__(self, input: RolloutWaveInput) -> None:
        self._input = input
        self._controls = input.controls
        self._tasks: set[asyncio.Task[RouteOutcome]] = set()
        self._in_flight: dict[RouteId, RouteOutcome] = {}
        self._ended: list[RouteOutcome] = []
        self._moved: dict[RouteId, RouteOutcome] = {}
        self._reported_at = workflow.now() - REPORT_INTERVAL
        self._stopped_by: str | None = None
        self._kinds: set[str] = set()
        self._tally = (0, 0)
        self._incident = IncidentHold(input.strategy.incident_limit, input.incident)
        self._blocked_by = self._needs_person = ""
        self._reported = ("", "")
        self._reported_counts: Mapping[RouteProgress, int] = {}
        self._applied_controls = input.controls

    @workflow.run
    async def run(self, input: RolloutWaveInput) -> WaveEnded:  # noqa: ARG002 - see init
        """Start the routes that may start and record those that ended, until none is left."""
        while True:
            advanced = await self._advance()
            for outcome in advanced.starts:
                self._start(outcome)
            self._update_blocked_by(advanced)
            await self._report(advanced)
            if not self._in_flight and not self._ended:
                if self._is_finished(advanced):
                    return WaveEnded(
                        counts=advanced.counts,
                        moved=self._listed(),
                        stopped_by=self._stopped_by,
                    )
                if self._history_is_long:
                    await self._report(advanced, force=True)
                    workflow.continue_as_new(self._next_input())
            await self._wait_for_change(advanced)

    @workflow.signal
    def set_controls(self, controls: Controls) -> None:
        """Apply new controls of the rollout."""
        if self._controls.paused and not controls.paused:
            self._incident.restart()
        self._controls = controls

    async def _advance(self) -> WaveAdvanced:
        self._check_failures()
        ended, self._ended = self._ended, []
        self._applied_controls = self._controls
        advanced = await RolloutActivities.advance_wave.local(
            AdvanceWaveInput(
                rollout_run_id=self._input.rollout_run_id,
                release_tag=self._input.release.tag,
                work=self._input.work,
                number=self._input.number,
                strategy=self._input.strategy,
                in_flight=tuple(self._in_flight),
                ended=tuple(ended),
                max_in_flight=self._max_in_flight,
            )
        )
        self._tally = tally(advanced.counts)
        return advanced

    @property
    def _max_in_flight(self) -> int:
        """How many routes may be in flight now."""
        controls = self._controls
        if controls.paused or controls.stopped or self._stopped_by or self._history_is_long:
            return 0
        if not self._incident.is_on:
            return controls.max_concurrent
        may_try = self._incident.admits_one and not self._incident.over_limit
        return 1 if may_try else 0

    @property
    def _history_is_long(self) -> bool:
        info = workflow.info()
        return (
            info.is_continue_as_new_suggested()
            or info.get_current_history_length() > MAX_HISTORY_EVENTS
        )

    def _is_finished(self, advanced: WaveAdvanced) -> bool:
        return not advanced.waiting or self._controls.stopped or self._stopped_by is not None

    def _next_input(self) -> RolloutWaveInput:
        kept = {"controls": self._controls, "incident": self._incident.kept}
        return self._input.model_copy(update=kept)

    async def _wait_for_change(self, advanced: WaveAdvanced) -> None:
        # Controls that arrived while `_advance` ran are not applied yet, so they end the wait.
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: bool(self._ended) or self._controls != self._applied_controls,
                timeout=self._time_limit(advanced),
            )
        if self._may_batch(advanced):
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: not self._may_batch(advanced), timeout=BATCH_DELAY
                )

    def _may_batch(self, advanced: WaveAdvanced) -> bool:
        """Return whether ended routes can wait for more: all succeeded, and no route can start."""
        failed = any(outcome.fault for outcome in self._ended)
        urgent = advanced.waiting or failed or self._controls != self._applied_controls
        return bool(self._ended) and bool(self._in_flight) and not urgent

    def _time_limit(self, advanced: WaveAdvanced) -> timedelta | None:
        """Return how long to wait if nothing changes; None for no limit."""
        waits_for_person = self._controls.paused or self._incident.over_limit
        if waits_for_person or not advanced.waiting or self._stopped_by:
            return None
        if self._incident.is_on and not self._in_flight:
            return max(self._incident.until - workflow.now(), timedelta(seconds=1))
        if advanced.thaws_at is not None:
            return max(advanced.thaws_at - workflow.now(), timedelta(seconds=1))
        return BUDGET_PAUSE if advanced.limited_by else None

    def _check_failures(self) -> None:
        """Stop the wave if the failures so far require it, before another route starts."""
        if self._input.work is WaveWork.ROLL_BACK or self._stopped_by is not None:
            return
        failed = [each for each in self._ended if each.progress is RouteProgress.FAILED]
        proven = sum(each.progress is RouteProgress.CONVERGED for each in self._ended)
        self._kinds |= {each.fault.kind for each in failed if each.fault}
        successes, failures = self._tally
        if self._input.work is WaveWork.PROVE:
            proven = -len(failed)  # They were counted as successes after the swap.
        reason = stop_reason(self._input.strategy, successes + proven, failures + len(failed))
        if failed and reason is not None:
            self._stopped_by = f"{reason} ({', '.join(sorted(self._kinds))})"

    def _update_blocked_by(self, advanced: WaveAdvanced) -> None:
        """Set the reason why routes that wait are not started."""
        self._blocked_by, self._needs_person = self._incident.reason, self._incident.over_limit
        if self._incident.is_on:
            return
        if advanced.waiting and not advanced.starts and not self._controls.paused:
            limits = list(advanced.limited_by)
            if advanced.thaws_at:
                limits.append(
                    f"a freeze window that ends at {advanced.thaws_at:%Y-%m-%d %H:%M} UTC"
                )
            self._blocked_by = "; ".join(limits)

    def _start(self, outcome: RouteOutcome) -> None:
        """Start the operation on a route. Its outcome is kept however it ends."""
        self._in_flight[outcome.route_id] = outcome
        self._add_moved(outcome)
        task = asyncio.create_task(self._run_route(outcome))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda ended: self._keep(outcome, ended))

    def _keep(self, outcome: RouteOutcome, task: asyncio.Task[RouteOutcome]) -> None:
        """Keep the outcome of a route. An error that nothing expects fails it."""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            ended = task.result()
        else:
            workflow.logger.error("%s: unexpected error", outcome.route_id, exc_info=error)
            ended = self._failed(outcome, fault_of(error))
        del self._in_flight[outcome.route_id]
        self._ended.append(ended)
        self._add_moved(ended, had_fault=outcome.fault is not None)

    async def _run_route(self, outcome: RouteOutcome) -> RouteOutcome:
        """Run the operation on one route, and return its outcome."""
        started = workflow.now()
        try:
            await self._operate_when_free(outcome)
        except (ChildWorkflowError, ApplicationError) as error:
            return self._failed(outcome, fault_of(error))
        except WorkflowAlreadyStartedError:
            return self._failed(outcome, _busy(outcome.route_id))
        if started >= self._incident.until:
            self._incident.end()
        # A route that was rolled back keeps the fault that caused it.
        keep = outcome.fault if self._input.work is WaveWork.ROLL_BACK else None
        return _at(outcome, _DONE[self._input.work], keep)

    def _failed(self, outcome: RouteOutcome, cause: Fault) -> RouteOutcome:
        """Return the outcome of a route whose operation failed, by what its fault's rule says."""
        work, effect = self._input.work, effect_in_rollout(cause)
        if effect is RolloutEffect.HELD:
            self._incident.add(outcome.route_id, cause)
            # A route that is to be rolled back keeps the fault that caused it.
            kept = outcome.fault if work is WaveWork.ROLL_BACK else cause
            return _at(outcome, _REQUEUED[work], kept)
        if effect is RolloutEffect.SKIPPED and work is not WaveWork.ROLL_BACK:
            return _at(outcome, RouteProgress.SKIPPED, cause)
        return _at(outcome, _FAILED[work], cause)

    async def _operate_when_free(self, outcome: RouteOutcome) -> None:
        """Run the operation on a route; while another one runs there, try again."""
        for _ in range(ROUTE_BUSY_ATTEMPTS):
            try:
                return await self._operate(outcome)
            except WorkflowAlreadyStartedError:
                await workflow.sleep(ROUTE_BUSY_PAUSE, summary=f"{outcome.route_id} is busy")
        return await self._operate(outcome)

    async def _operate(self, outcome: RouteOutcome) -> None:
        """Run the operation on a route. It continues if the wave ends."""
        route_id, previous_tag = outcome.route_id, outcome.previous_release_tag
        release, origin = self._input.release, self._input.origin
        attributes = search_attributes.attributes(
            {
                search_attributes.ROUTE: route_id,
                search_attributes.RELEASE: release.tag,
                search_attributes.ROLLOUT: self._input.rollout,
            }
        )
        if self._input.work is WaveWork.PROVE:
            await workflow.execute_child_workflow(
                ProveRoute.run,
                ProveRouteInput(
                    route_id=route_id, release=release, origin=origin, rollout=self._input.rollout
                ),
                id=route_workflow_id(route_id),
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
                search_attributes=attributes,
                priority=_PRIORITY,
                static_summary=f"prove {route_id} at {release.tag} after the soak",
            )
            return
        forward = not self._input.work.goes_back
        tag = release.tag if forward else previous_tag
        if tag is None:
            raise failure(fault("no-release-before", f"route {route_id} was never proven before"))
        await workflow.execute_child_workflow(
            HotSwapRoute.run,
            HotSwapRouteInput(
                route_id=route_id,
                release_tag=tag,
                origin=origin,
                # All routes get the files to which the tag was resolved when the rollout started.
                release=release if forward else None,
                rollout=self._input.rollout,
                allow_downgrade=not forward,
            ),
            id=route_workflow_id(route_id),
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
            search_attributes=attributes,
            priority=_PRIORITY,
            static_summary=f"{'hot swap' if forward else 'roll back'} {route_id} to {tag}",
        )

    def _add_moved(self, outcome: RouteOutcome, *, had_fault: bool = False) -> None:
        """Add a route to the next report; in a large rollout, only if its fault changes."""
        if self._input.named or had_fault or outcome.fault is not None:
            self._moved[outcome.route_id] = outcome.brief

    def _listed(self) -> tuple[RouteOutcome, ...]:
        """Return the routes to report. The store has the rest, if too many have failed."""
        return tuple(islice(self._moved.values(), MAX_LISTED_ROUTES))

    async def _report(self, advanced: WaveAdvanced, *, force: bool = False) -> None:
        """Report progress to the rollout: urgent changes immediately, others at intervals."""
        failed = any(outcome.fault for outcome in self._moved.values())
        blocked = (self._blocked_by, self._needs_person)
        # A wave that is held reports where it stands: nothing else will make it report.
        idle = not self._in_flight and not self._is_finished(advanced)
        stale = idle and advanced.counts != self._reported_counts
        urgent = failed or stale or blocked != self._reported
        if not (force or urgent) and workflow.now() - self._reported_at < REPORT_INTERVAL:
            return
        moved, self._moved = self._listed(), {}
        self._reported_at, self._reported = workflow.now(), blocked
        self._reported_counts = advanced.counts
        rollout = workflow.get_external_workflow_handle(self._input.rollout)
        await rollout.signal(
            WAVE_PROGRESS,
            WaveProgress(
                counts=advanced.counts,
                moved=moved,
                blocked_by=self._blocked_by,
                needs_person=self._needs_person,
            ),
        )


def tally(counts: Mapping[RouteProgress, int]) -> tuple[int, int]:
    """Return how many routes of a rollout are proven, and how many failed."""
    proven = (RouteProgress.CONVERGED, RouteProgress.SOAKING, RouteProgress.PROVING)
    return sum(counts.get(each, 0) for each in proven), counts.get(RouteProgress.FAILED, 0)


def _at(outcome: RouteOutcome, progress: RouteProgress, cause: Fault | None) -> RouteOutcome:
    return outcome.model_copy(update={"progress": progress, "fault": cause})


def _busy(route_id: RouteId) -> Fault:
    held = route_workflow_id(route_id)
    return fault("route-busy", f"another operation has held {held} for too long", "hot swap")
