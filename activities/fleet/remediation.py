"""Records that a reconcile run writes itself: quarantines, repairs, closed operations."""

from temporalio.client import Client

from activities import policies
from activities.execution import current_operation
from relight.domain.reconcile.plan import ActionKind
from relight.domain.reconcile.run import BeginRemediationInput, CloseOperationInput
from relight.domain.route import Recorded
from relight.domain.sweep.sweep import OpenOperation
from relight.engine.executions import is_running
from relight.engine.step import step
from relight.store.disruptions import Disruption
from relight.store.events import Operation
from relight.store.store import Store
from relight.store.threads import in_thread


class RemediationActivities:
    """Each activity makes one write at most."""

    def __init__(self, store: Store, temporal: Client) -> None:
        self._store = store
        self._temporal = temporal

    @step(policies.STORE, lambda i: f"{i.action.kind} {i.action.route_id}: {i.action.reason}")
    def begin_remediation(self, input: BeginRemediationInput) -> Recorded:
        """Record that a route is quarantined, or that its repair begins."""
        action, operation = input.action, current_operation(input.origin)
        assert action.route_id is not None
        if action.kind is ActionKind.QUARANTINE:
            self._store.remediations.quarantine(action.route_id, action.reason, operation)
        else:
            self._store.remediations.record_repair(action.route_id, operation)
        return Recorded()

    @step(policies.STORE, lambda i: i.step.reason)
    async def close_operation(self, input: CloseOperationInput) -> Recorded:
        """Record that an operation has ended, unless its workflow run is still running."""
        ended, operation = input.step.operation, current_operation(input.origin)
        assert ended is not None
        if not await is_running(self._temporal, ended.workflow_id, ended.run_id):
            await in_thread(self._close, ended, operation)
        return Recorded()

    def _close(self, ended: OpenOperation, operation: Operation) -> None:
        if ended.route_id is not None:
            held = Disruption(
                route_id=ended.route_id,
                workflow_id=ended.workflow_id,
                run_id=ended.run_id,
                reason="",
                taken_at=ended.opened_at,
            )
            self._store.disruptions.abandon(held, operation)
            return
        for rollout in self._store.declarations.rollouts():
            if (rollout.workflow_id, rollout.run_id) == (ended.workflow_id, ended.run_id):
                self._store.rollouts.abandon(rollout, operation)
