"""Workflows that commands start and wait for, and the exit codes of their results."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from relight.domain.fault.advice import UNKNOWN, FaultSubject
from relight.domain.fault.fault import Fault
from relight.domain.names import RouteId, route_workflow_id
from relight.engine.executions import worker_identities
from starter.cli.errors import (
    BadInputError,
    CliError,
    OperationFailedError,
    RefusedError,
)
from workflows.failures import fault_of

_METADATA_QUERY = "__temporal_workflow_metadata"
"""A query that every workflow answers; it has the workflow's current details."""

ANSWER_WITHIN = timedelta(seconds=10)
"""How long a query waits for a worker."""

_BAD_INPUT = frozenset(
    {
        "release-unknown",
        "unknown-image",
        "unknown-location",
        "unknown-route",
        "unknown-track",
        "bad-value",
    }
)
"""Fault kinds of refusals that are invalid input: a name that does not exist, a bad value."""


async def require_worker(client: Client, task_queue: str) -> None:
    """Check that a worker polls the task queue.

    Raises:
        RefusedError: none has polled lately.
    """
    if not await worker_identities(client, task_queue):
        msg = (
            f"no worker listens on Temporal's task queue {task_queue}, so nothing was started:"
            " start a worker with `relight worker`, or everything with `relight up`"
        )
        raise RefusedError(msg)


def failure_fault(error: WorkflowFailureError) -> Fault:
    """Return the fault that a workflow failed with."""
    return fault_of(error.cause)


def cli_error(fault: Fault, subject: FaultSubject = UNKNOWN) -> CliError:
    """Return the error that ends a command because of a fault of a subject."""
    if not fault.refused:
        return OperationFailedError(fault.summary, fault, subject)
    return refusal([fault], subject)


def refusal(faults: Sequence[Fault], subject: FaultSubject = UNKNOWN) -> CliError:
    """Return the error that ends a command because everything was refused."""
    text = "\n".join(dict.fromkeys(fault.summary for fault in faults))
    if all(fault.kind in _BAD_INPUT for fault in faults):
        return BadInputError(text, faults[0], subject)
    return RefusedError(text, faults[0], subject)


def busy_text(route_id: RouteId) -> str:
    """Return the refusal of an operation on a route whose lock another operation has."""
    workflow_id = route_workflow_id(route_id)
    return (
        f"another operation runs on route {route_id}: in the Temporal UI it is {workflow_id}; "
        f"`relight route cancel {route_id}` ends it"
    )


async def current_details(handle: WorkflowHandle[Any, Any]) -> str:
    """Return what a workflow says that it does or waits for; empty if it says nothing.

    Raises:
        RPCError: no worker answers.
    """
    metadata: WorkflowMetadata = await handle.query(
        _METADATA_QUERY, result_type=WorkflowMetadata, rpc_timeout=ANSWER_WITHIN
    )
    return metadata.current_details


async def running_activities(handle: WorkflowHandle[Any, Any]) -> str:
    """Return the activities that a workflow waits for, as in `install package`; empty if none."""
    pending = (await handle.describe()).raw_description.pending_activities
    return ", ".join(each.activity_type.name for each in pending).replace("_", " ")
