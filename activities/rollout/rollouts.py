"""Activities on a rollout's records: its scope, its plan, its waves, its decisions, its end."""

from collections.abc import Sequence
from datetime import UTC, datetime

from temporalio.client import Client

from activities import policies
from activities.execution import current_operation, current_run_id
from activities.route.disruption import census_of
from relight.domain.disruption import DisruptionBudget
from relight.domain.hold import exclusion_of
from relight.domain.names import RouteId
from relight.domain.rollout.admission import Admission
from relight.domain.rollout.plan import PlannedRollout
from relight.domain.rollout.planner import late_joiners, plan_rollout
from relight.domain.rollout.rollout import (
    MAX_LISTED_ROUTES,
    Architectures,
    CloseRolloutInput,
    OpenRolloutInput,
    PlanRolloutInput,
    RecordControlInput,
    RecordDecisionInput,
    RolloutOpened,
    RolloutPlan,
    RouteProgress,
)
from relight.domain.rollout.strategy import Strategy
from relight.domain.rollout.wave import (
    AdvanceWaveInput,
    BeginProofsInput,
    BeginRollBackInput,
    JoinLateInput,
    RetryFailedInput,
    RoutesChanged,
    SkipInput,
    WaveAdvanced,
    WaveWork,
    WidenWaveInput,
)
from relight.domain.route import ListRoutesInput, Recorded
from relight.engine.executions import is_running
from relight.engine.step import step
from relight.store.errors import ScopeBusyError
from relight.store.fleet_snapshot import FleetSnapshot
from relight.store.rollout_routes import Chosen
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
        """Claim the scope. A holder whose workflow no longer runs (it was terminated) loses it."""
        operation = current_operation(input.origin)
        while True:
            try:
                opened = await in_thread(self._store.rollouts.open, input, operation)
            except ScopeBusyError as busy:
                holder = busy.holder
                if await is_running(self._temporal, holder.workflow_id, holder.run_id):
                    return RolloutOpened(held_by=holder)
                await in_thread(self._store.rollouts.abandon, holder, operation)
            else:
                return RolloutOpened(rollout=opened)

    @step(policies.STORE, lambda i: i.scope)
    def architectures(self, input: ListRoutesInput) -> Architectures:
        """Return the architectures of the scope's machines; empty if no route has a machine."""
        return Architectures(names=tuple(self._store.routes.architectures(input.scope)))

    @step(policies.STORE, lambda i: i.scope)
    def plan_rollout(self, input: PlanRolloutInput) -> RolloutPlan:
        """Assign every route of the scope to a wave, and save that."""
        planned = plan_rollout(
            self._store.routes.in_scope(input.scope),
            input.strategy,
            self._store.exclusions.list(),
            self._store.freezes.list(),
            datetime.now(UTC),
            input.release.tag,
        )
        self._store.rollout_routes.plan(current_run_id(), planned.waves)
        return listed_plan(input, planned)

    @step(
        policies.STORE,
        lambda i: f"{i.work}, wave {i.number}: {len(i.ended)} ended, {len(i.in_flight)} in flight",
    )
    def advance_wave(self, input: AdvanceWaveInput) -> WaveAdvanced:
        """Record the routes that ended, and claim the routes that may start now."""
        now = datetime.now(UTC)
        exclusions, freezes = self._store.exclusions.list(), self._store.freezes.list()
        if input.work.goes_back:
            exclusions, freezes = [], []  # Holds do not prevent a rollback or an undo.
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

        return self._store.rollout_routes.advance(input, choose, constrained=limited)

    @step(policies.STORE, lambda i: f"wave {i.number}")
    def begin_proofs(self, input: BeginProofsInput) -> RoutesChanged:
        """Mark the proven routes of a wave as waiting for their proof after the soak."""
        changed = self._store.rollout_routes.begin_proofs(input.rollout_run_id, input.number)
        return RoutesChanged(routes=changed)

    @step(policies.STORE, lambda i: i.release_tag)
    def begin_roll_back(self, input: BeginRollBackInput) -> RoutesChanged:
        """Mark the routes that the rollout changed as waiting for their rollback."""
        routes, run_id = self._store.rollout_routes, input.rollout_run_id
        changed = routes.begin_roll_back(run_id, input.release_tag)
        named = routes.list(run_id, RouteProgress.TO_ROLL_BACK, MAX_LISTED_ROUTES)
        return RoutesChanged(routes=changed, named=tuple(each.route_id for each in named))

    @step(policies.STORE, lambda i: f"wave {i.number} by {i.by}")
    def widen_wave(self, input: WidenWaveInput) -> RoutesChanged:
        """Split a smaller wave off the next one. Return the new number of waves."""
        waves = self._store.rollout_routes.widen(input.rollout_run_id, input.number, input.by)
        return RoutesChanged(routes=waves)

    @step(policies.STORE, lambda i: f"wave {i.number}")
    def join_late(self, input: JoinLateInput) -> RoutesChanged:
        """Make a wave of the routes that joined the scope after the rollout was planned."""
        joined = late_joiners(
            self._store.routes.newcomers(input),
            self._store.exclusions.list(),
            datetime.now(UTC),
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
            current_operation(input.origin),
            route_id=input.route_id,
            release_tag=input.release_tag,
            detail={"scope": input.scope},
        )
        return Recorded()

    @step(policies.STORE, lambda i: f"wave {i.wave}: {i.decision}")
    def record_decision(self, input: RecordDecisionInput) -> Recorded:
        """Record a decision about a rollout, with the reason."""
        self._store.events.append(
            "rollout-decided",
            current_operation(input.origin),
            release_tag=input.release_tag,
            detail=input.model_dump(mode="json", exclude={"origin", "release_tag"}),
        )
        return Recorded()

    @step(policies.STORE, lambda i: f"{i.phase}: {i.detail}")
    def close_rollout(self, input: CloseRolloutInput) -> Recorded:
        """Record the end of a rollout, free its scope, and promote a release that converged."""
        self._store.rollouts.close(input, current_operation(input.origin))
        return Recorded()


def listed_plan(input: PlanRolloutInput, planned: PlannedRollout) -> RolloutPlan:
    """Return a plan as a message; of a large one, the first routes of each wave only."""
    named = sum(map(len, planned.waves)) + len(planned.left_out) <= MAX_LISTED_ROUTES
    return RolloutPlan(
        release_tag=input.release.tag,
        scope=input.scope,
        version=input.release.version,
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
