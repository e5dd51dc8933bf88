"""The rollout of one release over a scope, in waves with gates."""

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
    evaluate_gate,
)
from relight.domain.rollout.rollout import (
    CloseRolloutInput,
    FindUndoInput,
    OpenRolloutInput,
    PlanRolloutInput,
    PlanUndoInput,
    PreflightInput,
    RecordDecisionInput,
    RolloutPhase,
    RolloutReleaseInput,
    RolloutStatus,
    RouteProgress,
)
from relight.domain.rollout.strategy import Approval
from relight.domain.rollout.wave import (
    BeginProofsInput,
    BeginRollBackInput,
    Controls,
    JoinLateInput,
    RolloutWaveInput,
    WaveEnded,
    WaveWork,
    WidenWaveInput,
)
from relight.domain.route import ListRoutesInput
from workflows.failures import failure, ignore_ended
from workflows.reporting import report_fault
from workflows.rollout.checks import run_check
from workflows.rollout.controls import ControlledRollout, run_id
from workflows.rollout.steps import (
    PreflightActivities,
    ReleaseActivities,
    RolloutActivities,
    UndoActivities,
)
from workflows.rollout.wave import RolloutWave, tally
from workflows.undo import UndoStack

CLAIM_PAUSE, MAX_CLAIM_PAUSE = timedelta(seconds=1), timedelta(seconds=30)
"""Pauses between attempts to claim a scope from the superseded rollout, which may need minutes.

Each pause is twice as long as the one before.
"""


# It can take days, so it moves to the current worker version. Tests replay recorded histories.
@workflow.defn(versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class RolloutRelease(ControlledRollout):
    """Bring every route of a scope to a release, wave by wave, or stop at a gate that fails.

    An undo brings each route at the release back to its own release from before, likewise.

    It completes as `converged`, `stopped`, `aborted` or `superseded`. If the release, the scope or
    the preflight refuses it, it fails before it claims the scope: a running rollout continues, and
    nothing is recorded. After a later failure or a cancellation the rollout is recorded as ended
    and its scope is free. Routes keep the release that they have, and operations that are running
    on them finish.
    """

    @workflow.init
    def __init__(self, input: RolloutReleaseInput) -> None:
        super().__init__(input)

    @workflow.run
    async def run(self, input: RolloutReleaseInput) -> RolloutStatus:  # noqa: ARG002 - see init
        """Check, claim the scope, plan, run each wave and its gate, and record the result."""
        try:
            async with UndoStack() as undo:
                undo.on_fault(RolloutActivities.close_rollout, self._fault_closing)
                release = await self._check()
                await self._claim()
                await self._make_plan(release)
                number = 0
                while self._end_phase is None and await self._has_wave(number + 1, release):
                    number += 1
                    work = WaveWork.UNDO if self._input.undo else WaveWork.SWAP
                    await self._run_wave(number, release, work)
                    if self._end_phase is None:
                        await self._run_gate(number, release)
                if self._rolls_back:
                    await self._roll_back(number, release)
                return await self._end()
        finally:
            await workflow.wait_condition(workflow.all_handlers_finished)

    # ------------------------------------------------------------------ before the first wave

    async def _check(self) -> Release:
        """Resolve the release and run the preflight. Nothing is written, and nothing is claimed."""
        if self._input.undo:
            return await self._check_undo()
        scope = self._input.scope
        architectures = await RolloutActivities.architectures.local(ListRoutesInput(scope=scope))
        if not architectures.names:
            raise failure(
                fault(
                    "no-routes",
                    f"no route in scope {scope} serves: there is nothing to roll out to",
                )
            )
        release = await ReleaseActivities.resolve_release(
            ResolveReleaseInput(tag=self._input.release_tag, architectures=architectures.names)
        )
        await PreflightActivities.preflight(
            PreflightInput(release=release, scope=scope, checks=self._input.strategy.checks)
        )
        return release

    async def _check_undo(self) -> Release:
        """Check every release that routes go back to; return the one that most go back to."""
        scope, undone = self._input.scope, self._input.release_tag
        found = await UndoActivities.find_undo.local(FindUndoInput(release_tag=undone, scope=scope))
        if not found.tags:
            text = f"no route of scope {scope} can go back from {undone}: there is nothing to undo"
            raise failure(fault("no-routes", text))
        releases = []
        for tag in found.tags:
            release = await ReleaseActivities.resolve_release(
                ResolveReleaseInput(tag=tag, architectures=found.architectures)
            )
            await PreflightActivities.preflight(
                PreflightInput(
                    release=release, scope=scope, checks=self._input.strategy.checks, undo=True
                )
            )
            releases.append(release)
        return releases[0]

    async def _claim(self) -> None:
        """Claim the scope. A rollout that holds it is superseded, and its end is awaited."""
        superseded_run_id: str | None = None
        pause = CLAIM_PAUSE
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
            if holder.run_id != superseded_run_id:
                superseded_run_id, pause = holder.run_id, CLAIM_PAUSE
                handle = workflow.get_external_workflow_handle(holder.workflow_id)
                await ignore_ended(handle.signal(RolloutRelease.supersede, self._input))
                waits_for = f"the rollout of {holder.release_tag}, which it supersedes, to end"
                self._set_phase(RolloutPhase.PREPARING, f"waiting for {waits_for}")
            await workflow.sleep(pause, summary=f"wait for {holder.workflow_id} to free the scope")
            pause = min(pause * 2, MAX_CLAIM_PAUSE)

    async def _make_plan(self, release: Release) -> None:
        """Plan the waves, of the fleet as the superseded rollout left it."""
        request = PlanRolloutInput(
            release=release,
            scope=self._input.scope,
            strategy=self._input.strategy,
            origin=self._input.origin,
        )
        if self._input.undo:
            undo = PlanUndoInput(**dict(request), undone=self._input.release_tag)
            self._plan = await UndoActivities.plan_undo.local(undo)
        else:
            self._plan = await RolloutActivities.plan_rollout.local(request)
        self._state.set_plan(self._plan)

    # ------------------------------------------------------------------ waves

    async def _has_wave(self, number: int, release: Release) -> bool:
        """Return whether there is another wave; routes that joined late make one."""
        if number <= self._state.waves or self._input.undo:
            return number <= self._state.waves
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

    async def _run_wave(
        self, number: int, release: Release, work: WaveWork = WaveWork.SWAP
    ) -> None:
        """Run a wave. If the wave stops itself, the rollout ends."""
        self._state.wave = number
        ended = await self._await_wave(number, release, work)
        self._state.record_progress(ended.counts, ended.moved)
        if ended.stopped_by is not None and self._end_phase is None:
            await self._decide(number, Decision.ABORT, ended.stopped_by)

    async def _await_wave(self, number: int, release: Release, work: WaveWork) -> WaveEnded:
        controls = self._controls
        if not self._is_rolling_back and not controls.paused:
            self._set_phase(RolloutPhase.RUNNING, f"wave {number} of {self._state.waves}")
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
            # The controls may have changed while the wave was being started.
            if self._controls != controls:
                await ignore_ended(self._wave.signal(RolloutWave.set_controls, self._controls))
            return await self._wave
        finally:
            self._wave = None

    async def _roll_back(self, number: int, release: Release) -> None:
        """Roll every route that this rollout changed back to its own release from before.

        It takes the same controls as the waves before; a new rollout of the scope ends it.
        """
        changed = await RolloutActivities.begin_roll_back.local(
            BeginRollBackInput(rollout_run_id=run_id(), release_tag=release.tag)
        )
        if not changed.routes or not self._rolls_back:
            return
        self._is_rolling_back = True
        self._controls = Controls(max_concurrent=self._controls.max_concurrent)
        self._state.begin_roll_back(changed.named)
        self._set_phase(RolloutPhase.ROLLING_BACK, self._end_reason)
        await self._run_wave(number, release, WaveWork.ROLL_BACK)
        self._rolls_back = self._is_rolling_back = False

    # ------------------------------------------------------------------ gates

    async def _run_gate(self, number: int, release: Release) -> None:
        """Soak, prove again, evaluate, run the checks, and wait for an approval if required."""
        await self._soak(number, release)
        if self._end_phase is not None:
            return
        verdict = evaluate_gate(self._input.strategy, *tally(self._state.counts))
        last = number >= self._state.waves
        if verdict.decision is Decision.HOLD and last:
            verdict = verdict.model_copy(update={"decision": Decision.PROMOTE})
        gate = await self._run_checks(number, verdict)
        if gate is None:
            return
        await self._decide(number, gate.decision, gate.reason)
        if gate.decision is Decision.WIDEN and not last:
            await self._widen(number, gate.widen_by)
        if gate.decision is Decision.HOLD:
            await self._hold(f"{gate.reason}; approve to continue, or abort")
        if self._needs_approval(number) and not last:
            await self._hold(f"wave {number} is proven; {gate.reason}; approve to continue")

    async def _run_checks(self, number: int, gate: GateDecision) -> GateDecision | None:
        """Run the checks and return the final decision; the first failed check makes it an abort.

        None if the rollout has ended meanwhile.
        """
        if gate.decision is Decision.ABORT:
            return gate
        results = [gate.reason]
        for name in self._input.strategy.checks:
            if not self._controls.paused:
                self._set_phase(RolloutPhase.RUNNING, f"wave {number}: check {name} is running")
            checked = await run_check(
                CheckGateInput(
                    name=name,
                    release_tag=self._input.release_tag,
                    scope=self._input.scope,
                    wave=number,
                ),
                has_ended=lambda: self._end_phase is not None,
                report=self._set_waiting,
            )
            if checked is None:
                return None
            if not checked.passed:
                reason = f"check {name} does not pass: {checked.detail}"
                return GateDecision(decision=Decision.ABORT, reason=reason)
            results.append(f"check {name}: {checked.detail}")
        return gate.model_copy(update={"reason": "; ".join(results)})

    async def _soak(self, number: int, release: Release) -> None:
        soak = self._input.strategy.soak
        if not soak:
            return
        until = workflow.now() + soak
        self._set_phase(RolloutPhase.SOAKING, f"wave {number} soaks until {until:%H:%M:%S} UTC")
        try:
            await workflow.wait_condition(
                lambda: self._end_phase is not None, timeout=soak, timeout_summary="soak"
            )
        except TimeoutError:
            await RolloutActivities.begin_proofs.local(
                BeginProofsInput(rollout_run_id=run_id(), number=number)
            )
            await self._run_wave(number, release, WaveWork.PROVE)

    async def _widen(self, number: int, by: int) -> None:
        widened = await RolloutActivities.widen_wave.local(
            WidenWaveInput(rollout_run_id=run_id(), number=number, by=by)
        )
        self._state.waves = widened.routes

    def _needs_approval(self, number: int) -> bool:
        approval = self._input.strategy.approval
        return approval is Approval.WAVES or (approval is Approval.CANARY and number == 1)

    async def _hold(self, reason: str) -> None:
        """Wait until an operator approves or ends the rollout."""
        self._awaits_approval = True
        self._set_phase(RolloutPhase.HOLDING, reason, to_do="relight rollout approve, or abort")
        await workflow.wait_condition(
            lambda: not self._awaits_approval or self._end_phase is not None
        )

    async def _decide(self, number: int, decision: Decision, reason: str) -> None:
        """Record a decision. An abort ends the rollout."""
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
        if decision is Decision.ABORT and self._end_phase is None:
            self._finish_as(RolloutPhase.STOPPED, f"stopped in wave {number}: {reason}")

    # ------------------------------------------------------------------ end

    async def _end(self) -> RolloutStatus:
        if self._end_phase is None:
            _, failed = tally(self._state.counts)
            reason = f"{failed} failed of a budget of {self._input.strategy.failure_budget}"
            self._end_phase, self._end_reason = RolloutPhase.CONVERGED, reason
        self._rolls_back = False
        superseded = self._end_phase is RolloutPhase.SUPERSEDED  # The other one goes on.
        to_do = "" if superseded else self._state.left_to_do
        self._set_phase(self._end_phase, self._end_reason, to_do)
        status = self._state.finish()
        workflow.set_current_details(self._state.details())
        await RolloutActivities.close_rollout(self._closing(status.phase, status.detail))
        return status

    def _fault_closing(self, cause: Fault) -> CloseRolloutInput:
        self._refusal = cause
        report_fault(cause)
        phase = RolloutPhase.STOPPED if self._plan is None else RolloutPhase.ABORTED
        self._finish_as(phase, cause.summary)
        return self._closing(phase, cause.summary)

    def _closing(self, phase: RolloutPhase, detail: str) -> CloseRolloutInput:
        return CloseRolloutInput(
            release_tag=self._input.release_tag,
            scope=self._input.scope,
            phase=phase,
            detail=detail,
            origin=self._input.origin,
            # If every route was skipped, nothing proves the release.
            promote=phase is RolloutPhase.CONVERGED
            and not self._input.undo
            and self._state.counts.get(RouteProgress.CONVERGED, 0) > 0,
        )
