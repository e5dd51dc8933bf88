"""What a pass of reconciliation writes down by itself: quarantines, repairs, what is over."""

from temporalio.client import Client

from activities import policies
from activities.operation import current_operation
from relight.domain.reconcile.plan import ActionKind
from relight.domain.reconcile.run import BeginRemediationInput, CloseOperationInput
from relight.domain.route import Recorded
from relight.engine.executions import is_under_way
from relight.engine.step import step
from relight.store.disruptions import Disruption
from relight.store.store import Store


class RemediationActivities:
    """Each is one write, or none."""

    def __init__(self, store: Store, temporal: Client) -> None:
        self._store = store
        self._temporal = temporal

    @step(policies.BOOKKEEPING, lambda i: f"{i.action.kind} {i.action.route_id}: {i.action.reason}")
    def begin_remediation(self, input: BeginRemediationInput) -> Recorded:
        """Write down that a route is quarantined, or that its repair begins."""
        action, operation = input.action, current_operation(input.origin)
        assert action.route_id is not None
        if action.kind is ActionKind.QUARANTINE:
            self._store.remediations.quarantine(action.route_id, action.reason, operation)
        else:
            self._store.remediations.repair_begun(action.route_id, operation)
        return Recorded()

    @step(policies.BOOKKEEPING, lambda i: i.step.reason)
    async def close_operation(self, input: CloseOperationInput) -> Recorded:
        """Write down that an operation is over, where its very run does not go on."""
        gone, operation = input.step.operation, current_operation(input.origin)
        assert gone is not None
        if await is_under_way(self._temporal, gone.workflow_id, gone.run_id):
            return Recorded()
        if gone.route_id is not None:
            held = Disruption(
                route_id=gone.route_id,
                workflow_id=gone.workflow_id,
                run_id=gone.run_id,
                reason="",
                taken_at=gone.opened_at,
            )
            self._store.disruptions.abandon(held, operation)
            return Recorded()
        for rollout in self._store.rollouts.list():
            if (rollout.workflow_id, rollout.run_id) == (gone.workflow_id, gone.run_id):
                self._store.rollouts.abandon(rollout, operation)
        return Recorded()
