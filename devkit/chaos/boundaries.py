"""The worker killed once at each activity of an operation: a table of where, and how it ended.

Several routes are worked on at once, so that each kill also befalls the others wherever they are.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError

from devkit.chaos.patience import run_once
from devkit.chaos.replacements import (
    ENDS_WITHIN,
    judge_route,
    provision_input,
)
from devkit.chaos.swaps import ORIGIN
from devkit.chaos.verdicts import Verdicts
from devkit.chaos.world import World
from relight.domain.base import Message
from relight.domain.names import RouteId, route_workflow_id
from relight.domain.replacement import AutoreplaceRouteInput
from relight.domain.route import RouteStatus
from starter.local.children import wait_until
from workflows.failures import fault_of
from workflows.route.provision import ProvisionRoute
from workflows.route.replace import AutoreplaceRoute

MAKE = ("render_cloud_init", "create_machine", "await_machine", "record_machine")
PROVISION = (
    *("desired_release", "describe_region", "resolve_release", "open_route", *MAKE),
    *("await_first_boot", "prove_release", "record_proof"),
)
REPLACE = (
    *("begin_replacement", "save_evidence", "describe_region", "resolve_release", "claim_machine"),
    *("plan_replacement_machine", *MAKE, "await_first_boot", "prove_release", "attach_machine"),
    *("drain_machine", "destroy_machine", "record_destroyed", "release_disruption"),
)

AT_ONCE = 6


@dataclass(frozen=True)
class Boundary:
    """One activity of one operation, at which the worker dies."""

    workflow: str
    step: str

    @property
    def route_id(self) -> str:
        """The route that it is tried on."""
        return f"{self.workflow}-{self.step}".lower().replace("_", "-")[:40]


ALL = tuple(
    Boundary(workflow, step)
    for workflow, steps in (("ProvisionRoute", PROVISION), ("AutoreplaceRoute", REPLACE))
    for step in steps
)


async def kill_at_each(world: World, verdicts: Verdicts) -> Sequence[tuple[str, str, str]]:
    """Kill the worker at each boundary; return workflow, boundary, and how the operation ended."""
    lanes, killing = asyncio.Semaphore(AT_ONCE), asyncio.Lock()

    async def one(boundary: Boundary) -> tuple[str, str, str]:
        async with lanes:
            return boundary.workflow, boundary.step, await _try(world, boundary, killing, verdicts)

    return await asyncio.gather(*map(one, ALL))


async def _try(world: World, boundary: Boundary, killing: asyncio.Lock, verdicts: Verdicts) -> str:
    """Kill the worker at one boundary, and return how the operation ended."""
    if boundary.workflow == "AutoreplaceRoute":
        await _operate(world, "ProvisionRoute", boundary.route_id)
    operation = asyncio.create_task(_operate(world, boundary.workflow, boundary.route_id))

    async def there() -> bool:
        return operation.done() or await _is_there(world, boundary)

    await wait_until(there, ENDS_WITHIN)
    async with killing:
        in_time = not operation.done()
        await world.kill_worker()
    wrong = len(verdicts.wrong)
    try:
        await operation
    except WorkflowFailureError as error:
        verdicts.wrong.append(f"{boundary.route_id}: {fault_of(error.cause).summary}")
    else:
        verdicts.done[boundary.workflow] += 1
        await judge_route(world, boundary.route_id, verdicts)
        route = world.store.routes.get(boundary.route_id)
        if route is None or route.status is not RouteStatus.SERVING:
            verdicts.wrong.append(f"{boundary.route_id}: it ended well, and does not serve")
    if not in_time:
        verdicts.wrong.append(f"{boundary.route_id}: it had ended before it was killed")
    return "as if nothing had been" if len(verdicts.wrong) == wrong else "WRONG"


async def _operate(world: World, name: str, route_id: RouteId) -> None:
    workflow: Any = AutoreplaceRoute.run
    asked: Message = AutoreplaceRouteInput(route_id=route_id, reason="chaos asks", origin=ORIGIN)
    if name == "ProvisionRoute":
        workflow = ProvisionRoute.run
        asked = provision_input(route_id)
    await run_once(world, workflow, asked, route_workflow_id(route_id))


async def _is_there(world: World, boundary: Boundary) -> bool:
    """Whether the operation has come to the boundary's activity, by its own history."""
    assert world.client is not None
    handle = world.client.get_workflow_handle(route_workflow_id(boundary.route_id))
    try:
        events = (await handle.fetch_history()).events
    except (RPCError, RuntimeError):  # it has not begun
        return False
    began = events[0].workflow_execution_started_event_attributes.workflow_type.name
    return began == boundary.workflow and any(
        event.activity_task_scheduled_event_attributes.activity_type.name == boundary.step
        for event in events
    )
