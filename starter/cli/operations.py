"""Operations that commands start and wait for, and how their ends become exit codes."""

from collections.abc import Sequence

from temporalio.client import Client, WorkflowFailureError

from relight.domain.fault.fault import Fault
from relight.engine.executions import worker_identities
from starter.cli.errors import (
    BadInputError,
    CliError,
    OperationFailedError,
    RefusedError,
)
from workflows.failures import fault_of

_BAD_INPUT = frozenset(
    {"release-unknown", "unknown-location", "unknown-route", "unknown-track", "bad-value"}
)
"""Refusals because something that was named does not exist, or cannot be so."""


async def require_worker(client: Client, task_queue: str) -> None:
    """See that somebody will do what is about to be asked for.

    Raises:
        RefusedError: no worker has asked for work lately.
    """
    if not await worker_identities(client, task_queue):
        msg = (
            f"no worker listens on Temporal's task queue {task_queue}, so nothing would happen:"
            " start one with `relight worker`, or all of it with `relight up`"
        )
        raise RefusedError(msg)


def failure_fault(error: WorkflowFailureError) -> Fault:
    """Return the fault by which a workflow ended."""
    return fault_of(error.cause)


def cli_error(fault: Fault) -> CliError:
    """Return the error that ends a command because of a fault."""
    if not fault.refused:
        return OperationFailedError(fault.summary)
    return refusal([fault])


def refusal(faults: Sequence[Fault]) -> CliError:
    """Return the error that ends a command because all that it asked for was refused."""
    text = "\n".join(dict.fromkeys(fault.summary for fault in faults))
    if all(fault.kind in _BAD_INPUT for fault in faults):
        return BadInputError(text)
    return RefusedError(text)
