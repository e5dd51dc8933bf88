"""Activities on a rollout's records: its scope, its plan, its waves, its decisions, its end."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError, RPCStatusCode

from activities import policies
from activities.execution import current_operation
from activities.route.disruption import census_of
from relight.domain.base import Origin
from relight.domain.disruption import DisruptionBudget
from relight.domain.hold import exclusion_of
from relight.domain.names import RouteId, route_workflow_id
from relight.domain.rollout import wave
from relight.domain.rollout.admission import Admission
from relight.domain.rollout.plan import LeftOut, PlannedRollout
from relight.domain.rollout.planner import late_joiners, plan_rollout
from relight.domain.rollout.records import (
    CloseRolloutInput,
    OpenRolloutInput,
    RecordControlInput,
    RecordDecisionInput,
    RecordStandingInput,
    RolloutClosed,
    RolloutOpened,
)
from relight.domain.rollout.rollout import (
    MAX_LISTED_ROUTES,
    Architectures,
    PlanRolloutInput,
    RolloutPlan,
    RolloutStanding,
)
from relight.domain.rollout.status import in_wave
from relight.domain.rollout.strategy import Strategy
from relight.domain.rollout.wave import (
    AdvanceWaveInput,
    AwaitOperationInput,
    BeginProofsInput,
    BeginRollBackInput,
    JoinLateInput,
    OperationAwaited,
    RetryFailedInput,
    RoutesChanged,
    SkipInput,
    WaveAdvanced,
    WaveWork,
    WidenWaveInput,
    limits_text,
)
from relight.domain.route import Candidate, ListRoutesInput, Recorded
from relight.engine.executions import is_running
from relight.engine.step import step
from relight.store.errors import ScopeBusyError
from relight.store.events import Operation
from relight.store.fleet_snapshot import FleetSnapshot
from relight.store.rollout_choice import Choose, Chosen
from relight.store.store import Store
from relight.store.threads import in_thread

NAMED_PER_WAVE = 20


class RolloutActivities:
    """Reads and writes of the store. Each write is one transaction."""

    def __init__(self, store: Store, temporal: Client) -> None:
        self._store = store
        self._temporal = temporal

    @step(policies.STORE, lambda i: f"{i.release_tag}: {i.scope}")
    async def open_rollout(self, input: OpenRolloutInput) -> RolloutOpened:
        """Claim the scope, and plan the waves of the fleet as the rollout before left it.

        A holder whose workflow no longer runs (it was terminated) loses the scope.
        """
        operation = operation_of(input)
        while True:
            try:
                opened = await in_thread(self._store.rollouts.open, input, operation)
            except ScopeBusyError as busy:
                holder = busy.holder
                if await is_running(self._temporal, holder.workflow_id, holder.run_id):
                    return RolloutOpened(held_by=holder)
                await in_thread(self._store.rollouts.abandon, holder, operation)
            else:
                if input.release is not None:
                    await in_thread(self._store.releases.save, input.release)
                plan, standing = (
                    await in_thread(self._begin, input.plan) if input.plan else (None, None)
                )
                return RolloutOpened(
                    rollout=opened, plan=plan, standing=standing, small_wave=wave.SMALL_WAVE
                )

    @step(policies.STORE, lambda i: i.scope)
    def architectures(self, input: ListRoutesInput) -> Architectures:
        """Return the architectures of the scope's machines; empty if no route has a machine."""
        return Architectures(names=tuple(self._store.routes.architectures(input.scope)))

    @step(policies.STORE, lambda i: i.scope)
    def plan_rollout(self, input: PlanRolloutInput) -> RolloutPlan:
        """Assign every route of the scope to a wave, and save that."""
        return self._plan(input)

    @step(
        policies.STORE,
        lambda i: f"{i.work}, wave {i.number}: {len(i.ended)} ended, {len(i.in_flight)} in flight",
    )
    def advance_wave(self, input: AdvanceWaveInput) -> WaveAdvanced:
        """Record the routes that ended, and claim the routes that may start now."""
        choose, limited = self._choice(input)
        advanced = self._store.rollout_routes.advance(input, choose, constrained=limited)
        blocked_by = input.incident or advanced.limits
        self._store.rollout_status.record_blocked(input.rollout_run_id, blocked_by)
        return advanced

    @step(policies.ADMISSION, lambda i: f"{i.work}, wave {i.number}: its limits")
    def await_admission(self, input: AdvanceWaveInput) -> Recorded:
        """Wait until a limit or a hold lets another route of the wave start.

        Each attempt looks once. Retries add no event to the wave's history.
        """
        choose, limited = self._choice(input)
        chosen = self._store.rollout_routes.may_start(input, choose, constrained=limited)
        if chosen.starts or chosen.left_out:
            return Recorded()
        limits = limits_text(chosen.limited_by, chosen.thaws_at)
        self._store.rollout_status.record_blocked(input.rollout_run_id, limits)
        raise _not_yet(limits)

    @step(policies.OPERATION, lambda i: i.route_id)
    async def await_operation(self, input: AwaitOperationInput) -> OperationAwaited:
        """Wait for the end of an operation that an earlier run of the wave has started.

        Each attempt looks once. A failed operation fails it for good, with the operation's failure
        as the cause of its own.
        """
        workflow_id = route_workflow_id(input.route_id)
        operation = self._temporal.get_workflow_handle(workflow_id, run_id=input.run_id)
        try:
            described = await operation.describe()
            if described.status is WorkflowExecutionStatus.RUNNING:
                raise _not_yet(f"{workflow_id} is running")
            await operation.result()
        except WorkflowFailureError as error:
            msg = f"{workflow_id} failed"
            raise ApplicationError(msg, type="operation-failed", non_retryable=True) from (
                error.cause
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return OperationAwaited(known=False)
        return OperationAwaited(known=True)

    @step(policies.STORE, lambda i: f"wave {i.number}")
    def begin_proofs(self, input: BeginProofsInput) -> RoutesChanged:
        """Mark the proven routes of a wave as waiting for their proof after the soak."""
        changed = self._store.rollout_routes.begin_proofs(input.rollout_run_id, input.number)
        return RoutesChanged(routes=changed)

    @step(policies.STORE, lambda i: i.release_tag)
    def begin_roll_back(self, input: BeginRollBackInput) -> RoutesChanged:
        """Mark the routes that the rollout changed as waiting for their rollback."""
        run_id = input.rollout_run_id
        changed = self._store.rollout_routes.begin_roll_back(run_id, input.release_tag)
        return RoutesChanged(routes=changed)

    @step(policies.STORE, lambda i: f"wave {i.number} by {i.by}")
    def widen_wave(self, input: WidenWaveInput) -> RoutesChanged:
        """Split a smaller wave off the next one. Return the new number of waves."""
        waves = self._store.rollout_routes.widen(input.rollout_run_id, input.number, input.by)
        return RoutesChanged(routes=waves)

    @step(policies.STORE, lambda i: f"wave {i.number}")
    def join_late(self, input: JoinLateInput) -> RoutesChanged:
        """Make a wave of the routes that joined the scope after the rollout was planned."""
        return self._join_late(input)

    def _join_late(self, input: JoinLateInput) -> RoutesChanged:
        now = datetime.now(UTC)
        joined = late_joiners(
            self._store.routes.newcomers(input),
            self._store.exclusions.standing(now),
            now,
            input.release_tag,
        )
        waves = [joined] if joined else []
        kept = self._store.rollout_routes.plan(input.rollout_run_id, waves, input.number)
        return RoutesChanged(routes=kept)

    @step(policies.STORE, lambda i: f"wave {i.number}")
    def retry_failed(self, input: RetryFailedInput) -> RoutesChanged:
        """Mark the failed routes of a wave as waiting again."""
        changed = self._store.rollout_routes.retry_failed(input.rollout_run_id, input.number)
        return RoutesChanged(routes=changed)

    @step(policies.STORE, lambda i: i.route_id)
    def skip_route(self, input: SkipInput) -> RoutesChanged:
        """Skip a route that waits or has failed."""
        skipped = self._store.rollout_routes.skip(input.rollout_run_id, input.route_id)
        return RoutesChanged(routes=int(skipped))

    @step(policies.STORE, lambda i: f"{i.action} by {i.origin.requested_by}")
    def record_control(self, input: RecordControlInput) -> Recorded:
        """Record which control an operator used, with the reason."""
        self._store.events.append(
            f"rollout-{input.action}",
            operation_of(input),
            route_id=input.route_id,
            release_tag=input.release_tag,
            detail=input.model_dump(include={"scope", "max_concurrent"}, exclude_none=True),
        )
        return Recorded()

    @step(policies.STORE, lambda i: f"wave {i.wave}: {i.decision}")
    def record_decision(self, input: RecordDecisionInput) -> RoutesChanged:
        """Record a decision about a rollout, with the reason; add late joiners if asked to."""
        self._store.events.append(
            "rollout-decided",
            operation_of(input),
            release_tag=input.release_tag,
            detail=input.model_dump(
                mode="json", exclude={"origin", "release_tag", "rollout_run_id", "join"}
            ),
        )
        return self._join_late(input.join) if input.join else RoutesChanged()

    @step(policies.STORE, lambda i: f"{i.standing.phase}: {i.standing.detail}")
    def record_standing(self, input: RecordStandingInput) -> Recorded:
        """Record where an open rollout stands."""
        self._store.rollout_status.record(input.rollout_run_id, input.standing)
        return Recorded()

    @step(policies.STORE, lambda i: f"{i.phase}: {i.detail}", lasting=True)
    def close_rollout(self, input: CloseRolloutInput) -> RolloutClosed:
        """Record the end of a rollout, free its scope, and promote a release that converged."""
        self._store.rollouts.close(input, operation_of(input))
        return RolloutClosed(status=self._store.rollout_status.get(input.rollout_run_id))

    def _begin(self, input: PlanRolloutInput) -> tuple[RolloutPlan, RolloutStanding | None]:
        """Plan the waves, and record that the first one begins, if there is one."""
        plan = self._plan(input)
        if not plan.sizes:
            return plan, None
        standing = in_wave(1, len(plan.sizes), datetime.now(UTC))
        self._store.rollout_status.record(input.rollout_run_id, standing)
        return plan, standing

    def _plan(self, input: PlanRolloutInput) -> RolloutPlan:
        now = datetime.now(UTC)
        routes = self._store.routes.in_scope(input.scope)
        others = self._not_of_image(routes, input) if input.image_name else {}
        planned = plan_rollout(
            [route for route in routes if route.route_id not in others],
            input.strategy,
            self._store.exclusions.standing(now),
            self._store.freezes.standing(now),
            now,
            input.release.tag,
        )
        planned = planned.model_copy(update={"left_out": (*planned.left_out, *others.values())})
        self._store.rollout_routes.plan(input.rollout_run_id, planned.waves)
        return listed_plan(input, planned)

    def _not_of_image(
        self, routes: Iterable[Candidate], input: PlanRolloutInput
    ) -> Mapping[RouteId, LeftOut]:
        """Return the routes that need no machine of an image, or cannot have one."""
        assert input.image_name is not None
        manifest = self._store.images.manifest(input.image_name)
        architecture = manifest.architecture if manifest else None
        made_of_it = self._store.machines.routes_of_image(input.image_name)
        left_out: dict[RouteId, LeftOut] = {}
        for route in routes:
            if route.route_id in made_of_it:
                reason = f"its machine is made of {input.image_name} already"
            elif route.architecture not in {None, architecture}:
                reason = f"its machine is {route.architecture}, and the image is {architecture}"
            else:
                continue
            left_out[route.route_id] = LeftOut(route_id=route.route_id, reason=reason)
        return left_out

    def _choice(self, input: AdvanceWaveInput) -> tuple[Choose, bool]:
        """Return what selects the routes that start, and whether limits or holds do."""
        now = datetime.now(UTC)
        goes_back = input.work.goes_back  # Holds do not prevent a rollback or an undo.
        exclusions = [] if goes_back else self._store.exclusions.standing(now)
        freezes = [] if goes_back else self._store.freezes.standing(now)
        limited = input.work is not WaveWork.PROVE and (
            bool(exclusions or freezes) or _has_limits(input.strategy)
        )

        def choose(waiting: Sequence[RouteId], fleet: FleetSnapshot) -> Chosen:
            if not limited:
                free = max(0, input.max_in_flight - len(fleet.under_way))
                return Chosen(starts=waiting[:free])
            routes = {route.route_id: route for route in fleet.routes}
            left_out = [
                route_id
                for route_id in waiting
                if exclusion_of(routes[route_id], exclusions, now, input.release_tag)
            ]
            strategy = input.strategy.model_copy(update={"max_concurrent": input.max_in_flight})
            admission = Admission(census_of(fleet), strategy, freezes, fleet.under_way)
            admission.enter(route_id for route_id in waiting if route_id not in left_out)
            starts = admission.start(now)
            return Chosen(starts, left_out, admission.limited_by, admission.thaws_at)

        return choose, limited


class _OfRollout(Protocol):
    """An input that names its rollout."""

    @property
    def rollout_run_id(self) -> str: ...
    @property
    def origin(self) -> Origin: ...


def operation_of(input: _OfRollout) -> Operation:
    """Return the operation of the running activity, on behalf of the whole rollout.

    Its run is the rollout's first, whichever run the activity belongs to.
    """
    operation = current_operation(input.origin)
    activity_id = f"{operation.run_id}/{operation.activity_id}"
    return replace(operation, run_id=input.rollout_run_id, activity_id=activity_id)


def _not_yet(reason: str) -> ApplicationError:
    """Return the error of an attempt that has not found what it waits for."""
    return ApplicationError(reason, type="not-yet", category=ApplicationErrorCategory.BENIGN)


def listed_plan(input: PlanRolloutInput, planned: PlannedRollout) -> RolloutPlan:
    """Return a plan as a message; of a large one, the first routes of each wave only."""
    named = sum(map(len, planned.waves)) + len(planned.left_out) <= MAX_LISTED_ROUTES
    return RolloutPlan(
        release_tag=input.release.tag,
        scope=input.scope,
        version=input.release.version,
        image_name=input.image_name,
        sizes=tuple(len(wave) for wave in planned.waves),
        waves=tuple(wave if named else wave[:NAMED_PER_WAVE] for wave in planned.waves),
        left_out=planned.left_out if named else planned.left_out[:NAMED_PER_WAVE],
        frozen=planned.frozen if named else planned.frozen[:NAMED_PER_WAVE],
        strata=planned.strata,
        unmet_strata=planned.unmet_strata,
    )


def _has_limits(strategy: Strategy) -> bool:
    """Return whether anything besides the total limits how many routes are changed at once."""
    caps = (strategy.max_concurrent_per_provider, strategy.max_concurrent_per_region)
    return strategy.disruption_budget != DisruptionBudget() or any(caps)
