"""Retirement: a route without machines, and with its history."""

from temporalio import workflow
from temporalio.common import VersioningBehavior

from relight.domain.destruction import DestructionReason, RemoveMachineInput
from relight.domain.route import RetireRouteInput, RouteOperationInput, RouteRetired
from workflows.machine.remove import removal_request, start_removal
from workflows.route.steps import RouteActivities
from workflows.shield import run_shielded


# It takes seconds, so a run stays on the worker version that started it.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class RetireRoute:
    """Retire a route, and start to remove its machines. They are drained, then destroyed.

    A cancellation has no effect: a machine that serves no route must not be left. If the workflow
    is terminated meanwhile, a sweep destroys the machines.
    """

    @workflow.run
    async def run(self, input: RetireRouteInput) -> RouteRetired:
        """Record that the route is retired, and start the removal of each of its machines."""
        return await run_shielded(self._retire(input))

    async def _retire(self, input: RetireRouteInput) -> RouteRetired:
        retired = await RouteActivities.retire_route(
            RouteOperationInput(route_id=input.route_id, origin=input.origin)
        )
        for machine in retired.machines:
            await start_removal(
                RemoveMachineInput(
                    route_id=input.route_id,
                    machine=machine,
                    reason=input.origin.reason,
                    origin=input.origin,
                    request=removal_request(
                        machine,
                        DestructionReason.REQUESTED,
                        input.origin,
                        text=input.origin.reason,
                        track=retired.track,
                    ),
                )
            )
        return retired
