"""Rollouts in the store: who moves which scope, and how it ended."""

import asyncio

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.operation import current_operation
from fleet.errors import ScopeBusyError
from fleet.store import Store
from messages.rollout import (
    CloseRolloutInput,
    OpenRolloutInput,
    RecordSteerInput,
    Rollout,
)
from messages.route import ListRoutesInput, Recorded, RouteList


class RolloutActivities:
    """A scope is claimed, steered and freed; one rollout at a time moves a declaration."""

    def __init__(self, store: Store, temporal: Client) -> None:
        self._store = store
        self._temporal = temporal

    @activity.defn
    async def open_rollout(self, input: OpenRolloutInput) -> Rollout:
        """Claim the scope; a holder whose workflow is gone (terminated, say) loses it."""
        operation = current_operation(input.origin)
        try:
            return await asyncio.to_thread(self._store.rollouts.open, input, operation)
        except ScopeBusyError as busy:
            if await self._runs(busy.holder):
                raise
            await asyncio.to_thread(self._store.rollouts.abandon, busy.holder, operation)
        return await asyncio.to_thread(self._store.rollouts.open, input, operation)

    async def _runs(self, rollout: Rollout) -> bool:
        handle = self._temporal.get_workflow_handle(rollout.workflow_id, run_id=rollout.run_id)
        try:
            description = await handle.describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return description.status is WorkflowExecutionStatus.RUNNING

    @activity.defn
    def list_routes(self, input: ListRoutesInput) -> RouteList:
        """Return the routes that the scope's declaration governs and that hold a machine."""
        return RouteList(routes=tuple(self._store.routes.in_scope(input.scope)))

    @activity.defn
    def record_steer(self, input: RecordSteerInput) -> Recorded:
        """Write down who steered a rollout, and why."""
        self._store.events.append(
            f"rollout-{input.action}",
            current_operation(input.origin),
            release_tag=input.release_tag,
            detail={"scope": input.scope},
        )
        return Recorded()

    @activity.defn
    def close_rollout(self, input: CloseRolloutInput) -> Recorded:
        """Write down how a rollout ended, free its scope, and promote what converged."""
        self._store.rollouts.close(input, current_operation(input.origin))
        return Recorded()
