"""One machine at a provider, made, proven and destroyed by the worker: a route that is retired."""

import secrets
import time

from temporalio.client import Client, WorkflowFailureError

from relight.domain.base import Message, Origin
from relight.domain.fault.advice import FaultSubject
from relight.domain.names import machine_workflow_id
from relight.domain.route import ProvisionRouteInput, RetireRouteInput
from starter.cli.operations import cli_error, failure_fault, require_worker
from starter.cli.output import note
from starter.cli.provision import start_provisioning
from starter.cli.retire import start_retirement
from starter.cli.waiting import Patience, within


class ProviderTrial(Message):
    """A machine that was made, proven and destroyed.

    Attributes:
        proven_after_s: from the request until its release was proven, in seconds.
        gone_after_s: from the request until its provider had it no longer, in seconds: about what
            is billed.
    """

    provider: str
    region: str
    machine_key: str
    release_tag: str
    proven_after_s: float
    gone_after_s: float


def trial_input(provider: str, region: str, track: str, origin: Origin) -> ProvisionRouteInput:
    """Return the request for a route that nothing else has the name of."""
    return ProvisionRouteInput(
        route_id=f"check-{provider}-{secrets.token_hex(3)}",
        track=track,
        provider=provider,
        region=region,
        origin=origin,
    )


async def try_provider(
    client: Client, task_queue: str, input: ProvisionRouteInput, patience: Patience
) -> ProviderTrial:
    """Provision the route, retire it, and wait until its machine is gone.

    Raises:
        CliError: the machine was not made or not proven, in which case it was destroyed; or it is
            still being destroyed when the time is over.
    """
    await require_worker(client, task_queue)
    route_id, later = input.route_id, f"relight route show {input.route_id}"
    note(f"route {route_id} is provisioned; if interrupted: `relight route retire {route_id}`")
    began = time.monotonic()
    try:
        provisioning = await start_provisioning(client, task_queue, input)
        provisioned = await within(patience, provisioning.result(), "provisioning", later)
        proven_after_s = time.monotonic() - began
        note(f"proven at {provisioned.release_tag}; it is destroyed")
        request = RetireRouteInput(route_id=route_id, origin=input.origin)
        retirement = await start_retirement(client, task_queue, request)
        retired = await within(patience, retirement.result(), "retirement", later)
        for machine in retired.machines:
            removal = client.get_workflow_handle(machine_workflow_id(machine.key))
            await within(patience, removal.result(), f"removal of {machine.key}", later)
    except WorkflowFailureError as error:
        raise cli_error(failure_fault(error), FaultSubject(route_id)) from None
    return ProviderTrial(
        provider=input.provider,
        region=input.region,
        machine_key=provisioned.machine.key,
        release_tag=provisioned.release_tag,
        proven_after_s=round(proven_after_s, 3),
        gone_after_s=round(time.monotonic() - began, 3),
    )
