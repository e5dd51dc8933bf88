"""Rollouts as commands speak to them: started, found, followed, steered."""

import asyncio
from datetime import timedelta

from rich.live import Live
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from messages.base import Origin
from messages.names import ReleaseTag, ScopeName, rollout_workflow_id, scope_track
from messages.rollout import (
    RolloutPhase,
    RolloutPlan,
    RolloutReleaseInput,
    RolloutStatus,
    Steer,
)
from starter.cli import rollout_text
from starter.cli.errors import BadInputError, OperationFailedError, RefusedError
from starter.cli.operations import cli_error, failure_fault, require_worker
from starter.cli.output import note, print_json, print_json_line, print_line, stderr
from workflows import search_attributes
from workflows.failures import fault_of
from workflows.rollout_release import RolloutRelease

LOOK_EVERY = timedelta(milliseconds=500)
ANSWER_WITHIN = timedelta(seconds=10)

ENDS = frozenset({RolloutPhase.CONVERGED, RolloutPhase.STOPPED, RolloutPhase.ABORTED})

Handle = WorkflowHandle[RolloutRelease, RolloutStatus]


async def start(
    client: Client, task_queue: str, input: RolloutReleaseInput, *, wait: bool, as_json: bool
) -> None:
    """Start a rollout, and say what it will do; with `wait`, see it to its end.

    Raises:
        CliError: it was refused, or did not converge.
    """
    await require_worker(client, task_queue)
    handle, plan = await _start(client, task_queue, input)
    if not wait:
        if as_json:
            print_json({"workflow_id": handle.id, "plan": plan})
        else:
            print_line(rollout_text.plan_text(plan))
            print_line(f"started: {handle.id}; follow it with `relight rollout watch`")
        return
    if not as_json:
        note(rollout_text.plan_text(plan))
    await _follow(handle, as_json=as_json)


async def _start(
    client: Client, task_queue: str, input: RolloutReleaseInput
) -> tuple[Handle, RolloutPlan]:
    workflow_id = rollout_workflow_id(input.release_tag, input.scope)
    operation = WithStartWorkflowOperation(
        RolloutRelease.run,
        input,
        id=workflow_id,
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        task_queue=task_queue,
        search_attributes=search_attributes.attributes(
            {
                search_attributes.ROLLOUT: workflow_id,
                search_attributes.RELEASE: input.release_tag,
                search_attributes.TRACK: scope_track(input.scope),
            }
        ),
        static_summary=f"roll out {input.release_tag} over {input.scope}",
        static_details=f"Asked for by {input.origin.requested_by}: {input.origin.reason}",
    )
    try:
        plan = await client.execute_update_with_start_workflow(
            RolloutRelease.planned, start_workflow_operation=operation
        )
    except WorkflowAlreadyStartedError:
        msg = (
            f"{workflow_id} runs already: follow it with `relight rollout watch "
            f"{input.release_tag}`"
        )
        raise RefusedError(msg) from None
    except WorkflowUpdateFailedError as error:
        raise cli_error(fault_of(error.cause)) from None
    return await operation.workflow_handle(), plan


async def show(client: Client, tag: ReleaseTag | None, scope: ScopeName, *, as_json: bool) -> None:
    """Print where a rollout stands.

    Raises:
        CliError: there is none, or no worker answers for it.
    """
    handle = await _find(client, tag, scope)
    try:
        status = await handle.query(RolloutRelease.status, rpc_timeout=ANSWER_WITHIN)
    except RPCError as error:
        raise _no_answer(handle, error) from error
    if as_json:
        print_json(status)
    else:
        rollout_text.print_status(status)


async def watch(client: Client, tag: ReleaseTag | None, scope: ScopeName, *, as_json: bool) -> None:
    """Follow a rollout to its end.

    Raises:
        CliError: there is none, or it did not converge.
    """
    await _follow(await _find(client, tag, scope), as_json=as_json)


async def steer(
    client: Client,
    action: str,
    tag: ReleaseTag | None,
    scope: ScopeName,
    origin: Origin,
    *,
    as_json: bool,
) -> None:
    """Pause, resume or abort a rollout.

    Raises:
        CliError: there is none, or it cannot be steered so now.
    """
    update = {
        "pause": RolloutRelease.pause,
        "resume": RolloutRelease.resume,
        "abort": RolloutRelease.abort,
    }[action]
    handle = await _find(client, tag, scope)
    try:
        status = await handle.execute_update(update, Steer(origin=origin))
    except WorkflowUpdateFailedError as error:
        raise RefusedError(f"{handle.id}: {fault_of(error.cause).summary}") from None
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            msg = f"{handle.id} has ended already"
            raise RefusedError(msg) from None
        raise _no_answer(handle, error) from error
    if as_json:
        print_json(status)
    else:
        rollout_text.print_status(status)


async def _find(client: Client, tag: ReleaseTag | None, scope: ScopeName) -> Handle:
    """Return a rollout's newest run; without a tag, the newest rollout of the scope."""
    if tag is None:
        tag = await _newest_tag(client, scope)
    handle = client.get_workflow_handle_for(RolloutRelease.run, rollout_workflow_id(tag, scope))
    try:
        await handle.describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        msg = f"there is no rollout of {tag} over {scope}"
        raise BadInputError(msg) from None
    return handle


async def _newest_tag(client: Client, scope: ScopeName) -> ReleaseTag:
    # The server lists the newest first.
    async for execution in client.list_workflows("WorkflowType = 'RolloutRelease'"):
        prefix, tag, found_scope = execution.id.split("/", 2)
        if prefix == "rollout" and found_scope == scope:
            return tag
    msg = f"there has been no rollout over {scope}"
    raise BadInputError(msg)


async def _follow(handle: Handle, *, as_json: bool) -> None:
    shown: RolloutStatus | None = None
    silent = False
    with Live(console=stderr, transient=True, auto_refresh=False) as live:
        while shown is None or shown.phase not in ENDS:
            try:
                status = await handle.query(RolloutRelease.status, rpc_timeout=ANSWER_WITHIN)
            except (RPCError, WorkflowQueryFailedError) as error:
                if not silent:
                    note(f"{handle.id}: no worker answers for now ({error}); it loses nothing")
                silent = True
                continue
            silent = False
            if status != shown:
                _show_change(shown, status, live, as_json=as_json)
                shown = status
            await asyncio.sleep(LOOK_EVERY.total_seconds())
    try:
        ended = await handle.result()
    except WorkflowFailureError as error:
        raise cli_error(failure_fault(error)) from None
    if not as_json:
        rollout_text.print_status(ended)
    if ended.phase is not RolloutPhase.CONVERGED:
        raise OperationFailedError(rollout_text.conclusion(ended))


def _show_change(
    before: RolloutStatus | None, now: RolloutStatus, live: Live, *, as_json: bool
) -> None:
    if as_json:
        print_json_line(now)
        return
    for line in rollout_text.changes(before, now):
        note(line)
    if stderr.is_terminal:
        live.update(rollout_text.board(now), refresh=True)


def _no_answer(handle: Handle, error: RPCError) -> RefusedError:
    return RefusedError(f"no worker answers for {handle.id} ({error.message})")
