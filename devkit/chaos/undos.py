"""Repeated rollouts of the fleet and their undo; each undo is compared with the hosts and records.

An undo starts at a random moment: in the middle of the rollout, which it supersedes, or after it.
"""

import asyncio
import random
from collections.abc import Mapping
from datetime import timedelta

from temporalio.client import WorkflowFailureError

from devkit.chaos.environment import ChaosEnvironment
from devkit.chaos.operations import (
    AFTER,
    BEFORE,
    ORIGIN,
    Results,
    dpkg_state,
    expected_dpkg_state,
    route_record,
    run_once,
)
from relight.domain.names import RouteId, rollout_workflow_id
from relight.domain.rollout.rollout import RolloutPhase, RolloutReleaseInput, RolloutStatus
from relight.domain.rollout.strategy import UNDO_STRATEGY, Strategy
from relight.domain.route import RouteStatus
from starter.local.children import wait_until
from workflows.endings import result_of
from workflows.failures import fault_of
from workflows.rollout.rollout import RolloutRelease

SCOPE = "fleet"
FORWARD = Strategy(waves=("1", "100%"), soak=timedelta(0))
ENDS_WITHIN = timedelta(minutes=15)
UNDOS = 3
"""An undo whose routes failed is repeated by its operator; after so many all must be back."""
MIDDLE = 8.0
"""Seconds in which a rollout of the fleet has begun and rarely ended."""


async def undo_until(
    environment: ChaosEnvironment,
    machine_ids: Mapping[RouteId, str],
    done: asyncio.Event,
    results: Results,
    rng: random.Random,
) -> None:
    """Roll a release out and take it back until `done`, and check the fleet after each undo.

    Args:
        environment: where the fleet serves `BEFORE`.
        machine_ids: the lab's id of each route's machine.
        done: set when the kills have ended.
        results: gets what was done and each violation.
        rng: chooses when an undo starts.
    """
    while not done.is_set():
        try:
            async with asyncio.timeout(ENDS_WITHIN.total_seconds()):
                await _roll_out_and_undo(environment, results, rng)
        except TimeoutError:
            results.violations.append(f"a rollout and its undo have not ended in {ENDS_WITHIN}")
            return
        await _check_all_back(environment, machine_ids, results)


async def _roll_out_and_undo(
    environment: ChaosEnvironment, results: Results, rng: random.Random
) -> None:
    async with asyncio.TaskGroup() as tasks:
        rollout = tasks.create_task(_run(environment, FORWARD, undo=False))
        # Before it has claimed the fleet, there is nothing to undo.
        await wait_until(lambda: _is_open(environment, rollout), ENDS_WITHIN)
        await asyncio.wait([rollout], timeout=rng.choice([rng.uniform(0, MIDDLE), None]))
        for _ in range(UNDOS):
            undone = await _run(environment, UNDO_STRATEGY, undo=True)
            results.done[f"undos {undone}"] += 1
            if undone == RolloutPhase.CONVERGED:
                break
    results.done[f"rollouts {rollout.result()}"] += 1


async def _is_open(environment: ChaosEnvironment, rollout: asyncio.Task[str]) -> bool:
    found = environment.store.rollouts.get(rollout_workflow_id(AFTER, SCOPE))
    return rollout.done() or (found is not None and found.closed_at is None)


async def _run(environment: ChaosEnvironment, strategy: Strategy, *, undo: bool) -> str:
    """Run a rollout or an undo to its end. Returns its last phase, or the kind of its fault."""
    request = RolloutReleaseInput(
        release_tag=AFTER, scope=SCOPE, origin=ORIGIN, strategy=strategy, undo=undo
    )
    workflow_id = rollout_workflow_id(AFTER, SCOPE, undo=undo)
    try:
        status: RolloutStatus = await result_of(
            run_once(environment, RolloutRelease.run, request, workflow_id), RolloutStatus
        )
    except WorkflowFailureError as error:
        return fault_of(error.cause).kind
    return status.phase


async def _check_all_back(
    environment: ChaosEnvironment, machine_ids: Mapping[RouteId, str], results: Results
) -> None:
    for route_id, machine_id in machine_ids.items():
        state = await dpkg_state(environment, machine_id)
        route = route_record(environment, route_id)
        seen = (state, route.current_release_tag, route.target_release_tag, route.status)
        if seen != (expected_dpkg_state(BEFORE), BEFORE, BEFORE, RouteStatus.SERVING):
            results.violations.append(f"{route_id}: after an undo {seen}")
    store = environment.store
    if (default := store.fleet_settings.get("default_release_tag")) != BEFORE:
        results.violations.append(f"after an undo the fleet's default release is {default}")
    if held := store.disruptions.list():
        results.violations.append(f"after an undo routes are held: {held}")
