"""What a pass of reconciliation writes down by itself: quarantines, repairs, what is over."""

from temporalio import activity
from temporalio.client import Client

from activities.engine import is_under_way
from activities.operation import current_operation
from fleet.disruptions import Disruption
from fleet.store import Store
from messages.reconcile import ActionKind
from messages.reconciling import BeginTreatmentInput, CloseOperationInput
from messages.route import Recorded


class TreatmentActivities:
    """Each is one write, or none."""

    def __init__(self, store: Store, temporal: Client) -> None:
        self._store = store
        self._temporal = temporal

    @activity.defn
    def begin_treatment(self, input: BeginTreatmentInput) -> Recorded:
        """Write down that a route is quarantined, or that its repair begins."""
        action, operation = input.action, current_operation(input.origin)
        assert action.route_id is not None
        if action.kind is ActionKind.QUARANTINE:
            self._store.care.quarantine(action.route_id, action.reason, operation)
        else:
            self._store.care.repair_begun(action.route_id, operation)
        return Recorded()

    @activity.defn
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
                why="",
                taken_at=gone.opened_at,
            )
            self._store.disruptions.abandon(held, operation)
            return Recorded()
        for rollout in self._store.rollouts.list():
            if (rollout.workflow_id, rollout.run_id) == (gone.workflow_id, gone.run_id):
                self._store.rollouts.abandon(rollout, operation)
        return Recorded()
