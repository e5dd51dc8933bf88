"""One release over a scope, wave by wave, behind gates."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import VersioningBehavior

from relight.domain.fault.fault import Fault
from relight.domain.fault.table import fault
from relight.domain.release import Release, ResolveReleaseInput
from relight.domain.rollout.gate import (
    CheckGateInput,
    Decision,
    GateDecision,
    weigh,
)
from relight.domain.rollout.rollout import (
    Approval,
    CloseRolloutInput,
    OpenRolloutInput,
    PlanRolloutInput,
    PreflightInput,
    RecordDecisionInput,
    RolloutPhase,
    RolloutReleaseInput,
    RolloutStatus,
)
from relight.domain.rollout.wave import (
    BeginProofsInput,
    Controls,
    JoinLateInput,
    RolloutWaveInput,
    WaveEnded,
    WaveWork,
    WidenWaveInput,
)
from relight.domain.route import ListRoutesInput
from workflows.failures import failure, unless_gone
from workflows.reporting import report_fault
from workflows.rollout.checks import ask_check
from workflows.rollout.controls import ControlledRollout, run_id
from workflows.rollout.steps import PreflightActivities, ReleaseActivities, RolloutActivities
from workflows.rollout.wave import RolloutWave, tally
from workflows.undo import UndoStack

SUPERSEDING_PAUSE, LONGEST_SUPERSEDING_PAUSE = timedelta(seconds=1), timedelta(seconds=30)
"""Between looks whether the rollout that is superseded has let go of the scope.

Each is twice as long as the one before: the routes that it has under way may take their minutes.
"""


# Days long: it goes on with the code that is current, and kept histories guard the change.
@workflow.defn(versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class RolloutRelease(ControlledRollout):
    """Bring every route of a scope to a release, or stop at the first gate that says no.

    It completes as `converged`, `stopped`, `aborted` or `superseded`. It fails only where it
    changed nothing: the release or the scope stands in its way, or its preflight says no.
    """

    @workflow.init
    def __init__(self, input: RolloutReleaseInput) -> None:
        super().__init__(input)

    @workflow.run
    async def run(self, input: RolloutReleaseInput) -> RolloutStatus:  # noqa: ARG002 - see init
        """Claim the scope, plan, take wave after wave, each behind its gate."""
        try:
            async with UndoStack() as undo:
                undo.on_fault(RolloutActivities.close_rollout, self._fault_closing)
                await self._claim()
                release = await self._prepare()
                number = 0
                while self._ended_as is None and await self._has_wave(number + 1, release):
                    number += 1
                    await self._take_wave(number, release)
                    if self._ended_as is None:
                        await self._pass_gate(number, release)
                if self._ended_as in {RolloutPhase.STOPPED, RolloutPhase.ABORTED}:
                    await self._roll_back(number, release)
                return await self._end()
        finally:
            await workflow.wait_condition(workflow.all_handlers_finished)

    # ------------------------------------------------------------------ before the first wave

    async def _claim(self) -> None:
        """Take the scope; a rollout that has it is superseded, and lets go of it in order."""
        told: str | None = None
        pause = SUPERSEDING_PAUSE
        while True:
            opened = await RolloutActivities.open_rollout(
                OpenRolloutInput(
                    release_tag=self._input.release_tag,
                    scope=self._input.scope,
                    origin=self._input.origin,
                )
            )
            if opened.held_by is None:
                return
            holder = opened.held_by
            if holder.run_id != told:
                told, pause = holder.run_id, SUPERSEDING_PAUSE
                handle = workflow.get_external_workflow_handle(holder.workflow_id)
                await unless_gone(handle.signal(RolloutRelease.supersede, self._input))
            await workflow.sleep(pause, summary=f"until {holder.workflow_id} has let go")
            pause = min(pause * 2, LONGEST_SUPERSEDING_PAUSE)

    async def _prepare(self) -> Release:
        asked = self._input
        architectures = await RolloutActivities.architectures.local(
            ListRoutesInput(scope=asked.scope)
        )
        if not architectures.names:
            raise failure(
                fault(
                    "no-routes",
                    f"no route in scope {asked.scope} serves: nothing to roll out to",
                )
            )
        release = await ReleaseActivities.resolve_release(
            ResolveReleaseInput(tag=asked.release_tag, architectures=architectures.names)
        )
        await PreflightActivities.preflight(
            PreflightInput(release=release, scope=asked.scope, checks=asked.strategy.checks)
        )
        self._plan = await RolloutActivities.plan_rollout.local(
            PlanRolloutInput(
                release=release, scope=asked.scope, strategy=asked.strategy, origin=asked.origin
            )
        )
        self._state.take(self._plan)
        return release

    # ------------------------------------------------------------------ waves

    async def _has_wave(self, number: int, release: Release) -> bool:
        """Say whether there is a further wave; routes that came late make one."""
        if number <= self._state.waves:
            return True
        joined = await RolloutActivities.join_late.local(
            JoinLateInput(
                rollout_run_id=run_id(),
                release_tag=release.tag,
                scope=self._input.scope,
                number=number,
            )
        )
        if joined.routes:
            self._state.waves = number
        return joined.routes > 0

    async def _take_wave(
        self, number: int, release: Release, work: WaveWork = WaveWork.SWAP
    ) -> None:
        """Take the routes of a wave through a work; what stops it, ends the rollout."""
        self._state.wave = number
        ended = await self._run_wave(number, release, work)
        self._state.take_in(ended.counts, ended.moved)
        if ended.stopped_by is not None and self._ended_as is None:
            await self._decide(number, Decision.ABORT, ended.stopped_by)

    async def _run_wave(self, number: int, release: Release, work: WaveWork) -> WaveEnded:
        rolling_back = work is WaveWork.ROLL_BACK
        controls = self._controls
        if rolling_back:
            controls = Controls(max_concurrent=controls.max_concurrent)
        elif not self._controls.paused:
            self._show(RolloutPhase.RUNNING, f"wave {number} of {self._state.waves}")
        self._wave = await workflow.start_child_workflow(
            RolloutWave.run,
            RolloutWaveInput(
                rollout_run_id=run_id(),
                rollout=workflow.info().workflow_id,
                release=release,
                scope=self._input.scope,
                origin=self._input.origin,
                strategy=self._input.strategy,
                work=work,
                number=number,
                controls=controls,
                named=self._state.is_named,
            ),
            id=f"{workflow.info().workflow_id}/{number}/{work}",
            parent_close_policy=workflow.ParentClosePolicy.TERMINATE,
            static_summary=f"{work}: wave {number} of {release.tag} over {self._input.scope}",
        )
        try:
            if not rolling_back and self._controls != controls:  # while it was being started
                await unless_gone(self._wave.signal(RolloutWave.steer, self._controls))
            return await self._wave
        finally:
            self._wave = None

    async def _roll_back(self, number: int, release: Release) -> None:
        """Bring every route that was touched back to what it was proven at before."""
        if self._input.strategy.roll_back:
            self._show(RolloutPhase.ROLLING_BACK, self._ended_why)
            await self._take_wave(number, release, WaveWork.ROLL_BACK)

    # ------------------------------------------------------------------ gates

    async def _pass_gate(self, number: int, release: Release) -> None:
        """Soak, prove again, weigh, ask the checks, and wait for whom the strategy says."""
        await self._soak(number, release)
        if self._ended_as is not None:
            return
        weighed = weigh(self._input.strategy, *tally(self._state.counts))
        last = number >= self._state.waves
        if weighed.decision is Decision.HOLD and last:
            weighed = weighed.model_copy(update={"decision": Decision.PROMOTE})
        gate = await self._ask_checks(number, weighed)
        if gate is None:
            return
        await self._decide(number, gate.decision, gate.reason)
        if gate.decision is Decision.WIDEN and not last:
            await self._widen(number, gate.widen_by)
        if gate.decision is Decision.HOLD:
            await self._hold(f"{gate.reason}; approve to go on, or abort")
        if self._needs_approval(number) and not last:
            await self._hold(f"wave {number} is proven; {gate.reason}; approve to go on")

    async def _ask_checks(self, number: int, gate: GateDecision) -> GateDecision | None:
        """Return what the checks make of a decision: the first that does not pass makes it a no.

        None where the rollout has ended meanwhile.
        """
        if gate.decision is Decision.ABORT:
            return gate
        seen = [gate.reason]
        for name in self._input.strategy.checks:
            if not self._controls.paused:
                self._show(RolloutPhase.RUNNING, f"wave {number}: check {name} is asked")
            checked = await ask_check(
                CheckGateInput(
                    name=name,
                    release_tag=self._input.release_tag,
                    scope=self._input.scope,
                    wave=number,
                ),
                is_over=lambda: self._ended_as is not None,
                tell=self._show_waiting,
            )
            if checked is None:
                return None
            if not checked.passed:
                reason = f"check {name} does not pass: {checked.seen}"
                return GateDecision(decision=Decision.ABORT, reason=reason)
            seen.append(f"check {name}: {checked.seen}")
        return gate.model_copy(update={"reason": "; ".join(seen)})

    async def _soak(self, number: int, release: Release) -> None:
        soak = self._input.strategy.soak
        if not soak:
            return
        until = workflow.now() + soak
        self._show(RolloutPhase.SOAKING, f"wave {number} soaks until {until:%H:%M:%S} UTC")
        try:
            await workflow.wait_condition(
                lambda: self._ended_as is not None, timeout=soak, timeout_summary="soak"
            )
        except TimeoutError:
            await RolloutActivities.begin_proofs.local(
                BeginProofsInput(rollout_run_id=run_id(), number=number)
            )
            await self._take_wave(number, release, WaveWork.PROVE)

    async def _widen(self, number: int, by: int) -> None:
        widened = await RolloutActivities.widen_wave.local(
            WidenWaveInput(rollout_run_id=run_id(), number=number, by=by)
        )
        self._state.waves = widened.routes

    def _needs_approval(self, number: int) -> bool:
        approval = self._input.strategy.approval
        return approval is Approval.WAVES or (approval is Approval.CANARY and number == 1)

    async def _hold(self, why: str) -> None:
        """Wait for a person to approve, or to end it."""
        self._held_for_approval = True
        self._show(RolloutPhase.HOLDING, why, to_do="relight rollout approve, or abort")
        await workflow.wait_condition(
            lambda: not self._held_for_approval or self._ended_as is not None
        )

    async def _decide(self, number: int, decision: Decision, reason: str) -> None:
        """Write a gate's decision down; an abort ends the rollout."""
        await RolloutActivities.record_decision.local(
            RecordDecisionInput(
                release_tag=self._input.release_tag,
                scope=self._input.scope,
                wave=number,
                decision=decision,
                reason=reason,
                origin=self._input.origin,
            )
        )
        if decision is Decision.ABORT and self._ended_as is None:
            self._end_as(RolloutPhase.STOPPED, f"stopped in wave {number}: {reason}")

    # ------------------------------------------------------------------ its end

    async def _end(self) -> RolloutStatus:
        if self._ended_as is None:
            _, failed = tally(self._state.counts)
            why = f"{failed} failed of a budget of {self._input.strategy.failure_budget}"
            self._ended_as, self._ended_why = RolloutPhase.CONVERGED, why
        self._show(self._ended_as, self._ended_why)
        status = self._state.end()
        workflow.set_current_details(self._state.details())
        await RolloutActivities.close_rollout(self._closing(status.phase, status.detail))
        return status

    def _fault_closing(self, ended_by: Fault) -> CloseRolloutInput:
        self._refusal = ended_by
        report_fault(ended_by)
        phase = RolloutPhase.STOPPED if self._plan is None else RolloutPhase.ABORTED
        self._end_as(phase, ended_by.summary)
        return self._closing(phase, ended_by.summary)

    def _closing(self, phase: RolloutPhase, detail: str) -> CloseRolloutInput:
        return CloseRolloutInput(
            release_tag=self._input.release_tag,
            scope=self._input.scope,
            phase=phase,
            detail=detail,
            origin=self._input.origin,
            promote=phase is RolloutPhase.CONVERGED,
        )
