"""Starts, finds, follows and controls rollout workflows."""

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from relight.domain.duration import span
from relight.domain.names import scope_track
from relight.domain.rollout.answer import ENDED_PHASES, answer_of, arguments_of
from relight.domain.rollout.rollout import (
    ControlInput,
    RolloutPhase,
    RolloutPlan,
    RolloutReleaseInput,
    RolloutStanding,
    RolloutStatus,
)
from relight.engine import search_attributes
from relight.engine.executions import first_run_id
from starter.cli import rollout_text
from starter.cli.errors import (
    BadInputError,
    OperationFailedError,
    RefusedError,
)
from starter.cli.operations import (
    ANSWER_WITHIN,
    cli_error,
    require_worker,
)
from starter.cli.output import (
    note,
    print_json,
    print_line,
)
from starter.cli.rollout_control_text import control_text
from starter.cli.rollout_name import RolloutName
from starter.cli.rollout_waits import waits_of
from starter.cli.rollout_watch import follow, recorded
from starter.cli.waiting import Patience, within
from workflows.failures import fault_of
from workflows.rollout.rollout import RolloutRelease

POLL_EVERY = timedelta(milliseconds=500)
CONTROL_WITHIN = timedelta(seconds=30)

_ENDING = ENDED_PHASES | {RolloutPhase.ROLLING_BACK}
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
    client: Client,
    task_queue: str,
    input: RolloutReleaseInput,
    patience: Patience,
    *,
    as_json: bool,
) -> None:
    """Start a rollout and print its plan; if that is wanted, follow it until it ends.

    Raises:
        CliError: it was refused, or did not converge while it was followed.
    """
    await require_worker(client, task_queue)
    name = _name_of(input)
    ran_already = await _joins_running(client, name)
    handle, plan = await _start(client, task_queue, input)
    if patience.waits:
        if not as_json:
            note(rollout_text.plan_text(plan))
        # One that was joined may have continued as new since it started.
        run_id = first_run_id(await handle.describe())
        await _follow_within(patience, name, client, handle, run_id, as_json=as_json)
    elif as_json:
        print_json({"workflow_id": handle.id, "plan": plan, "ran_already": ran_already})
    else:
        print_line(rollout_text.plan_text(plan))
        state = "it is already running" if ran_already else "started"
        print_line(f"{state}; follow it with `relight rollout watch {name.arguments}`")


async def show(client: Client, name: RolloutName, *, as_json: bool) -> None:
    """Print the status of a rollout.

    Raises:
        CliError: it does not exist.
    """
    found = await _find(client, name)
    _show(found.status, as_json=as_json)
    if not as_json:
        for each in await _notes(client, found):
            print_line(each)


async def why(client: Client, name: RolloutName, *, as_json: bool) -> None:
    """Print what a rollout waits for, since when and until when, its failed hosts, what to do.

    Raises:
        CliError: it does not exist.
    """
    found = await _find(client, name)
    answer, waits = answer_of(found.status), await _notes(client, found)
    waited = rollout_text.waited(answer, datetime.now(UTC))
    if as_json:
        print_json(
            {
                "workflow_id": found.handle.id,
                "why": answer.sentence,
                **answer.model_dump(mode="json"),
                "waited_seconds": None if waited is None else round(waited.total_seconds()),
                "waits": waits,
            }
        )
        return
    for line in (*rollout_text.answer_lines(answer, waited), *waits):
        print_line(line)


async def watch(client: Client, name: RolloutName, patience: Patience, *, as_json: bool) -> None:
    """Follow a rollout until it ends.

    Raises:
        CliError: it does not exist, or did not converge.
    """
    found = await _find(client, name)
    await _follow_within(patience, name, client, found.handle, found.run_id, as_json=as_json)


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
    found = await _find(client, name)
    handle = found.handle
    takes_back = (
        ""
        if name.image
        else (f", `relight rollout undo {name.arguments}` takes back what it has changed")
    )
    ended = RefusedError(
        f"cannot {action} {handle.id}: it has ended; `relight rollout status {name.arguments}` "
        f"shows how{takes_back}"
    )
    if not found.is_running:
        raise ended
    await require_worker(client, task_queue)
    try:
        async with asyncio.timeout(CONTROL_WITHIN.total_seconds()):
            await handle.execute_update(UPDATES[action], input)
    except WorkflowUpdateFailedError as error:
        instead = _instead(recorded(found.run_id) or found.status, name)
        msg = f"{handle.id}: {fault_of(error.cause).summary}; {instead}"
        raise RefusedError(msg) from None
    except TimeoutError:
        msg = (
            f"no worker accepted `{action}` for {handle.id} within "
            f"{span(CONTROL_WITHIN)}; it may still: see `relight rollout status`"
        )
        raise OperationFailedError(msg) from None
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise ended from None
        raise
    status = recorded(found.run_id) or found.status
    if as_json:
        print_json(status)
        return
    for line in control_text(action, input, status, name.arguments):
        print_line(line)


def _instead(status: RolloutStatus, name: RolloutName) -> str:
    """Return what to type instead of a control that a rollout refuses."""
    if status.phase is RolloutPhase.PAUSED:
        return f"`relight rollout resume {name.arguments}` continues it"
    return f"`relight rollout why {name.arguments}` shows what it waits for"


async def _joins_running(client: Client, name: RolloutName) -> bool:
    """Return whether a start joins this rollout's running one. One that is ending is awaited."""
    with contextlib.suppress(BadInputError):
        found = await _find(client, name)
        if not found.is_running:
            return False
        if found.status.phase not in _ENDING:
            return True
        ending = f"is ending, {found.status.phase}: {found.status.detail}"
        note(f"{found.handle.id} {ending}; the new one starts after it")
        for each in await _notes(client, found):
            note(each)
        with contextlib.suppress(WorkflowFailureError):
            await found.handle.result()
    return False


async def _start(
    client: Client, task_queue: str, input: RolloutReleaseInput
) -> tuple[Handle, RolloutPlan]:
    name = _name_of(input)
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
        static_summary=f"{_deed(input)} over {input.scope}",
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


def _name_of(input: RolloutReleaseInput) -> RolloutName:
    return RolloutName(input.release_tag, input.scope, undo=input.undo, image=input.image_name)


def _deed(input: RolloutReleaseInput) -> str:
    if input.image_name:
        return f"replace machines by image {input.image_name}"
    return f"{'undo' if input.undo else 'roll out'} {input.release_tag}"


class _Found(NamedTuple):
    """A rollout that was found.

    Attributes:
        handle: of its newest run.
        run_id: its identity: the id of its first run.
        status: as the store has it; of one that has not claimed its scope yet, as it says itself.
        is_running: whether its workflow runs.
    """

    handle: Handle
    run_id: str
    status: RolloutStatus
    is_running: bool


async def _find(client: Client, name: RolloutName) -> _Found:
    """Return the rollout of this name that is running, else its newest recorded one.

    One that was refused is not recorded, so it does not hide the one before.
    """
    handle = client.get_workflow_handle_for(RolloutRelease.run, name.workflow_id)
    running_id: str | None = None
    try:
        description = await handle.describe()
        if description.status is WorkflowExecutionStatus.RUNNING:
            running_id = first_run_id(description)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    if running_id is not None:
        status = recorded(running_id) or await _preparing(handle, name)
        return _Found(handle, running_id, status, is_running=True)
    newest = recorded(name.run_id) if name.run_id is not None else None
    if name.run_id is None or newest is None:
        msg = f"there is no rollout of {name.image or name.tag} over {name.scope}"
        if scope_track(name.scope) is None:
            msg += "; for the rollout of a track, add --track"
        raise BadInputError(msg)
    ended = client.get_workflow_handle_for(RolloutRelease.run, handle.id, run_id=name.run_id)
    return _Found(ended, name.run_id, newest, is_running=False)


async def _preparing(handle: Handle, name: RolloutName) -> RolloutStatus:
    """Return the status of a rollout that has not claimed its scope yet: nothing is recorded."""
    try:
        standing = await handle.query(RolloutRelease.standing, rpc_timeout=ANSWER_WITHIN)
    except (RPCError, WorkflowQueryFailedError) as error:
        detail = f"it has not claimed its scope yet, and no worker answers ({error.message})"
        standing = RolloutStanding(
            phase=RolloutPhase.PREPARING, detail=detail, since=datetime.now(UTC)
        )
    return RolloutStatus(
        release_tag=name.tag,
        scope=name.scope,
        routes=(),
        undo=name.undo,
        image_name=name.image,
        **dict(standing),
    )


async def _notes(client: Client, found: _Found) -> tuple[str, ...]:
    """Return what other operations hold the rollout up, or that nothing runs it any more."""
    if found.is_running:
        return await waits_of(client, found.handle.id, found.status)
    if found.status.phase in ENDED_PHASES:
        return ()
    of = arguments_of(found.status)
    undo, start, image = (
        f"relight rollout undo {of}",
        f"relight rollout start {of}",
        f"relight rollout image {of}",
    )
    again = image if found.status.image_name else undo if found.status.undo else start
    return (f"its workflow was ended from outside: `{again}` continues",)


async def _follow_within(
    patience: Patience,
    name: RolloutName,
    client: Client,
    handle: Handle,
    run_id: str,
    *,
    as_json: bool,
) -> None:
    following = follow(client, handle, run_id, as_json=as_json)
    await within(patience, following, handle.id, f"relight rollout watch {name.arguments}")


def _show(status: RolloutStatus, *, as_json: bool) -> None:
    if as_json:
        print_json(status)
    else:
        rollout_text.print_status(status)
