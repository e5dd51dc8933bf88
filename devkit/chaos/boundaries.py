"""The worker is killed once at each activity of an operation; a table shows the results.

Several routes run at the same time, so each kill also interrupts the others at random points.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError

from devkit.chaos.environment import ChaosEnvironment
from devkit.chaos.operations import Results, route_record, run_once
from devkit.chaos.replacements import (
    ENDS_WITHIN,
    check_route,
    provision_input,
    replace_input,
)
from relight.domain.names import RouteId, route_workflow_id
from relight.domain.route import RouteStatus
from starter.local.children import wait_until
from workflows.failures import fault_of
from workflows.route.provision import ProvisionRoute
from workflows.route.replace import AutoreplaceRoute

CREATE = ("render_cloud_init", "create_machine", "await_machine", "record_machine")
PROVISION = (
    *("desired_release", "describe_region", "resolve_release", "check_new_key"),
    *("open_route", *CREATE),
    *("await_first_boot", "prove_release", "record_proof"),
)
REPLACE = (
    *("check_replacement", "begin_replacement", "save_evidence", "describe_region"),
    *("resolve_release", "claim_machine"),
    *("plan_replacement_machine", *CREATE, "await_first_boot", "prove_release", "attach_machine"),
    "release_disruption",
)

MAX_CONCURRENT = 6


@dataclass(frozen=True)
class Boundary:
    """One activity of one operation, at which the worker is killed."""

    workflow: str
    step: str

    @property
    def route_id(self) -> str:
        """The route that this boundary is tested on."""
        return f"{self.workflow}-{self.step}".lower().replace("_", "-")[:40]


ALL = tuple(
    Boundary(workflow, step)
    for workflow, steps in (("ProvisionRoute", PROVISION), ("AutoreplaceRoute", REPLACE))
    for step in steps
)


async def kill_at_each(
    environment: ChaosEnvironment, results: Results
) -> Sequence[tuple[str, str, str]]:
    """Kill the worker at each boundary; return rows of workflow, activity and outcome."""
    slots, killing = asyncio.Semaphore(MAX_CONCURRENT), asyncio.Lock()

    async def test(boundary: Boundary) -> tuple[str, str, str]:
        async with slots:
            outcome = await _kill_at(environment, boundary, killing, results)
        return boundary.workflow, boundary.step, outcome

    return await asyncio.gather(*map(test, ALL))


async def _kill_at(
    environment: ChaosEnvironment, boundary: Boundary, killing: asyncio.Lock, results: Results
) -> str:
    """Kill the worker at one boundary, and return the outcome of the operation."""
    route_id = boundary.route_id
    if boundary.workflow == "AutoreplaceRoute":
        await _operate(environment, "ProvisionRoute", route_id)
    operation = asyncio.create_task(_operate(environment, boundary.workflow, route_id))

    async def reached() -> bool:
        return operation.done() or await _has_reached(environment, boundary)

    await wait_until(reached, ENDS_WITHIN)
    async with killing:
        in_time = not operation.done()
        await environment.kill_worker()
    violations_before = len(results.violations)
    try:
        await operation
    except WorkflowFailureError as error:
        results.violations.append(f"{route_id}: {fault_of(error.cause).summary}")
    else:
        results.done[boundary.workflow] += 1
        await check_route(environment, route_id, results)
        if route_record(environment, route_id).status is not RouteStatus.SERVING:
            results.violations.append(f"{route_id}: the operation succeeded, but it does not serve")
    if not in_time:
        results.violations.append(f"{route_id}: the operation ended before the kill")
    return "ok" if len(results.violations) == violations_before else "VIOLATION"


async def _operate(environment: ChaosEnvironment, name: str, route_id: RouteId) -> None:
    workflow: Any = ProvisionRoute.run if name == "ProvisionRoute" else AutoreplaceRoute.run
    make_input = provision_input if name == "ProvisionRoute" else replace_input
    await run_once(environment, workflow, make_input(route_id), route_workflow_id(route_id))


async def _has_reached(environment: ChaosEnvironment, boundary: Boundary) -> bool:
    """Return whether the history of the operation has the boundary's activity."""
    assert environment.client is not None
    handle = environment.client.get_workflow_handle(route_workflow_id(boundary.route_id))
    try:
        events = (await handle.fetch_history()).events
    except (RPCError, RuntimeError):  # not started, or the server is down
        return False
    started = events[0].workflow_execution_started_event_attributes.workflow_type.name
    return started == boundary.workflow and any(
        event.activity_task_scheduled_event_attributes.activity_type.name == boundary.step
        for event in events
    )
