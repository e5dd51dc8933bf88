"""One wave of a rollout: one operation for each of its routes, a limited number at a time."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any, Protocol

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)

from relight.domain.base import Message
from relight.domain.fault.fault import Fault
from relight.domain.fault.rule import RolloutEffect
from relight.domain.fault.table import effect_in_rollout, fault, locks_out
from relight.domain.names import RouteId, route_workflow_id
from relight.domain.replacement import AutoreplaceRouteInput
from relight.domain.rollout.gate import stop_reason
from relight.domain.rollout.rollout import (
    Controls,
    RouteOutcome,
    RouteProgress,
    RunningRoute,
    WaveKept,
)
from relight.domain.rollout.status import tally
from relight.domain.rollout.wave import (
    DONE,
    FAILED,
    REQUEUED,
    AdvanceWaveInput,
    AwaitOperationInput,
    RolloutWaveInput,
    WaveAdvanced,
    WaveEnded,
    WaveWork,
)
from relight.domain.route import HotSwapRouteInput, ProveRouteInput
from relight.engine import search_attributes
from workflows.failures import failure, fault_of
from workflows.fleet.locked_out import LockedOutQuestion
from workflows.rollout.incident import IncidentHold
from workflows.rollout.pages import WavePage
from workflows.rollout.state import history_is_long
from workflows.rollout.steps import RolloutActivities
from workflows.rollout.waiting import run_until
from workflows.route.hot_swap import HotSwapRoute
from workflows.route.prove import ProveRoute
from workflows.route.replace import AutoreplaceRoute

BATCH_DELAY = timedelta(seconds=3)
"""How long successes are collected, to be recorded together."""

BUDGET_PAUSE = timedelta(seconds=15)
"""How long a limit holds the wave before an activity waits for its end."""

ROUTE_BUSY_PAUSE, ROUTE_BUSY_ATTEMPTS = timedelta(seconds=15), 40
"""Ten minutes in all: longer than any operation on a healthy route."""

_PRIORITY = Priority(priority_key=4)
"""Operations of operators have 3 and go first."""


class WaveOwner(Protocol):
    """The workflow that a wave runs in: its rollout's, or one of its own."""

    def show_wave(self, page: WavePage) -> None:
        """Show how far the wave is."""

    async def ask_person(self, reason: str) -> None:
        """Make the rollout pause for a person, who has to decide about the reason."""


class Wave:
    """Runs one operation (swap, replace, prove or roll back) on each route of a wave.

    The store has the routes and their progress. No further operation starts once the failure budget
    is spent. A fault that only waiting cures holds the wave as an incident: after a pause another
    route tries, and if it succeeds the others follow. If the incident lasts too long, the rollout
    is asked to pause. A cancellation or termination ends the wave; operations that are running on
    routes finish. They also run on when its workflow continues as new: the next run waits for them.

    Attributes:
        controls: the controls of the rollout, as far as they have arrived.
    """

    def __init__(self, input: RolloutWaveInput, owner: WaveOwner) -> None:
        """Begin, or go on with what the run before has kept.

        Args:
            input: the wave.
            owner: the workflow that it runs in.
        """
        kept = input.kept
        self._input, self._owner = input, owner
        self.controls = self._applied_controls = input.controls
        self._tasks: set[asyncio.Task[RouteOutcome]] = set()
        self._in_flight: dict[RouteId, RouteOutcome] = {}
        self._run_ids: dict[RouteId, str | None] = {}
        self._ended: list[RouteOutcome] = []
        self._stopped_by = kept.stopped_by
        self._kinds = set(kept.kinds)
        self._tally = (0, 0)
        self._incident = IncidentHold(input.strategy.incident_limit, kept.incident)
        self._asked_for_person = False
        self._page = WavePage(input)
        self._locked_out = LockedOutQuestion(input.origin)
        self._is_over = False

    async def run(self) -> WaveEnded:
        """Start the routes that may start and record those that ended, until none is left.

        Once its workflow has to continue as new, it returns what the next run continues with.
        """
        try:
            return await self._run_routes()
        finally:
            self._is_over = True

    async def _run_routes(self) -> WaveEnded:
        for running in self._input.kept.running:
            self._run_ids[running.outcome.route_id] = running.run_id
            self._run(running.outcome, self._await_operation(running))
        while True:
            advanced = await self._advance()
            for outcome in advanced.starts:
                self._run(outcome, self._operate_when_free(outcome))
            await self._report(advanced)
            if not self._in_flight and not self._ended and self._is_finished(advanced):
                return WaveEnded(
                    counts=advanced.counts, stopped_by=self._stopped_by, failed=self._page.failed
                )
            if self._has_to_hand_over:
                # A start that the server has not answered yet cannot be handed over.
                await workflow.wait_condition(lambda: None not in self._run_ids.values())
                if not self._ended:
                    return WaveEnded(
                        counts=advanced.counts, handed_over=self._kept, failed=self._page.failed
                    )
            else:
                await self._wait_for_change(advanced)

    @property
    def _kept(self) -> WaveKept:
        """What the next run continues with, as the workflow of the wave continues as new."""
        return WaveKept(
            running=tuple(
                RunningRoute(outcome=self._in_flight[route_id], run_id=run_id)
                for route_id, run_id in self._run_ids.items()
                if run_id is not None
            ),
            incident=self._incident.kept,
            stopped_by=self._stopped_by,
            kinds=tuple(sorted(self._kinds)),
        )

    def set_controls(self, controls: Controls) -> None:
        """Apply new controls of the rollout."""
        if self.controls.paused and not controls.paused:
            self._incident.restart()
            self._asked_for_person = False
        self.controls = controls

    async def _advance(self) -> WaveAdvanced:
        self._check_failures()
        ended, self._ended = self._ended, []
        self._applied_controls = self.controls
        advanced = await RolloutActivities.advance_wave.local(self._state_after(ended))
        self._tally = tally(advanced.counts)
        return advanced

    def _state_after(self, ended: list[RouteOutcome]) -> AdvanceWaveInput:
        return AdvanceWaveInput(
            rollout_run_id=self._input.rollout_run_id,
            release_tag=self._input.release.tag,
            work=self._input.work,
            number=self._input.number,
            strategy=self._input.strategy,
            in_flight=tuple(self._in_flight),
            ended=tuple(ended),
            max_in_flight=self._max_in_flight,
            incident=self._incident.sentence,
        )

    @property
    def _max_in_flight(self) -> int:
        """How many routes may be in flight now."""
        controls = self.controls
        if controls.paused or controls.stopped or self._stopped_by or self._has_to_hand_over:
            return 0
        if not self._incident.is_on:
            return controls.max_concurrent
        may_try = self._incident.admits_one and not self._incident.over_limit
        return 1 if may_try else 0

    @property
    def _has_to_hand_over(self) -> bool:
        return self.controls.hands_over or history_is_long()

    def _is_finished(self, advanced: WaveAdvanced) -> bool:
        return not advanced.waiting or self.controls.stopped or self._stopped_by is not None

    async def _wait_for_change(self, advanced: WaveAdvanced) -> None:
        try:
            await workflow.wait_condition(self._has_changed, timeout=self._time_limit(advanced))
        except TimeoutError:
            if advanced.is_limited and not self._incident.is_on:
                await self._await_admission()
        if self._may_batch(advanced):
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: not self._may_batch(advanced), timeout=BATCH_DELAY
                )

    def _has_changed(self) -> bool:
        # Controls that arrived while `_advance` ran are not applied yet, so they end the wait.
        changed = self.controls != self._applied_controls
        return bool(self._ended) or changed or self._has_to_hand_over

    async def _await_admission(self) -> None:
        """Wait until a limit or a hold lets another route start, or something else changes."""
        step = RolloutActivities.await_admission(self._state_after([]))
        admission = await run_until(step, self._has_changed)
        if not self._has_changed():
            admission.result()

    def _may_batch(self, advanced: WaveAdvanced) -> bool:
        """Return whether ended routes can wait for more: all succeeded, and no route can start."""
        failed = any(outcome.fault for outcome in self._ended)
        urgent = advanced.waiting or failed or self.controls != self._applied_controls
        return bool(self._ended) and bool(self._in_flight) and not urgent

    def _time_limit(self, advanced: WaveAdvanced) -> timedelta | None:
        """Return how long to wait if nothing changes; None for no limit."""
        waits_for_person = self.controls.paused or self._incident.over_limit
        if waits_for_person or not advanced.waiting or self._stopped_by:
            return None
        if self._incident.is_on and not self._in_flight:
            return max(self._incident.until - workflow.now(), timedelta(seconds=1))
        return BUDGET_PAUSE if advanced.is_limited else None

    def _check_failures(self) -> None:
        """Stop the wave if the failures so far require it, before another route starts."""
        if self._input.work is WaveWork.ROLL_BACK:
            return
        failed = [each for each in self._ended if each.progress is RouteProgress.FAILED]
        proven = sum(each.progress is RouteProgress.CONVERGED for each in self._ended)
        self._kinds |= {each.fault.kind for each in failed if each.fault}
        successes, failures = self._tally
        if self._input.work is WaveWork.PROVE:
            proven = -len(failed)  # They were counted as successes after the swap.
        reason = stop_reason(self._input.strategy, successes + proven, failures + len(failed))
        # Also once it is stopped: routes that were in flight fail too, and all are counted.
        if failed and reason is not None:
            self._stopped_by = f"{reason} ({', '.join(sorted(self._kinds))})"

    def _run(self, outcome: RouteOutcome, operation: Coroutine[Any, Any, None]) -> None:
        """Wait for the operation on a route. Its outcome is kept however it ends."""
        self._in_flight[outcome.route_id] = outcome
        task = asyncio.create_task(self._run_route(outcome, operation))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda ended: self._keep(outcome, ended))

    def _keep(self, outcome: RouteOutcome, task: asyncio.Task[RouteOutcome]) -> None:
        """Keep the outcome of a route. An error that nothing expects fails it."""
        if self._is_over:
            return
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            ended = task.result()
        else:
            workflow.logger.error("%s: unexpected error", outcome.route_id, exc_info=error)
            ended = self._failed(outcome, fault_of(error))
        del self._in_flight[outcome.route_id]
        self._run_ids.pop(outcome.route_id, None)
        self._ended.append(ended)
        self._page.keep(ended)

    async def _run_route(
        self, outcome: RouteOutcome, operation: Coroutine[Any, Any, None]
    ) -> RouteOutcome:
        """Wait for the operation on one route, and return its outcome."""
        started = workflow.now()
        try:
            await operation
        except (ChildWorkflowError, ApplicationError) as error:
            cause = fault_of(error)
            is_ours = locks_out(cause.kind) and await self._locked_out.ask()
            return self._failed(outcome, cause, held=is_ours)
        except WorkflowAlreadyStartedError:
            return self._failed(outcome, _busy(outcome.route_id))
        if started >= self._incident.until:
            self._incident.end()
        # A route that was rolled back keeps the fault that caused it.
        keep = outcome.fault if self._input.work is WaveWork.ROLL_BACK else None
        return _at(outcome, DONE[self._input.work], keep)

    def _failed(self, outcome: RouteOutcome, cause: Fault, *, held: bool = False) -> RouteOutcome:
        """Return the outcome of a route whose operation failed, by what its fault's rule says.

        Args:
            outcome: of the route before.
            cause: the fault.
            held: it is an incident, whatever its rule says: many hosts lock the control plane out.
        """
        work, effect = self._input.work, effect_in_rollout(cause)
        if held:
            effect = RolloutEffect.HELD
        if effect is RolloutEffect.HELD:
            self._incident.add(outcome.route_id, cause)
            # A route that is to be rolled back keeps the fault that caused it.
            kept = outcome.fault if work is WaveWork.ROLL_BACK else cause
            return _at(outcome, REQUEUED[work], kept)
        if effect is RolloutEffect.SKIPPED and work is not WaveWork.ROLL_BACK:
            return _at(outcome, RouteProgress.SKIPPED, cause)
        return _at(outcome, FAILED[work], cause)

    async def _operate_when_free(self, outcome: RouteOutcome) -> None:
        """Run the operation on a route; while another one runs there, try again."""
        for _ in range(ROUTE_BUSY_ATTEMPTS):
            try:
                return await self._operate(outcome)
            except WorkflowAlreadyStartedError:
                await workflow.sleep(ROUTE_BUSY_PAUSE, summary=f"{outcome.route_id} is busy")
        return await self._operate(outcome)

    async def _await_operation(self, running: RunningRoute) -> None:
        """Wait for an operation that the run before has started, as if it were ours."""
        route_id, run_id = running.outcome.route_id, running.run_id
        try:
            awaited = await RolloutActivities.await_operation(
                AwaitOperationInput(route_id=route_id, run_id=run_id)
            )
        except ActivityError as error:
            # The activity's error has the operation's failure as its cause.
            failed = error.cause.__cause__ if error.cause is not None else None
            raise failure(fault_of(failed or error)) from error
        if not awaited.known:
            await self._operate_when_free(running.outcome)

    async def _operate(self, outcome: RouteOutcome) -> None:
        """Run the operation on a route. It continues if the wave ends."""
        route_id, previous_tag = outcome.route_id, outcome.previous_release_tag
        release, origin, rollout = self._input.release, self._input.origin, self._input.rollout
        if self._input.work is WaveWork.REPLACE:
            image = self._input.image_name
            replace = AutoreplaceRouteInput(
                route_id=route_id,
                reason=f"rollout of image {image}",
                requested=True,
                image_name=image,
                rollout=rollout,
                origin=origin,
            )
            await self._execute(
                AutoreplaceRoute.run, replace, route_id, f"replace the machine of {route_id}"
            )
            return
        if self._input.work is WaveWork.PROVE:
            # Machines that were replaced run the releases of their routes.
            its_release = None if self._input.image_name else release
            prove = ProveRouteInput(
                route_id=route_id, release=its_release, origin=origin, rollout=rollout
            )
            at = f"at {release.tag} " if its_release else ""
            summary = f"prove {route_id} {at}after the soak"
            await self._execute(ProveRoute.run, prove, route_id, summary)
            return
        forward = not self._input.work.goes_back
        tag = release.tag if forward else previous_tag
        if tag is None:
            raise failure(fault("no-release-before", f"route {route_id} was never proven before"))
        swap = HotSwapRouteInput(
            route_id=route_id,
            release_tag=tag,
            origin=origin,
            # All routes get the files to which the tag was resolved when the rollout started.
            release=release if tag == release.tag else None,
            rollout=rollout,
            allow_downgrade=not forward,
        )
        summary = f"{'hot swap' if forward else 'roll back'} {route_id} to {tag}"
        await self._execute(HotSwapRoute.run, swap, route_id, summary)

    async def _execute(
        self, operation: Callable[..., Any], input: Message, route_id: RouteId, summary: str
    ) -> None:
        if self._is_over:  # The route was busy until now, and is claimed again by the next run.
            raise asyncio.CancelledError
        self._run_ids[route_id] = None
        try:
            started = await workflow.start_child_workflow(
                operation,
                input,
                id=route_workflow_id(route_id),
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
                search_attributes=search_attributes.attributes(
                    {
                        search_attributes.ROUTE: route_id,
                        search_attributes.RELEASE: self._input.release.tag,
                        search_attributes.ROLLOUT: self._input.rollout,
                    }
                ),
                priority=_PRIORITY,
                static_summary=summary,
            )
        except WorkflowAlreadyStartedError:
            del self._run_ids[route_id]
            raise
        # Kept until the outcome is: who continues as new meanwhile hands the operation over.
        self._run_ids[route_id] = started.first_execution_run_id
        await started

    async def _report(self, advanced: WaveAdvanced) -> None:
        """Show where the wave stands. Tell the rollout if only a person can decide."""
        self._page.set(advanced.counts, self._incident.sentence or advanced.limits)
        self._owner.show_wave(self._page)
        reason = self._incident.over_limit
        if reason and not self._asked_for_person:
            self._asked_for_person = True
            await self._owner.ask_person(reason)


def _at(outcome: RouteOutcome, progress: RouteProgress, cause: Fault | None) -> RouteOutcome:
    return outcome.model_copy(update={"progress": progress, "fault": cause})


def _busy(route_id: RouteId) -> Fault:
    held = route_workflow_id(route_id)
    return fault("route-busy", f"another operation has held {held} for too long", "hot swap")
