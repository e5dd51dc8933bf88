"""A rollout as operators steer it: what they may do at which time, and what they are answered.

Each update says who and why, and leaves an event.
"""

from temporalio import workflow

from relight.domain.base import Origin
from relight.domain.fault.fault import Fault
from relight.domain.fault.table import fault
from relight.domain.rollout.rollout import (
    ControlInput,
    RecordControlInput,
    RolloutPhase,
    RolloutPlan,
    RolloutReleaseInput,
    RolloutStatus,
    SetConcurrency,
    SkipRoute,
)
from relight.domain.rollout.wave import (
    Controls,
    RetryFailedInput,
    RoutesChanged,
    SkipInput,
    WaveEnded,
    WaveProgress,
)
from workflows.failures import failure, unless_gone
from workflows.rollout.state import RolloutState
from workflows.rollout.steps import RolloutActivities
from workflows.rollout.wave import WAVE_PROGRESS, RolloutWave


class ControlledRollout:
    """The base of `RolloutRelease`: all of it but the story of its run."""

    def __init__(self, input: RolloutReleaseInput) -> None:
        self._input = input
        self._state = RolloutState(input)
        self._controls = Controls(max_concurrent=input.strategy.max_concurrent)
        self._plan: RolloutPlan | None = None
        self._refusal: Fault | None = None
        self._ended_as: RolloutPhase | None = None
        self._ended_why = ""
        self._held_for_approval = False
        self._wave: workflow.ChildWorkflowHandle[RolloutWave, WaveEnded] | None = None

    # ------------------------------------------------------------------ operators

    @workflow.update
    async def planned(self) -> RolloutPlan:
        """Answer with the plan once there is one; raise the refusal if there is none."""
        await workflow.wait_condition(lambda: self._plan is not None or self._refusal is not None)
        if self._plan is None:
            assert self._refusal is not None
            raise failure(self._refusal)
        return self._plan

    @workflow.update
    async def pause(self, input: ControlInput) -> RolloutStatus:
        """Start no further route until resumed; those under way are brought to their end."""
        self._show(
            RolloutPhase.PAUSED, f"paused by {_by(input.origin)}", to_do="relight rollout resume"
        )
        await self._steer(paused=True)
        return await self._controlled("pause", input)

    @pause.validator
    def _pause_may(self, input: ControlInput) -> None:  # noqa: ARG002 - all updates take it
        self._require("pause", self._plan is not None and not self._controls.paused)

    @workflow.update
    async def resume(self, input: ControlInput) -> RolloutStatus:
        """Go on where the pause stopped."""
        self._show(RolloutPhase.RUNNING, f"resumed by {_by(input.origin)}")
        await self._steer(paused=False)
        return await self._controlled("resume", input)

    @resume.validator
    def _resume_may(self, input: ControlInput) -> None:  # noqa: ARG002 - all updates take it
        self._require("resume", self._controls.paused)

    @workflow.update
    async def approve(self, input: ControlInput) -> RolloutStatus:
        """Go on from where it waits for a person."""
        self._held_for_approval = False
        self._show(RolloutPhase.RUNNING, f"approved by {_by(input.origin)}")
        return await self._controlled("approve", input)

    @approve.validator
    def _approve_may(self, input: ControlInput) -> None:  # noqa: ARG002 - all updates take it
        self._require("approve", self._held_for_approval)

    @workflow.update
    async def abort(self, input: ControlInput) -> RolloutStatus:
        """Start no further route at all; those under way are brought to their end."""
        self._end_as(RolloutPhase.ABORTED, f"aborted by {_by(input.origin)}")
        await self._steer(stopped=True)
        return await self._controlled("abort", input)

    @abort.validator
    def _abort_may(self, input: ControlInput) -> None:  # noqa: ARG002 - all updates take it
        self._require("abort", self._plan is not None)

    @workflow.update
    async def retry_failed(self, input: ControlInput) -> RolloutStatus:
        """Have the routes that failed wait for their turn once more."""
        retried = await RolloutActivities.retry_failed(
            RetryFailedInput(rollout_run_id=run_id(), number=self._state.wave)
        )
        return await self._changed("retry", input, retried)

    @retry_failed.validator
    def _retry_may(self, input: ControlInput) -> None:  # noqa: ARG002 - all updates take it
        self._require("retry the failed routes of", self._wave is not None)

    @workflow.update
    async def skip_route(self, input: SkipRoute) -> RolloutStatus:
        """Leave a route out that has not started, or has failed."""
        skipped = await RolloutActivities.skip_route(
            SkipInput(rollout_run_id=run_id(), route_id=input.route_id, reason=input.origin.reason)
        )
        if not skipped.routes:
            raise failure(
                fault(
                    "wrong-phase",
                    f"{input.route_id} is under way, done, or no route of this rollout",
                    "skip",
                )
            )
        return await self._changed("skip", input, skipped, route_id=input.route_id)

    @skip_route.validator
    def _skip_may(self, input: SkipRoute) -> None:  # noqa: ARG002 - all updates take it
        self._require("skip a route of", self._plan is not None)

    @workflow.update
    async def set_concurrency(self, input: SetConcurrency) -> RolloutStatus:
        """Change how many routes are changed at once."""
        await self._steer(max_concurrent=input.max_concurrent)
        return await self._controlled(f"speed-{input.max_concurrent}", input)

    @set_concurrency.validator
    def _set_speed_may(self, input: SetConcurrency) -> None:  # noqa: ARG002 - all updates take it
        self._require("change the speed of", self._plan is not None)

    # ------------------------------------------------------------------ other workflows

    @workflow.signal
    async def supersede(self, by: RolloutReleaseInput) -> None:
        """End in favour of another rollout of the scope; what is under way comes to its end."""
        if self._ended_as is None:
            why = f"superseded by {by.release_tag}: {_by(by.origin)}"
            self._end_as(RolloutPhase.SUPERSEDED, why)
            await self._steer(stopped=True)

    @workflow.signal(name=WAVE_PROGRESS)
    def wave_progressed(self, progress: WaveProgress) -> None:
        """Hear from the wave that is under way."""
        self._state.hear(progress)
        if self._ended_as is None and not self._controls.paused:
            if progress.waits_for:
                self._show_waiting(progress.waits_for)
            elif self._state.phase is RolloutPhase.HOLDING:
                self._show(RolloutPhase.RUNNING, f"wave {self._state.wave} goes on")
        workflow.set_current_details(self._state.details())

    # ------------------------------------------------------------------ answers

    @workflow.query
    def status(self) -> RolloutStatus:
        """Answer where the rollout stands."""
        return self._state.status()

    @workflow.query
    def plan(self) -> RolloutPlan | None:
        """Answer what it will do, once it is planned."""
        return self._plan

    @workflow.query
    def why(self) -> str:
        """Answer why it stands where it does, since when, and what can be done."""
        return self._state.why()

    async def _steer(self, **how: object) -> None:
        self._controls = self._controls.model_copy(update=how)
        if self._wave is not None:
            # One that has just ended is followed by another, which is given all this at its start.
            await unless_gone(self._wave.signal(RolloutWave.steer, self._controls))

    async def _changed(
        self, action: str, input: ControlInput, changed: RoutesChanged, **what: str
    ) -> RolloutStatus:
        """Have the wave look anew at its routes."""
        await self._steer(looks=self._controls.looks + changed.routes)
        return await self._controlled(action, input, **what)

    async def _controlled(self, action: str, input: ControlInput, **what: str) -> RolloutStatus:
        await RolloutActivities.record_control(
            RecordControlInput(
                release_tag=self._input.release_tag,
                scope=self._input.scope,
                action=action,
                origin=input.origin,
                **what,
            )
        )
        return self._state.status()

    def _require(self, action: str, may: bool) -> None:
        if self._ended_as is not None or not may:
            raise failure(
                fault(
                    "wrong-phase", f"cannot {action} a rollout that is {self._state.phase}", action
                )
            )

    def _end_as(self, phase: RolloutPhase, why: str) -> None:
        """End it, as soon as nothing is under way any more."""
        self._ended_as, self._ended_why = phase, why
        self._show(phase, why)

    def _show_waiting(self, why: str) -> None:
        """Show what it waits for without anybody's help."""
        if not self._controls.paused:
            to_do = "it goes on by itself; or relight rollout abort"
            self._show(RolloutPhase.HOLDING, why, to_do=to_do)

    def _show(self, phase: RolloutPhase, detail: str, to_do: str = "") -> None:
        self._state.stand(phase, detail, to_do)
        workflow.set_current_details(self._state.details())


def run_id() -> str:
    """Return the id of this run, under which the store keeps the rollout's routes."""
    return workflow.info().run_id


def _by(origin: Origin) -> str:
    return f"{origin.requested_by}: {origin.reason}"
