"""What must hold after a walk: nothing is stuck, and nothing is held for nobody."""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio.client import WorkflowExecution, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from devkit.walk.fleet import LIMITS, MAX_PATIENCE, Fleet
from relight.domain.duration import span
from relight.domain.rollout.rollout import RolloutPhase
from relight.store.store import Store
from starter.cli.operations import current_details

REMOVED_WITHIN = timedelta(days=3)
"""The breaker and its hourly limits let every old machine go within that."""

_LONGEST_PAUSE, _PARTS = timedelta(hours=1), 10

_SECONDS, _ATTEMPT = 0.1, 0.7

_NAMED = frozenset({RolloutPhase.SOAKING, RolloutPhase.PREPARING})
"""Phases whose detail names the time of their end, or the rollout whose end they wait for."""


async def unnamed_waits(fleet: Fleet) -> list[str]:
    """Let time pass until each workflow has ended or waits for a named person or time.

    Returns:
        The workflows that are open after all patience and name nobody and no time.
    """
    problems = ["unknown"]
    for _ in fleet.patience(MAX_PATIENCE):
        waits = [(each, await _waits_for(fleet, each)) for each in await fleet.open_workflows()]
        problems = [
            f"{each.workflow_type} {each.id} is open, and {wait}" for each, wait in waits if wait
        ]
        if not problems:
            break
        await fleet.skip(MAX_PATIENCE / _PARTS)
    return problems


async def _waits_for(fleet: Fleet, open_workflow: WorkflowExecution) -> str | None:
    """Return what is wrong with the wait of an open workflow, None if nothing is."""
    handle = fleet.client.get_workflow_handle(open_workflow.id, run_id=open_workflow.run_id)
    try:
        match open_workflow.workflow_type:
            case "RolloutWave":
                return None  # Its rollout says what it waits for.
            case "RolloutRelease":
                return _rollout_waits_for(fleet.store, open_workflow.id)
            case "RemoveMachine":
                if await current_details(handle):
                    return None
                return f"does not say what it waits for: {await _progress_of(handle)}"
            case _:
                return f"has not ended after {MAX_PATIENCE}: {await _progress_of(handle)}"
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None  # It has ended in this moment.
        raise


def _rollout_waits_for(store: Store, workflow_id: str) -> str | None:
    """Return what is wrong with the wait of an open rollout, None if nothing is."""
    for rollout in store.rollouts.list():
        if rollout.workflow_id == workflow_id and rollout.closed_at is None:
            status = store.rollout_status.get(rollout.run_id)
            assert status is not None
            named = status.to_do or status.phase in _NAMED
            return None if named else f"is {status.phase}: {status.detail}"
    return "the store knows nothing of it"


async def _progress_of(handle: WorkflowHandle[Any, Any]) -> str:
    """Return how far a workflow has come, for whoever looks for the reason why it does not end."""
    described = await handle.describe()
    pending = [
        f"{each.activity_type.name} (state {each.state}, attempt {each.attempt}) "
        f"{each.last_failure.message}"
        for each in described.raw_description.pending_activities
    ]
    task = described.raw_description.pending_workflow_task.state
    return f"{described.history_length} events, workflow task {task}, {pending}"


async def all_ended(fleet: Fleet) -> list[str]:
    """Let time pass until every workflow has ended; return those that have not."""
    left: list[WorkflowExecution] = []
    for _ in fleet.patience(REMOVED_WITHIN):
        left = await fleet.open_workflows()
        if not left:
            break
        # Long jumps, and enough time for the work of one attempt between two of them.
        fleet.clock.jump(_LONGEST_PAUSE)
        await asyncio.sleep(_ATTEMPT)
    return [
        f"{each.workflow_type} {each.id} has not ended in {span(REMOVED_WITHIN)}" for each in left
    ]


async def permits_held(fleet: Fleet) -> list[str]:
    """Return the limits of the fleet that have not all their permits back."""
    left: list[str] = []
    for _ in fleet.patience(timedelta()):
        left = [name for name, limit in LIMITS.items() if not _is_free(fleet.store, name, limit)]
        if not left:
            break
        await asyncio.sleep(_SECONDS)
    return [f"permits are held: {name}" for name in left]


def _is_free(store: Store, name: str, limit: int) -> bool:
    """Return whether a newcomer gets all permits of a limit."""
    lease = partial(
        store.permits.lease, name, "newcomer", limit=limit, used=0, lasts=_LONGEST_PAUSE
    )
    granted = lease(wanted=limit)
    lease(wanted=0)
    return granted.allowed == limit


def held_for_nobody(fleet: Fleet) -> list[str]:
    """Return what is still held although every workflow has ended."""
    store = fleet.store
    problems = [
        f"route {each.route_id} is in the disruption ledger for {each.workflow_id}: {each.reason}"
        for each in store.disruptions.list()
    ]
    problems += [
        f"{each.workflow_id} holds scope {each.scope}"
        for each in store.rollouts.list()
        if each.closed_at is None
    ]
    attached = {route.machine.key for route in fleet.routes() if route.machine is not None}
    problems += [
        f"machine {each.key} is {each.status}, and no route has it"
        for each in store.machines.list()
        if each.destroyed_at is None and each.key not in attached
    ]
    problems += [f"command has not ended: {each}" for each in fleet.running]
    return problems
