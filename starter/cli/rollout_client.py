"""Starts, finds, follows and controls rollout workflows."""

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from rich.live import Live
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from relight.domain.names import scope_track
from relight.domain.rollout.rollout import (
    ControlInput,
    RolloutPhase,
    RolloutPlan,
    RolloutReleaseInput,
    RolloutStatus,
)
from relight.engine import search_attributes
from starter.cli import rollout_text
from starter.cli.errors import (
    BadInputError,
    OperationFailedError,
    RefusedError,
)
from starter.cli.operations import (
    cli_error,
    failure_fault,
    require_worker,
)
from starter.cli.output import (
    live_view,
    note,
    print_json,
    print_json_line,
    print_line,
)
from starter.cli.rollout_name import RolloutName
from starter.cli.rollout_waits import waits_of
from starter.cli.session import fleet_store
from workflows.failures import fault_of
from workflows.rollout.rollout import RolloutRelease

POLL_EVERY = timedelta(milliseconds=500)
ANSWER_WITHIN = timedelta(seconds=10)
CONTROL_WITHIN = timedelta(seconds=30)

_ENDING = frozenset(
    {
        RolloutPhase.CONVERGED,
        RolloutPhase.STOPPED,
        RolloutPhase.ABORTED,
        RolloutPhase.SUPERSEDED,
        RolloutPhase.ROLLING_BACK,
    }
)
"""Phases of a rollout that starts no further route: another start of its tag is a new rollout."""

Handle = WorkflowHandle[RolloutRelease, RolloutStatus]

UPDATES: Mapping[str, Any] = {
    "pause": RolloutRelease.pause,
    "resume": RolloutRelease.resume,
    "approve": RolloutRelease.approve,
    "abort": RolloutRelease.abort,
    "retry": RolloutRelease.retry_failed,
    "skip": RolloutRelease.skip_route,
    "set-concurrency": RolloutRelease.set_concurrency,
}
"""The workflow update behind each control command."""


async def start(
    client: Client, task_queue: str, input: RolloutReleaseInput, *, wait: bool, as_json: bool
) -> None:
    """Start a rollout and print its plan; with `wait`, follow it until it ends.

    Raises:
        CliError: it was refused, or with `wait`, did not converge.
    """
    await require_worker(client, task_queue)
    name = RolloutName(input.release_tag, input.scope, undo=input.undo)
    ran_already = await _joins_running(client, name)
    handle, plan = await _start(client, task_queue, input)
    if wait:
        if not as_json:
            note(rollout_text.plan_text(plan))
        await _follow(handle, as_json=as_json)
    elif as_json:
        print_json({"workflow_id": handle.id, "plan": plan, "ran_already": ran_already})
    else:
        print_line(rollout_text.plan_text(plan))
        state = "it is already running" if ran_already else "started"
        print_line(f"{state}; follow it with `relight rollout watch {name.arguments}`")


async def show(client: Client, name: RolloutName, *, as_json: bool) -> None:
    """Print the status of a rollout.

    Raises:
        CliError: it does not exist, or no worker answers.
    """
    handle, run = await _find(client, name)
    if run.status is WorkflowExecutionStatus.COMPLETED:  # its result needs no worker
        status = await handle.result()
    else:
        status = await _query(handle, RolloutRelease.status)
    _show(_with_whole_faults(status, run), as_json=as_json)
    if run.status is WorkflowExecutionStatus.RUNNING and not as_json:
        for each in await waits_of(client, handle.id, status):
            print_line(each)


async def why(client: Client, name: RolloutName, *, as_json: bool) -> None:
    """Print what a rollout waits for, since when, and what to do.

    Raises:
        CliError: it does not exist, or no worker answers.
    """
    handle, run = await _find(client, name)
    reason = await _query(handle, RolloutRelease.why)
    waits: tuple[str, ...] = ()
    if run.status is WorkflowExecutionStatus.RUNNING:
        status = await _query(handle, RolloutRelease.status)
        waits = await waits_of(client, handle.id, status)
    if as_json:
        print_json({"workflow_id": handle.id, "why": reason, "waits": waits})
        return
    for line in (reason, *waits):
        print_line(line)


async def watch(client: Client, name: RolloutName, *, as_json: bool) -> None:
    """Follow a rollout until it ends.

    Raises:
        CliError: it does not exist, or did not converge.
    """
    handle, _ = await _find(client, name)
    await _follow(handle, as_json=as_json)


async def control(
    client: Client,
    task_queue: str,
    action: str,
    name: RolloutName,
    input: ControlInput,
    *,
    as_json: bool,
) -> None:
    """Send a control to a rollout: one of `UPDATES`.

    Raises:
        CliError: the rollout does not exist or refuses it now, or no worker answers.
    """
    handle, run = await _find(client, name)
    ended = RefusedError(f"cannot {action} {handle.id}: it has ended")
    if run.status is not WorkflowExecutionStatus.RUNNING:
        raise ended
    await require_worker(client, task_queue)
    try:
        async with asyncio.timeout(CONTROL_WITHIN.total_seconds()):
            status = await handle.execute_update(UPDATES[action], input)
    except WorkflowUpdateFailedError as error:
        raise RefusedError(f"{handle.id}: {fault_of(error.cause).summary}") from None
    except TimeoutError:
        msg = (
            f"no worker accepted `{action}` for {handle.id} within "
            f"{CONTROL_WITHIN.total_seconds():.0f} s; it may still: see `relight rollout status`"
        )
        raise OperationFailedError(msg) from None
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise ended from None
        raise
    _show(_with_whole_faults(status, run), as_json=as_json)


async def _joins_running(client: Client, name: RolloutName) -> bool:
    """Return whether a start joins this rollout's running one. One that is ending is awaited."""
    if not await _is_running(client, name):
        return False
    handle = client.get_workflow_handle_for(RolloutRelease.run, name.workflow_id)
    status = await _query(handle, RolloutRelease.status)
    if status.phase not in _ENDING:
        return True
    note(f"{handle.id} is ending, {status.phase}: {status.detail}; the new one starts after it")
    for each in await waits_of(client, handle.id, status):
        note(each)
    with contextlib.suppress(WorkflowFailureError):
        await handle.result()
    return False


async def _is_running(client: Client, name: RolloutName) -> bool:
    """Return whether this rollout is running: a tag started twice is the same rollout."""
    try:
        description = await client.get_workflow_handle(name.workflow_id).describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return description.status is WorkflowExecutionStatus.RUNNING


async def _start(
    client: Client, task_queue: str, input: RolloutReleaseInput
) -> tuple[Handle, RolloutPlan]:
    name = RolloutName(input.release_tag, input.scope, undo=input.undo)
    workflow_id = name.workflow_id
    operation = WithStartWorkflowOperation(
        RolloutRelease.run,
        input,
        id=workflow_id,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        task_queue=task_queue,
        search_attributes=search_attributes.attributes(
            {
                search_attributes.ROLLOUT: workflow_id,
                search_attributes.RELEASE: input.release_tag,
                search_attributes.TRACK: scope_track(input.scope),
            }
        ),
        static_summary=(
            f"{'undo' if input.undo else 'roll out'} {input.release_tag} over {input.scope}"
        ),
        static_details=f"Requested by {input.origin.requested_by}: {input.origin.reason}",
    )
    try:
        plan = await client.execute_update_with_start_workflow(
            RolloutRelease.planned, start_workflow_operation=operation
        )
    except WorkflowUpdateFailedError as error:
        # A refused rollout runs until its end is recorded; wait, or the same tag would join it.
        with contextlib.suppress(WorkflowFailureError):
            await (await operation.workflow_handle()).result()
        raise cli_error(fault_of(error.cause)) from None
    return await operation.workflow_handle(), plan


async def _find(client: Client, name: RolloutName) -> tuple[Handle, WorkflowExecutionDescription]:
    """Return a rollout's running run, else its newest recorded one, and that run's description.

    A run that was refused is not recorded, so it does not hide the one before.
    """
    handle = client.get_workflow_handle_for(RolloutRelease.run, name.workflow_id)
    try:
        description = await handle.describe()
        refused = name.run_id is not None and description.run_id != name.run_id
        if refused and description.status is not WorkflowExecutionStatus.RUNNING:
            handle = client.get_workflow_handle_for(
                RolloutRelease.run, name.workflow_id, run_id=name.run_id
            )
            description = await handle.describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        msg = f"there is no rollout of {name.tag} over {name.scope}"
        if scope_track(name.scope) is None:
            msg += "; for the rollout of a track, add --track"
        raise BadInputError(msg) from None
    return handle, description


def _with_whole_faults(status: RolloutStatus, run: WorkflowExecutionDescription) -> RolloutStatus:
    """Return a status with the faults as the store has them, with output and log."""
    failed = [each.route_id for each in status.routes if each.fault is not None]
    if not failed:
        return status
    with fleet_store() as store:
        whole = store.rollout_routes.faults(run.run_id, failed)
    routes = [
        each.model_copy(update={"fault": whole.get(each.route_id, each.fault)})
        for each in status.routes
    ]
    return status.model_copy(update={"routes": tuple(routes)})


async def _query(handle: Handle, query: Any) -> Any:
    try:
        return await handle.query(query, rpc_timeout=ANSWER_WITHIN)
    except (RPCError, WorkflowQueryFailedError) as error:
        msg = f"no worker answers for {handle.id} ({error.message})"
        raise RefusedError(msg) from error


async def _follow(handle: Handle, *, as_json: bool) -> None:
    shown: RolloutStatus | None = None
    silent = False
    result = asyncio.create_task(handle.result())
    with live_view() as live:
        while not result.done():
            try:
                status = await handle.query(RolloutRelease.status, rpc_timeout=ANSWER_WITHIN)
            except (RPCError, WorkflowQueryFailedError) as error:
                if not silent:
                    note(f"{handle.id}: no worker answers at present ({error}); nothing is lost")
                silent = True
            else:
                silent = False
                _show_change(shown, status, live, as_json=as_json)
                shown = status
            await asyncio.wait([result], timeout=POLL_EVERY.total_seconds())
        try:
            final = _with_whole_faults(await result, await handle.describe())
        except WorkflowFailureError as error:
            raise cli_error(failure_fault(error)) from None
        _show_change(shown, final, live, as_json=as_json)
    if not as_json:
        rollout_text.print_status(final)
    if final.phase is not RolloutPhase.CONVERGED:
        raise OperationFailedError(rollout_text.conclusion(final))


def _show(status: RolloutStatus, *, as_json: bool) -> None:
    if as_json:
        print_json(status)
    else:
        rollout_text.print_status(status)


def _show_change(
    before: RolloutStatus | None, now: RolloutStatus, live: Live | None, *, as_json: bool
) -> None:
    if now == before:
        return
    if as_json:
        print_json_line(now)
        return
    for line in rollout_text.changes(before, now):
        note(line)
    if live is not None:
        live.update(rollout_text.status_view(now), refresh=True)
