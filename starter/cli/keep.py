"""The end of a machine's removal: recorded, requested, and reported once it has ended."""

from contextlib import suppress

from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode

from relight.domain.names import machine_workflow_id
from relight.store.events import Operation
from relight.store.store import Store
from relight.store.tables import RecordStatus
from relight.store.threads import in_thread
from starter.cli.cancel import running_workflow
from starter.cli.errors import OperationFailedError, RefusedError
from starter.cli.output import print_done
from starter.cli.waiting import Patience, print_started, within


class TooLateError(OperationFailedError):
    """The machine is destroyed, or its provider was asked to destroy it."""

    kind = "too-late"
    remedy = "`relight events` shows what was done with the machine."


async def keep(
    client: Client,
    store: Store,
    key: str,
    operation: Operation,
    patience: Patience,
    *,
    as_json: bool,
) -> None:
    """Keep a machine, and wait until its removal has ended.

    Raises:
        RefusedError: nothing removes it.
        TooLateError: it is destroyed, or is being destroyed.
    """
    workflow_id = machine_workflow_id(key)
    running = await running_workflow(client, workflow_id)
    # First, so that the gate refuses what the removal does until it ends.
    kept = await in_thread(store.kept_machines.keep, key, operation, is_removed=running is not None)
    if kept.refusal is not None:
        raise RefusedError(kept.refusal)
    if running is not None:
        # The run is not named: a removal may continue as a new run.
        handle = client.get_workflow_handle(workflow_id)
        try:
            await handle.cancel()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        later = f"relight machine keep {key}"
        if not patience.waits:
            print_started(workflow_id, f"the end of the removal of {key}", later, as_json=as_json)
            return
        # Cancelled, as requested, or failed: what is on record says what has become of the machine.
        with suppress(WorkflowFailureError):
            await within(patience, handle.result(), workflow_id, later)
    record = await in_thread(store.machines.get, key)
    if record is not None and record.status == RecordStatus.DESTROYED:
        msg = f"too late: machine {key} is destroyed"
        raise TooLateError(msg)
    if kept.begun_at is not None:
        msg = (
            f"too late: the destruction of machine {key} began at {kept.begun_at:%Y-%m-%d %H:%M:%S}"
            " UTC, and its provider may have been asked to destroy it. Its removal has ended, and"
            " nothing asks again: if the machine is there all the same, it is kept"
        )
        raise TooLateError(msg)
    ended = "its removal has ended" if running is not None else "no removal of it runs"
    what = (
        f"it goes on serving route {kept.route_id}"
        if kept.route_id is not None
        else f"automation leaves it, `relight machine remove {key}` ends that"
    )
    print_done(
        f"machine {key} is kept: {ended}, and {what}",
        {"machine_key": key, "route_id": kept.route_id, "removal_ended": running is not None},
        as_json=as_json,
    )
