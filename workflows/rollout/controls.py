"""The controls of a rollout: its updates, signals and queries.

Each update names who requested it and the reason, and writes an event.
"""

import asyncio
from datetime import datetime
from typing import Any

from temporalio import workflow

from relight.domain.base import Origin
from relight.domain.fault.fault import Fault
from relight.domain.fault.table import fault
from relight.domain.release import Release
from relight.domain.rollout.gate import Decision
from relight.domain.rollout.records import (
    RecordControlInput,
    RecordDecisionInput,
    RecordStandingInput,
)
from relight.domain.rollout.rollout import (
    ControlInput,
    Controls,
    RolloutContinued,
    RolloutPace,
    RolloutPhase,
    RolloutPlan,
    RolloutReleaseInput,
    RolloutStage,
    RolloutStanding,
    SetConcurrency,
    SkipRoute,
    WaveKept,
)
from relight.domain.rollout.wave import (
    RetryFailedInput,
    RoutesChanged,
    SkipInput,
    WaveEnded,
    WaveNeedsPerson,
)
from workflows.failures import failure, ignore_ended
from workflows.rollout import inputs
from workflows.rollout.inputs import described_update
from workflows.rollout.pages import WavePage, rollout_page
from workflows.rollout.state import RolloutState
from workflows.rollout.steps import RolloutActivities
from workflows.rollout.wave import Wave
from workflows.rollout.wave_workflow import WAVE_NEEDS_PERSON, RolloutWave


class ControlledRollout:
    """The base class of `RolloutRelease`: everything except its `run`."""

    def __init__(self, input: RolloutReleaseInput) -> None:
        """Begin, or take over what the run before has kept."""
        self._input = input
        self._state = RolloutState(input)
        self._refusal: Fault | None = None
        self._wave: Wave | workflow.ChildWorkflowHandle[RolloutWave, WaveEnded] | None = None
        self._wave_page = ""
        self._recording = asyncio.Lock()
        kept = input.continued
        self._recorded = kept.standing if kept else None
        self._release: Release | None = kept.release if kept else None
        self._plan: RolloutPlan | None = kept.plan if kept else None
        self._stage = kept.stage if kept else RolloutStage.NEXT
        self._controls = (
            kept.controls if kept else Controls(max_concurrent=input.strategy.max_concurrent)
        )
        self._holds: tuple[str, ...] = kept.holds if kept else ()
        self._soaks_until: datetime | None = kept.soaks_until if kept else None
        self._wave_kept: WaveKept | None = kept.wave if kept else None
        self._end_phase: RolloutPhase | None = kept.end_phase if kept else None
        self._end_reason = kept.end_reason if kept else ""
        self._rolls_back = kept.rolls_back if kept else False
        self._small_wave = kept.small_wave if kept else 0

    def _kept(self, release: Release, plan: RolloutPlan) -> RolloutContinued:
        """Return what the next run takes over."""
        return RolloutContinued(
            release=release,
            plan=plan,
            stage=self._stage,
            standing=self._state.standing,
            counts=self._state.counts,
            controls=self._controls.model_copy(update={"hands_over": False}),
            holds=self._holds,
            soaks_until=self._soaks_until,
            wave=self._wave_kept,
            end_phase=self._end_phase,
            end_reason=self._end_reason,
            rolls_back=self._rolls_back,
            failed=self._state.failed,
            small_wave=self._small_wave,
        )

    # ------------------------------------------------------------------ operators

    @described_update(f"Wait for the plan and return it. {inputs.NOTHING}")
    async def planned(self) -> RolloutPlan:
        """Return the plan as soon as there is one; raise the refusal if there will be none."""
        await workflow.wait_condition(lambda: self._plan is not None or self._refusal is not None)
        if self._plan is None:
            assert self._refusal is not None
            raise failure(self._refusal)
        return self._plan

    @described_update(f"Start no further route until resumed. {inputs.CONTROL}")
    async def pause(self, input: ControlInput) -> RolloutStanding:
        """Start no further route until resumed, also in a rollback. Running operations finish."""
        paused = "rollback paused" if self._is_rolling_back else "paused"
        reason = f"{paused} by {_by(input.origin)}"
        self._set_phase(RolloutPhase.PAUSED, reason, to_do="relight rollout resume, or abort")
        await self._set_controls(paused=True)
        return await self._record_control("pause", input)

    @pause.validator
    def _check_pause(self, input: ControlInput) -> None:  # noqa: ARG002 - the update's input
        self._require("pause", self._takes_controls and not self._controls.paused)

    @described_update(f"Continue after a pause, also of a rollback. {inputs.CONTROL}")
    async def resume(self, input: ControlInput) -> RolloutStanding:
        """Continue a paused rollout, or its rollback."""
        if self._awaits_approval:
            self._show_hold()
        else:
            self._set_phase(self._working_phase, f"resumed by {_by(input.origin)}")
        await self._set_controls(paused=False)
        return await self._record_control("resume", input)

    @resume.validator
    def _check_resume(self, input: ControlInput) -> None:  # noqa: ARG002 - the update's input
        self._require("resume", self._takes_controls and self._controls.paused)

    @described_update(f"Continue a rollout that waits for approval. {inputs.CONTROL}")
    async def approve(self, input: ControlInput) -> RolloutStanding:
        """Continue a rollout that waits for approval."""
        self._holds = self._holds[1:]
        if not self._controls.paused:
            self._set_phase(RolloutPhase.RUNNING, f"approved by {_by(input.origin)}")
        return await self._record_control("approve", input)

    @approve.validator
    def _check_approve(self, input: ControlInput) -> None:  # noqa: ARG002 - the update's input
        self._require("approve", self._end_phase is None and self._awaits_approval)

    @described_update(f"End the rollout, or its rollback. {inputs.CONTROL}")
    async def abort(self, input: ControlInput) -> RolloutStanding:
        """End the rollout, or its rollback: start no further route. Running operations finish."""
        if self._end_phase is None:
            self._finish_as(RolloutPhase.ABORTED, f"aborted by {_by(input.origin)}")
        else:
            self._leave_rollback(self._end_phase, f"rollback aborted by {_by(input.origin)}")
        await self._set_controls(stopped=True)
        return await self._record_control("abort", input)

    @abort.validator
    def _check_abort(self, input: ControlInput) -> None:  # noqa: ARG002 - the update's input
        is_preparing = self._plan is None and self._end_phase is None
        self._require("abort", is_preparing or self._takes_controls)

    @described_update(f"Retry the failed routes of the running wave. {inputs.CONTROL}")
    async def retry_failed(self, input: ControlInput) -> RolloutStanding:
        """Retry the failed routes of the running wave, until it soaks.

        A wave that is proven again after the soak would leave them waiting for ever.
        """
        retried = await RolloutActivities.retry_failed(
            RetryFailedInput(rollout_run_id=run_id(), number=self._state.wave)
        )
        return await self._reread_routes("retry", input, retried)

    @retry_failed.validator
    def _check_retry(self, input: ControlInput) -> None:  # noqa: ARG002 - the update's input
        may = self._end_phase is None and self._stage is RolloutStage.SWAP
        soaked = ", after the soak," if self._stage is RolloutStage.PROVE else ""
        self._require(f"retry{soaked} the failed routes of", may)

    @described_update(f"Skip a route that has not started, or has failed. {inputs.SKIP}")
    async def skip_route(self, input: SkipRoute) -> RolloutStanding:
        """Skip a route that has not started, or has failed."""
        skipped = await RolloutActivities.skip_route(
            SkipInput(rollout_run_id=run_id(), route_id=input.route_id, reason=input.origin.reason)
        )
        if not skipped.routes:
            raise failure(
                fault(
                    "wrong-phase",
                    f"{input.route_id} is in progress, done, or no route of this rollout",
                    "skip",
                )
            )
        return await self._reread_routes("skip", input, skipped, route_id=input.route_id)

    @skip_route.validator
    def _check_skip(self, input: SkipRoute) -> None:  # noqa: ARG002 - the update's input
        may = self._end_phase is None and self._plan is not None
        self._require("skip a route of", may)

    @described_update(f"Set how many routes are changed at once. {inputs.CONCURRENCY}")
    async def set_concurrency(self, input: SetConcurrency) -> RolloutStanding:
        """Set how many routes are changed at once, also in a rollback."""
        await self._set_controls(max_concurrent=input.max_concurrent)
        return await self._record_control(
            "set-concurrency", input, max_concurrent=input.max_concurrent
        )

    @set_concurrency.validator
    def _check_set_concurrency(self, input: SetConcurrency) -> None:  # noqa: ARG002 - the update's input
        self._require("change the concurrency of", self._takes_controls)

    # ------------------------------------------------------------------ other workflows

    @workflow.signal(description=f"Another rollout of the scope begins. {inputs.ROLLOUT}")
    async def supersede(self, by: RolloutReleaseInput) -> None:
        """End in favour of another rollout of the scope. Running operations finish.

        What is not rolled back then is left to the other rollout.
        """
        what = f"the undo of {by.release_tag}" if by.undo else by.image_name or by.release_tag
        reason = f"superseded by {what}: {_by(by.origin)}"
        if self._end_phase is None:
            self._finish_as(RolloutPhase.SUPERSEDED, reason)
        elif self._rolls_back:
            self._leave_rollback(RolloutPhase.SUPERSEDED, reason)
        else:
            return
        await self._set_controls(stopped=True)
        await self._record_standing()

    @workflow.signal(
        name=WAVE_NEEDS_PERSON, description=f"Pause for a person. {inputs.NEEDS_PERSON}"
    )
    async def wave_needs_person(self, wave: WaveNeedsPerson) -> None:
        """Pause: the running wave has been held for too long, and a person has to decide."""
        await self.ask_person(wave.reason)

    async def ask_person(self, reason: str) -> None:
        """Pause for a person, who has to decide about the reason."""
        if self._takes_controls and not self._controls.paused:
            await self._pause_for_person(reason)

    def show_wave(self, page: WavePage) -> None:
        """Show how far the wave is that runs here."""
        self._state.counts, self._wave_page = page.counts, page.text
        self._show()

    # ------------------------------------------------------------------ queries

    @workflow.query(description="Where the rollout stands; its routes are in the store.")
    def standing(self) -> RolloutStanding:
        """Return where the rollout stands. Its status, with its routes, is in the store."""
        return self._state.standing

    @workflow.query(description="The plan: each wave with its routes.")
    def plan(self) -> RolloutPlan | None:
        """Return the plan; None before it exists."""
        return self._plan

    @workflow.query(description="How fast the rollout goes: what a view estimates its end by.")
    def pace(self) -> RolloutPace:
        """Return what decides how fast the rollout goes."""
        strategy = self._input.strategy
        return RolloutPace(
            max_concurrent=self._controls.max_concurrent,
            soak=strategy.soak,
            soaks_until=self._soaks_until,
            disruption_budget=strategy.disruption_budget,
            max_concurrent_per_provider=strategy.max_concurrent_per_provider,
            max_concurrent_per_region=strategy.max_concurrent_per_region,
        )

    async def _set_controls(self, **changes: object) -> None:
        self._controls = self._controls.model_copy(update=changes)
        if isinstance(self._wave, Wave):
            self._wave.set_controls(self._controls)
        elif self._wave is not None:
            # If the wave has just ended, the next one starts with these controls.
            await ignore_ended(self._wave.signal(RolloutWave.set_controls, self._controls))

    async def _reread_routes(
        self, action: str, input: ControlInput, changed: RoutesChanged, **fields: str
    ) -> RolloutStanding:
        """Make the wave read its routes again, and record the control."""
        await self._set_controls(revision=self._controls.revision + changed.routes)
        return await self._record_control(action, input, **fields)

    async def _record_control(
        self, action: str, input: ControlInput, **fields: Any
    ) -> RolloutStanding:
        await RolloutActivities.record_control(
            RecordControlInput(
                rollout_run_id=run_id(),
                release_tag=self._input.release_tag,
                scope=self._input.scope,
                action=action,
                origin=input.origin,
                **fields,
            )
        )
        await self._record_standing()
        return self._state.standing

    @property
    def _takes_controls(self) -> bool:
        """Whether waves are running or to be run, forward or back."""
        forward = self._end_phase is None and self._plan is not None
        return forward or self._is_rolling_back

    @property
    def _is_rolling_back(self) -> bool:
        return self._stage is RolloutStage.ROLL_BACK and self._rolls_back

    @property
    def _awaits_approval(self) -> bool:
        return self._stage is RolloutStage.HOLD and bool(self._holds)

    @property
    def _working_phase(self) -> RolloutPhase:
        return RolloutPhase.ROLLING_BACK if self._is_rolling_back else RolloutPhase.RUNNING

    def _require(self, action: str, may: bool) -> None:
        if not may:
            raise failure(
                fault(
                    "wrong-phase",
                    f"cannot {action} a rollout that is {self._state.standing.phase}",
                    action,
                )
            )

    def _finish_as(self, phase: RolloutPhase, reason: str) -> None:
        """End the rollout as soon as no route operation is running."""
        stopped = phase in {RolloutPhase.STOPPED, RolloutPhase.ABORTED}
        # Old machines are destroyed once a route has a new one: nothing is left to go back to.
        goes_back = self._input.strategy.roll_back and self._input.image_name is None
        self._rolls_back = stopped and goes_back
        self._end_phase, self._end_reason = phase, reason
        self._set_phase(phase, reason)

    def _leave_rollback(self, phase: RolloutPhase, reason: str) -> None:
        """End a stopped or aborted rollout with its rollback incomplete, or not begun."""
        self._rolls_back = False
        self._end_phase, self._end_reason = phase, f"{self._end_reason}; {reason}"
        self._set_phase(phase, self._end_reason)

    async def _set_waiting(self, reason: str) -> None:
        """Show what the rollout waits for, if it can continue without an operator."""
        if not self._controls.paused:
            to_do = "it continues by itself; or relight rollout abort"
            self._set_phase(RolloutPhase.HOLDING, reason, to_do=to_do)
            await self._record_standing()

    async def _pause_for_person(self, reason: str) -> None:
        to_do = "relight rollout resume when the cause is gone, or abort"
        self._set_phase(RolloutPhase.PAUSED, reason, to_do=to_do)
        await self._set_controls(paused=True)
        await RolloutActivities.record_decision.local(
            RecordDecisionInput(
                rollout_run_id=run_id(),
                release_tag=self._input.release_tag,
                scope=self._input.scope,
                wave=self._state.wave,
                decision=Decision.HOLD,
                reason=reason,
                origin=self._input.origin,
            )
        )
        await self._record_standing()

    def _show_hold(self) -> None:
        to_do = "relight rollout approve, or abort"
        self._set_phase(RolloutPhase.HOLDING, self._holds[0], to_do=to_do)

    def _set_phase(self, phase: RolloutPhase, detail: str, to_do: str = "") -> None:
        self._state.set_phase(phase, detail, to_do)
        self._show()

    def _show(self) -> None:
        workflow.set_current_details(rollout_page(self._state.status(), self._wave_page))

    async def _record_standing(self) -> None:
        """Record where the rollout stands, if the store does not know it yet."""
        async with self._recording:
            while self._plan is not None and self._recorded != self._state.standing:
                standing = self._state.standing
                await RolloutActivities.record_standing.local(
                    RecordStandingInput(rollout_run_id=run_id(), standing=standing)
                )
                self._recorded = standing


def run_id() -> str:
    """Return the rollout's identity: the id of its first run, under which the store has it."""
    return workflow.info().first_execution_run_id


def _by(origin: Origin) -> str:
    return f"{origin.requested_by}: {origin.reason}"
