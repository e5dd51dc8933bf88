"""One wave of a rollout: its routes taken one after the other, a few at a time."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority, VersioningBehavior
from temporalio.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError

from relight.domain.fault.fault import Fault
from relight.domain.fault.table import fault
from relight.domain.names import RouteId, route_workflow_id
from relight.domain.rollout.gate import incident_of, why_stop
from relight.domain.rollout.rollout import RouteOutcome, RouteProgress
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
from workflows.failures import fault_of
from workflows.rollout.steps import RolloutActivities
from workflows.route.hot_swap import HotSwapRoute
from workflows.route.prove import ProveRoute

EVENTS_BEFORE_CONTINUE = 4000
"""A history of more events goes on as a new one; a server takes ten times as many."""

REPORT_EVERY = timedelta(seconds=3)
"""How often the rollout is told of routes that went well. What failed is told at once."""

FIRST_INCIDENT_PAUSE, LONGEST_INCIDENT_PAUSE = timedelta(seconds=15), timedelta(minutes=2)
"""How long an incident holds a wave before one route tries whether it is over."""

GATHER_FOR = timedelta(seconds=3)
"""How long routes that went well are waited for, to be written down together."""

HELD_UP_PAUSE = timedelta(seconds=15)
"""Between looks at a disruption budget that others have spent."""

ROUTE_BUSY_PAUSE, ROUTE_BUSY_TRIES = timedelta(seconds=15), 40
"""Ten minutes: longer than any operation on a healthy route takes."""

_IN_TURN = Priority(priority_key=4)
"""An operator's own swap has 3, and comes first."""

WAVE_PROGRESS = "wave_stands"
"""The signal by which a wave tells its rollout how it stands."""

_DONE = {
    WaveWork.SWAP: RouteProgress.CONVERGED,
    WaveWork.PROVE: RouteProgress.CONVERGED,
    WaveWork.ROLL_BACK: RouteProgress.ROLLED_BACK,
}
_FAILED = {
    WaveWork.SWAP: RouteProgress.FAILED,
    WaveWork.PROVE: RouteProgress.FAILED,
    WaveWork.ROLL_BACK: RouteProgress.NOT_ROLLED_BACK,
}
_AGAIN = {WaveWork.SWAP: RouteProgress.WAITING, WaveWork.PROVE: RouteProgress.SOAKING}
"""What a route is whose fault no host is to blame for: it has its turn again."""


# As its rollout, so that what it starts from then on is of the current version too.
@workflow.defn(versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class RolloutWave:
    """Take the routes of a wave through one work, each as an operation of its own.

    The store knows which routes those are and where each is. Nothing further is started once the
    failure budget is spent. What no host is to blame for holds the wave as one incident: after a
    pause one route tries again, and if it fares well the others follow.
    """

    @workflow.init
    def __init__(self, input: RolloutWaveInput) -> None:
        self._input = input
        self._controls = input.controls
        self._under_way: dict[RouteId, RouteOutcome] = {}
        self._ended: list[RouteOutcome] = []
        self._moved: dict[RouteId, RouteOutcome] = {}
        self._told_at = workflow.now() - REPORT_EVERY
        self._stopped_by: str | None = None
        self._kinds: set[str] = set()
        self._tally = (0, 0)
        self._hold = _seconds(input.hold_for_seconds)
        self._incident: dict[RouteId, Fault] = {}
        self._held_until = workflow.now()
        self._waits_for = self._told_waits_for = ""
        self._heeded = input.controls

    @workflow.run
    async def run(self, input: RolloutWaveInput) -> WaveEnded:  # noqa: ARG002 - see init
        """Start what may start, hear of what ended, until nothing is left."""
        routes: set[asyncio.Task[None]] = set()
        while True:
            advanced = await self._advance()
            for outcome in advanced.starts:
                self._under_way[outcome.route_id] = outcome
                self._move(outcome)
                task = asyncio.create_task(self._take(outcome))
                routes.add(task)
                task.add_done_callback(routes.discard)
            self._note_waiting(advanced)
            await self._tell(advanced)
            if not self._under_way and not self._ended:
                if self._is_through(advanced):
                    return WaveEnded(
                        counts=advanced.counts,
                        moved=tuple(self._moved.values()),
                        stopped_by=self._stopped_by,
                    )
                if self._history_is_long:
                    await self._tell(advanced, at_once=True)
                    workflow.continue_as_new(self._anew())
            await self._until_something_happens(advanced)

    @workflow.signal
    def steer(self, controls: Controls) -> None:
        """Go on as the rollout's operators want."""
        self._controls = controls

    async def _advance(self) -> WaveAdvanced:
        self._judge()
        ended, self._ended = self._ended, []
        self._heeded = self._controls
        advanced = await RolloutActivities.advance_wave.local(
            AdvanceWaveInput(
                rollout_run_id=self._input.rollout_run_id,
                release_tag=self._input.release.tag,
                work=self._input.work,
                number=self._input.number,
                strategy=self._input.strategy,
                in_flight=tuple(self._under_way),
                ended=tuple(ended),
                at_most=self._at_most,
            )
        )
        self._tally = tally(advanced.counts)
        return advanced

    @property
    def _at_most(self) -> int:
        """How many routes may be under way now."""
        controls = self._controls
        if controls.paused or controls.stopped or self._stopped_by or self._history_is_long:
            return 0
        if not self._hold:
            return controls.max_concurrent
        # After a pause one route tries whether the incident is over.
        return 1 if workflow.now() >= self._held_until else 0

    @property
    def _history_is_long(self) -> bool:
        info = workflow.info()
        return (
            info.is_continue_as_new_suggested()
            or info.get_current_history_length() > EVENTS_BEFORE_CONTINUE
        )

    def _is_through(self, advanced: WaveAdvanced) -> bool:
        return not advanced.waiting or self._controls.stopped or self._stopped_by is not None

    def _anew(self) -> RolloutWaveInput:
        hold = self._hold.total_seconds() if self._hold else None
        return self._input.model_copy(update={"controls": self._controls, "hold_for_seconds": hold})

    async def _until_something_happens(self, advanced: WaveAdvanced) -> None:
        # What came while it looked at its routes, it has not heeded either.
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: bool(self._ended) or self._controls != self._heeded,
                timeout=self._pause(advanced),
            )
        if self._may_gather(advanced):
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: not self._may_gather(advanced), timeout=GATHER_FOR
                )

    def _may_gather(self, advanced: WaveAdvanced) -> bool:
        """Whether what ended can wait for more: it went well, and leaves nobody room to start."""
        failed = any(outcome.fault for outcome in self._ended)
        waits = advanced.waiting or failed or self._controls != self._heeded
        return bool(self._ended) and bool(self._under_way) and not waits

    def _pause(self, advanced: WaveAdvanced) -> timedelta | None:
        """How long nothing needs to be looked at, if nothing happens; None for ever."""
        if self._controls.paused or not advanced.waiting or self._stopped_by:
            return None
        if self._hold and not self._under_way:
            return max(self._held_until - workflow.now(), timedelta(seconds=1))
        if advanced.thaws_at is not None:
            return max(advanced.thaws_at - workflow.now(), timedelta(seconds=1))
        return HELD_UP_PAUSE if advanced.held_up_by else None

    def _judge(self) -> None:
        """Stop where the failures so far say so, before anything further is started."""
        if self._input.work is WaveWork.ROLL_BACK or self._stopped_by is not None:
            return
        failed = [each for each in self._ended if each.progress is RouteProgress.FAILED]
        proven = sum(each.progress is RouteProgress.CONVERGED for each in self._ended)
        self._kinds |= {each.fault.kind for each in failed if each.fault}
        successes, failures = self._tally
        if self._input.work is WaveWork.PROVE:
            proven = -len(failed)  # they were counted among the successes so far
        why = why_stop(self._input.strategy, successes + proven, failures + len(failed))
        if failed and why is not None:
            self._stopped_by = f"{why} ({', '.join(sorted(self._kinds))})"

    def _note_waiting(self, advanced: WaveAdvanced) -> None:
        """Say what keeps routes from being started."""
        if self._hold:
            return  # what the incident is was said when it came
        self._waits_for = ""
        if advanced.waiting and not advanced.starts and not self._controls.paused:
            limits = list(advanced.held_up_by)
            if advanced.thaws_at:
                limits.append(
                    f"a freeze window that ends at {advanced.thaws_at:%Y-%m-%d %H:%M} UTC"
                )
            self._waits_for = "; ".join(limits)

    async def _take(self, outcome: RouteOutcome) -> None:
        """Bring one route through the wave's work, and keep what came of it."""
        route_id, started = outcome.route_id, workflow.now()
        try:
            await self._while_busy(route_id)
        except ChildWorkflowError as error:
            ended = self._failed(outcome, fault_of(error))
        except WorkflowAlreadyStartedError:
            ended = self._failed(outcome, _busy(route_id))
        else:
            if started >= self._held_until:
                self._hold = None  # the incident is over
                self._incident.clear()
            # What made it fail stays on the board when it was brought back.
            keep = outcome.fault if self._input.work is WaveWork.ROLL_BACK else None
            ended = _at(outcome, _DONE[self._input.work], keep)
        del self._under_way[route_id]
        self._ended.append(ended)
        self._move(ended, was_told_of=outcome.fault is not None)

    def _failed(self, outcome: RouteOutcome, cause: Fault) -> RouteOutcome:
        again = _AGAIN.get(self._input.work)
        if again is None or incident_of([cause]) is None:
            return _at(outcome, _FAILED[self._input.work], cause)
        self._incident[outcome.route_id] = cause
        if not self._hold:
            self._hold = FIRST_INCIDENT_PAUSE
        elif workflow.now() >= self._held_until:
            self._hold = min(self._hold * 2, LONGEST_INCIDENT_PAUSE)
        self._held_until = workflow.now() + self._hold
        if incident := incident_of(self._incident.values()):
            self._waits_for = incident.summary
        return _at(outcome, again, cause)

    async def _while_busy(self, route_id: RouteId) -> None:
        """Run the route's own operation, once no other one is at it."""
        for _ in range(ROUTE_BUSY_TRIES):
            try:
                return await self._operate(route_id)
            except WorkflowAlreadyStartedError:
                await workflow.sleep(ROUTE_BUSY_PAUSE, summary=f"{route_id} is busy")
        return await self._operate(route_id)

    async def _operate(self, route_id: RouteId) -> None:
        """Start the route's own operation, which lives on if the wave does not."""
        asked, release = self._input, self._input.release
        attributes = search_attributes.attributes(
            {
                search_attributes.ROUTE: route_id,
                search_attributes.RELEASE: release.tag,
                search_attributes.ROLLOUT: asked.rollout,
            }
        )
        if asked.work is WaveWork.PROVE:
            await workflow.execute_child_workflow(
                ProveRoute.run,
                ProveRouteInput(
                    route_id=route_id, release=release, origin=asked.origin, rollout=asked.rollout
                ),
                id=route_workflow_id(route_id),
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
                search_attributes=attributes,
                priority=_IN_TURN,
                static_summary=f"prove {route_id} at {release.tag} again",
            )
            return
        forward = asked.work is WaveWork.SWAP
        await workflow.execute_child_workflow(
            HotSwapRoute.run,
            HotSwapRouteInput(
                route_id=route_id,
                release_tag=release.tag if forward else None,
                origin=asked.origin,
                # Each route gets the very files that the tag stood for when the rollout began.
                release=release if forward else None,
                rollout=asked.rollout,
            ),
            id=route_workflow_id(route_id),
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
            search_attributes=attributes,
            priority=_IN_TURN,
            static_summary=(
                f"hot swap {route_id} to {release.tag}" if forward else f"roll {route_id} back"
            ),
        )

    def _move(self, outcome: RouteOutcome, *, was_told_of: bool = False) -> None:
        """Have the rollout be told of a route; of a large one, where a fault comes or goes."""
        if self._input.named or was_told_of or outcome.fault is not None:
            self._moved[outcome.route_id] = outcome

    async def _tell(self, advanced: WaveAdvanced, *, at_once: bool = False) -> None:
        """Tell the rollout how the wave stands, but not at each step."""
        failed = any(outcome.fault for outcome in self._moved.values())
        news = failed or self._waits_for != self._told_waits_for
        if not (at_once or news) and workflow.now() - self._told_at < REPORT_EVERY:
            return
        moved, self._moved = self._moved, {}
        self._told_at, self._told_waits_for = workflow.now(), self._waits_for
        rollout = workflow.get_external_workflow_handle(self._input.rollout)
        await rollout.signal(
            WAVE_PROGRESS,
            WaveProgress(
                counts=advanced.counts, moved=tuple(moved.values()), waits_for=self._waits_for
            ),
        )


def tally(counts: Mapping[RouteProgress, int]) -> tuple[int, int]:
    """Return how many routes of a rollout were proven, and how many failed."""
    proven = (RouteProgress.CONVERGED, RouteProgress.SOAKING, RouteProgress.PROVING)
    return sum(counts.get(each, 0) for each in proven), counts.get(RouteProgress.FAILED, 0)


def _at(outcome: RouteOutcome, progress: RouteProgress, cause: Fault | None) -> RouteOutcome:
    return outcome.model_copy(update={"progress": progress, "fault": cause})


def _busy(route_id: RouteId) -> Fault:
    held = route_workflow_id(route_id)
    return fault("route-busy", f"another operation has held {held} for too long", "hot swap")


def _seconds(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
