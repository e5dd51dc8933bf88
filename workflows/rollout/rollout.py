"""The rollout of one release over a scope, in waves with gates."""

import asyncio
from datetime import timedelta
from functools import partial

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import FailureError, is_cancelled_exception

from relight.domain.fault.fault import Fault
from relight.domain.release import Release
from relight.domain.rollout.gate import (
    CheckGateInput,
    Decision,
    GateDecision,
    evaluate_gate,
)
from relight.domain.rollout.records import CloseRolloutInput, RecordDecisionInput
from relight.domain.rollout.rollout import (
    Controls,
    RolloutPhase,
    RolloutPlan,
    RolloutReleaseInput,
    RolloutStage,
    RolloutStatus,
    RouteProgress,
    WaveKept,
)
from relight.domain.rollout.status import NOTHING_CHANGED, in_wave, tally
from relight.domain.rollout.strategy import Approval
from relight.domain.rollout.wave import (
    BeginProofsInput,
    BeginRollBackInput,
    JoinLateInput,
    RolloutWaveInput,
    RoutesChanged,
    WaveEnded,
    WaveWork,
    WidenWaveInput,
    runs_in_rollout,
)
from workflows.failures import fault_of, ignore_ended
from workflows.reporting import report_fault
from workflows.rollout.checks import run_check
from workflows.rollout.controls import ControlledRollout, run_id
from workflows.rollout.ending import end, failed
from workflows.rollout.pages import rollout_page
from workflows.rollout.preparation import check, claim, make_plan
from workflows.rollout.state import history_is_long
from workflows.rollout.steps import RolloutActivities
from workflows.rollout.wave import Wave
from workflows.rollout.wave_workflow import RolloutWave
from workflows.undo import UndoStack

_SHORTEST = timedelta(milliseconds=1)

_LEAN = "a rollout opens in two activities and closes in a local one"
"""The patch: older histories have one for each step."""


# It can take days, so it moves to the current worker version. Tests replay recorded histories.
@workflow.defn(versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class RolloutRelease(ControlledRollout):
    """Bring every route of a scope to a release, wave by wave, or stop at a gate that fails.

    An undo brings each route at the release back to its own release from before, likewise. A
    rollout of an image gives each route a new machine of it, with the release that it has to run.

    It completes as `converged` or `superseded`. `stopped` or `aborted` it fails, once all is done
    and recorded, with the reason and its status. If the release, the scope or the preflight refuses
    it, it fails before it claims the scope: a running rollout continues, and nothing is recorded.
    After a later failure or a cancellation the rollout is recorded as ended and its scope is free.
    Routes keep the release that they have, and operations that are running on them finish.
    """

    @workflow.init
    def __init__(self, input: RolloutReleaseInput) -> None:
        super().__init__(input)
        self._is_lean = workflow.patched(_LEAN)
        self._joined: RoutesChanged | None = None

    @workflow.run
    async def run(self, input: RolloutReleaseInput) -> RolloutStatus:  # noqa: ARG002 - see init
        """Check, claim the scope, plan, run each wave and its gate, and record the result.

        Raises:
            ApplicationError: it was refused, stopped or aborted.
        """
        try:
            async with UndoStack() as undo:
                undo.on_fault(RolloutActivities.close_rollout, self._fault_closing)
                if self._plan is None:
                    await self._prepare()
                self._show()
                while self._stage is not RolloutStage.END:
                    await self._run_stage()
                    if history_is_long():
                        await self._continue_as_new()
                status = await self._end()
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            raise failed(fault_of(error), planned=self._plan is not None) from error
        finally:
            await workflow.wait_condition(workflow.all_handlers_finished)
        return end(status)

    async def _prepare(self) -> None:
        """Check the release, claim the scope, and plan the waves."""
        self._release = await check(self._input, lean=self._is_lean)
        opened = await claim(
            self._input,
            self._release,
            lambda: self._end_phase is not None,
            lambda text: self._set_phase(RolloutPhase.PREPARING, text),
            lean=self._is_lean,
        )
        if opened is None:
            self._stage = RolloutStage.END
            return
        self._small_wave = opened.small_wave
        self._plan = opened.plan or await make_plan(self._input, self._release)
        self._state.set_wave(0, len(self._plan.sizes))
        self._state.counts = {RouteProgress.WAITING: sum(self._plan.sizes)}
        if opened.standing is not None and self._end_phase is None:
            self._recorded = opened.standing
            self._state.standing = opened.standing.model_copy(update={"wave": 0})

    async def _run_stage(self) -> None:
        """Go one stage on. A stage that had to make way for the next run is run again there."""
        is_in_wave = self._wave_kept is not None or self._stage is RolloutStage.ROLL_BACK
        if self._end_phase is not None and not is_in_wave:
            await self._begin_roll_back()
            return
        match self._stage:
            case RolloutStage.NEXT:
                await self._go_to_next_wave()
            case RolloutStage.SWAP:
                await self._run_wave(self._work, RolloutStage.SOAK)
            case RolloutStage.SOAK:
                await self._soak()
            case RolloutStage.PROVE:
                await self._run_wave(WaveWork.PROVE, RolloutStage.GATE)
            case RolloutStage.GATE:
                await self._run_gate(self._state.wave)
            case RolloutStage.HOLD:
                await self._hold()
            case RolloutStage.ROLL_BACK:
                await self._run_wave(WaveWork.ROLL_BACK, RolloutStage.END)

    async def _continue_as_new(self) -> None:
        """Go on with an empty history. No control that has arrived by now is lost."""
        await self._record_standing()
        await workflow.wait_condition(workflow.all_handlers_finished)
        kept = self._kept(self._its_release, self._its_plan)
        workflow.continue_as_new(self._input.model_copy(update={"continued": kept}))

    # ------------------------------------------------------------------ waves

    async def _go_to_next_wave(self) -> None:
        number = self._state.wave + 1
        if await self._has_wave(number):
            self._state.set_wave(number, max(number, self._state.waves))
            self._stage = RolloutStage.SWAP
        else:
            self._stage = RolloutStage.END

    async def _has_wave(self, number: int) -> bool:
        """Return whether there is another wave; routes that joined late make one."""
        request = self._late_joiners(number)
        if request is None:
            return number <= self._state.waves
        joined, self._joined = self._joined, None
        if joined is None:
            joined = await RolloutActivities.join_late.local(request)
        return joined.routes > 0

    def _late_joiners(self, number: int) -> JoinLateInput | None:
        """Return what makes a wave of late joiners; None if the wave is planned, or none is."""
        if number <= self._state.waves or self._input.undo or self._input.image_name:
            return None
        return JoinLateInput(
            rollout_run_id=run_id(),
            release_tag=self._its_release.tag,
            scope=self._input.scope,
            number=number,
        )

    async def _run_wave(self, work: WaveWork, following: RolloutStage) -> None:
        """Run the current wave, then go on to a stage. If the wave stops itself, it all ends."""
        ended = await self._await_wave(work)
        self._state.end_wave(ended.counts, ended.failed)
        self._wave_kept = ended.handed_over
        if ended.handed_over is not None:
            return
        if ended.stopped_by is not None and self._end_phase is None:
            await self._decide(self._state.wave, Decision.ABORT, ended.stopped_by)
        self._stage = following

    async def _await_wave(self, work: WaveWork) -> WaveEnded:
        number = self._state.wave
        if self._end_phase is None and not self._controls.paused:
            begins = in_wave(number, self._state.waves, workflow.now())
            self._set_phase(begins.phase, begins.detail)
        await self._record_standing()
        wave = RolloutWaveInput(
            rollout_run_id=run_id(),
            rollout=workflow.info().workflow_id,
            release=self._its_release,
            scope=self._input.scope,
            origin=self._input.origin,
            strategy=self._input.strategy,
            work=work,
            number=number,
            controls=self._controls,
            kept=self._wave_kept or WaveKept(),
            image_name=self._input.image_name,
        )
        try:
            if runs_in_rollout(self._its_plan.sizes, number, work, self._small_wave):
                self._wave = Wave(wave, self)
                return await self._wave.run()
            return await self._await_child(wave)
        finally:
            self._wave, self._wave_page = None, ""

    async def _await_child(self, wave: RolloutWaveInput) -> WaveEnded:
        """Run a large wave as a workflow of its own."""
        number, work = wave.number, wave.work
        self._wave = child = await workflow.start_child_workflow(
            RolloutWave.run,
            wave,
            id=f"{wave.rollout}/{number}/{work}",
            parent_close_policy=workflow.ParentClosePolicy.TERMINATE,
            static_summary=f"{work}: wave {number} of {self._what} over {wave.scope}",
        )
        self._wave_page = f"The page of `{child.id}` shows how far its routes are."
        self._show()
        handing_over = asyncio.create_task(self._take_over_when_long())
        try:
            # The controls may have changed while the wave was being started.
            if self._controls != wave.controls:
                await ignore_ended(child.signal(RolloutWave.set_controls, self._controls))
            return await child
        finally:
            handing_over.cancel()

    async def _take_over_when_long(self) -> None:
        """Make the running wave return what it has in flight: its parent has to continue as new."""
        await workflow.wait_condition(history_is_long)
        await self._set_controls(hands_over=True)

    async def _begin_roll_back(self) -> None:
        """Roll every route that this rollout changed back to its own release from before.

        It takes the same controls as the waves before; a new rollout of the scope ends it.
        """
        if not self._rolls_back:
            self._stage = RolloutStage.END
            return
        changed = await RolloutActivities.begin_roll_back.local(
            BeginRollBackInput(rollout_run_id=run_id(), release_tag=self._its_release.tag)
        )
        if not changed.routes or not self._rolls_back:
            self._stage = RolloutStage.END
            return
        self._controls = Controls(max_concurrent=self._controls.max_concurrent)
        self._stage = RolloutStage.ROLL_BACK
        self._set_phase(RolloutPhase.ROLLING_BACK, self._end_reason)

    # ------------------------------------------------------------------ gates

    async def _run_gate(self, number: int) -> None:
        """Evaluate, run the checks, and note for what a person has to approve."""
        verdict = evaluate_gate(self._input.strategy, *tally(self._state.counts))
        last = number >= self._state.waves
        if verdict.decision is Decision.HOLD and last:
            verdict = verdict.model_copy(update={"decision": Decision.PROMOTE})
        gate = await self._run_checks(number, verdict)
        if gate is None:
            return
        holds = []
        if gate.decision is Decision.HOLD:
            holds.append(f"{gate.reason}; approve to continue, or abort")
        if self._needs_approval(number) and not last:
            holds.append(f"wave {number} is proven; {gate.reason}; approve to continue")
        goes_on = self._is_lean and gate.decision is Decision.PROMOTE and not holds
        join = self._late_joiners(number + 1) if goes_on else None
        decided = await self._decide(number, gate.decision, gate.reason, join)
        self._joined = decided if join else None
        if gate.decision is Decision.WIDEN and not last:
            await self._widen(number, gate.widen_by)
        self._holds, self._stage = tuple(holds), RolloutStage.HOLD

    async def _run_checks(self, number: int, gate: GateDecision) -> GateDecision | None:
        """Run the checks and return the final decision; the first failed check makes it an abort.

        None if the rollout has ended meanwhile, or must continue as new.
        """
        if gate.decision is Decision.ABORT:
            return gate
        results = [gate.reason]
        for name in self._input.strategy.checks:
            if not self._controls.paused:
                self._set_phase(RolloutPhase.RUNNING, f"wave {number}: check {name} is running")
                await self._record_standing()
            checked = await run_check(
                CheckGateInput(
                    name=name,
                    release_tag=self._input.release_tag,
                    scope=self._input.scope,
                    wave=number,
                ),
                is_over=self._is_interrupted,
                report=self._set_waiting,
            )
            if checked is None:
                return None
            if not checked.passed:
                reason = f"check {name} does not pass: {checked.detail}"
                return GateDecision(decision=Decision.ABORT, reason=reason)
            results.append(f"check {name}: {checked.detail}")
        return gate.model_copy(update={"reason": "; ".join(results)})

    def _is_interrupted(self) -> bool:
        """Return whether what the rollout waits for no longer counts, or has to wait."""
        return self._end_phase is not None or history_is_long()

    async def _soak(self) -> None:
        """Let the wave run for a while; its routes are then proven again."""
        soak = self._input.strategy.soak
        if not soak:
            self._stage = RolloutStage.GATE
            return
        if self._soaks_until is None:
            self._soaks_until = until = workflow.now() + soak
            details = f"wave {self._state.wave} soaks until {until:%Y-%m-%d %H:%M:%S} UTC"
            self._set_phase(RolloutPhase.SOAKING, details)
            await self._record_standing()
        # No longer than the soak itself, if the server's clock was set back meanwhile.
        left = min(max(self._soaks_until - workflow.now(), _SHORTEST), soak)
        try:
            await workflow.wait_condition(
                self._is_interrupted, timeout=left, timeout_summary="soak"
            )
        except TimeoutError:
            await RolloutActivities.begin_proofs.local(
                BeginProofsInput(rollout_run_id=run_id(), number=self._state.wave)
            )
            self._soaks_until, self._stage = None, RolloutStage.PROVE

    async def _widen(self, number: int, by: int) -> None:
        widened = await RolloutActivities.widen_wave.local(
            WidenWaveInput(rollout_run_id=run_id(), number=number, by=by)
        )
        self._state.set_wave(number, widened.routes)

    def _needs_approval(self, number: int) -> bool:
        approval = self._input.strategy.approval
        return approval is Approval.WAVES or (approval is Approval.CANARY and number == 1)

    async def _hold(self) -> None:
        """Wait until an operator has approved, as often as is required, or ends the rollout."""
        while self._holds and not self._is_interrupted():
            left = len(self._holds)
            if not self._controls.paused:
                self._show_hold()
                await self._record_standing()
            await workflow.wait_condition(partial(self._is_approved, left))
        if not self._holds:
            self._stage = RolloutStage.NEXT

    def _is_approved(self, left: int) -> bool:
        """Return whether fewer approvals are left to wait for, or none counts any more."""
        return len(self._holds) < left or self._is_interrupted()

    async def _decide(
        self, number: int, decision: Decision, reason: str, join: JoinLateInput | None = None
    ) -> RoutesChanged:
        """Record a decision, and return how many routes joined. An abort ends the rollout."""
        decided = await RolloutActivities.record_decision.local(
            RecordDecisionInput(
                rollout_run_id=run_id(),
                release_tag=self._input.release_tag,
                scope=self._input.scope,
                wave=number,
                decision=decision,
                reason=reason,
                origin=self._input.origin,
                join=join,
            )
        )
        if decision is Decision.ABORT and self._end_phase is None:
            self._finish_as(RolloutPhase.STOPPED, f"stopped in wave {number}: {reason}")
        return decided

    # ------------------------------------------------------------------ end

    async def _end(self) -> RolloutStatus:
        if self._end_phase is None:
            _, failed = tally(self._state.counts)
            reason = f"{failed} failed of a budget of {self._input.strategy.failure_budget}"
            self._end_phase, self._end_reason = RolloutPhase.CONVERGED, reason
        self._rolls_back = False
        self._set_phase(self._end_phase, self._end_reason)
        close = RolloutActivities.close_rollout
        closed = await (close.local if self._is_lean else close)(
            self._closing(self._end_phase, self._end_reason)
        )
        status = closed.status or self._state.status()
        workflow.set_current_details(rollout_page(status))
        return status

    @property
    def _work(self) -> WaveWork:
        """What a wave does on each of its routes."""
        if self._input.image_name:
            return WaveWork.REPLACE
        return WaveWork.UNDO if self._input.undo else WaveWork.SWAP

    @property
    def _what(self) -> str:
        """What is rolled out."""
        return self._input.image_name or self._input.release_tag

    @property
    def _its_release(self) -> Release:
        assert self._release is not None
        return self._release

    @property
    def _its_plan(self) -> RolloutPlan:
        assert self._plan is not None
        return self._plan

    def _fault_closing(self, cause: Fault) -> CloseRolloutInput:
        self._refusal = cause
        refused = self._plan is None
        phase = RolloutPhase.STOPPED if refused else RolloutPhase.ABORTED
        self._finish_as(phase, cause.summary)
        page = rollout_page(self._state.status())
        report_fault(cause, f"Refused: {NOTHING_CHANGED}." if refused else page)
        return self._closing(phase, cause.summary)

    def _closing(self, phase: RolloutPhase, detail: str) -> CloseRolloutInput:
        return CloseRolloutInput(
            rollout_run_id=run_id(),
            wave=self._state.wave,
            waves=self._state.waves,
            release_tag=self._input.release_tag,
            scope=self._input.scope,
            phase=phase,
            detail=detail,
            origin=self._input.origin,
            # If every route was skipped, nothing proves the release.
            promote=phase is RolloutPhase.CONVERGED
            and not (self._input.undo or self._input.image_name)
            and self._state.counts.get(RouteProgress.CONVERGED, 0) > 0,
        )
