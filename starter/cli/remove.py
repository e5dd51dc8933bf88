"""Removal of a machine: started, and reported once it runs."""

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy

from relight.domain.destruction import RemoveMachineInput
from relight.domain.names import machine_workflow_id
from relight.engine import search_attributes
from starter.cli.operations import require_worker
from starter.cli.output import print_json, print_line
from starter.cli.route_table import removal_text
from workflows.machine.remove import RemoveMachine


async def remove(
    client: Client, task_queue: str, input: RemoveMachineInput, *, as_json: bool
) -> None:
    """Start the removal of a machine; one that runs already, and waits, is taken over."""
    await require_worker(client, task_queue)
    key = input.request.key
    await client.start_workflow(
        RemoveMachine.run,
        input,
        id=machine_workflow_id(key),
        task_queue=task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
        search_attributes=search_attributes.attributes({search_attributes.ROUTE: input.route_id}),
        static_summary=f"remove {key}",
        static_details=f"Requested by {input.origin.requested_by}: {input.reason}",
    )
    if as_json:
        print_json({"machine_key": key, "workflow_id": machine_workflow_id(key)})
    else:
        print_line(removal_text(key))
