"""The Temporal schedules of Relight: declared in one table, applied to a server.

`apply` is idempotent: it adds missing schedules, changes differing ones, and removes those that
have our prefix and are not in the table. A paused schedule stays paused.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from relight.domain.base import Message, Origin
from relight.domain.liveness import LIVENESS_WORKFLOW_ID, CheckLivenessInput
from relight.domain.reconcile.run import RECONCILE_WORKFLOW_ID, ReconcileFleetInput
from relight.domain.retention import PRUNE_WORKFLOW_ID, PruneStoreInput
from relight.engine.encryption import key_name
from relight.settings import Settings
from workflows.fleet.liveness import CheckLiveness
from workflows.fleet.prune import PruneStore
from workflows.fleet.reconcile import ReconcileFleet

PREFIX = "relight/"
"""The prefix of our schedules' ids. Other schedules of the namespace are not touched."""


PRUNE_EVERY = timedelta(days=1)


@dataclass(frozen=True)
class DeclaredSchedule:
    """One entry of the table.

    Attributes:
        schedule_id: with the prefix.
        every: its interval.
        jitter: the maximum random delay of each start, so that not all start at once.
        workflow: the workflow's run method.
        workflow_id: the id of its workflows; Temporal appends the time of the start.
        input: the workflow's input.
        summary: what the Temporal UI shows beside its workflows.
        only_observes: it changes nothing on a host or at a provider.
    """

    schedule_id: str
    every: timedelta
    jitter: timedelta
    workflow: Callable[..., Awaitable[object]]
    workflow_id: str
    input: Message
    summary: str
    only_observes: bool = False


class Applied(Message):
    """What `apply` did, by schedule id."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()


class ScheduleStatus(Message):
    """A schedule as the server has it.

    Attributes:
        every: its interval; None if it has none.
        as_declared: whether it equals its entry in the table.
        next_at: its next start; None if there is none.
    """

    schedule_id: str
    every: timedelta | None
    paused: bool
    as_declared: bool
    next_at: datetime | None


def table(settings: Settings) -> tuple[DeclaredSchedule, ...]:
    """Return the declared schedules."""
    every = settings.reconcile_every
    return (
        DeclaredSchedule(
            schedule_id=f"{PREFIX}reconcile",
            every=every,
            jitter=every / 10,
            workflow=ReconcileFleet.run,
            workflow_id=RECONCILE_WORKFLOW_ID,
            input=reconcile_input(
                settings,
                Origin(
                    requested_by=f"schedule {PREFIX}reconcile", reason="scheduled reconcile run"
                ),
            ),
            summary="scheduled reconcile run",
        ),
        DeclaredSchedule(
            schedule_id=f"{PREFIX}prune-store",
            every=PRUNE_EVERY,
            jitter=PRUNE_EVERY / 10,
            workflow=PruneStore.run,
            workflow_id=PRUNE_WORKFLOW_ID,
            input=PruneStoreInput(
                older_than=settings.store_retention,
                origin=Origin(requested_by=f"schedule {PREFIX}prune-store", reason="retention"),
            ),
            summary="scheduled prune of the store",
        ),
        DeclaredSchedule(
            schedule_id=f"{PREFIX}check-liveness",
            every=settings.liveness.every,
            # Not more: two checks in a row may not be two minutes apart.
            jitter=timedelta(seconds=1),
            workflow=CheckLiveness.run,
            workflow_id=LIVENESS_WORKFLOW_ID,
            input=CheckLivenessInput(
                origin=Origin(requested_by=f"schedule {PREFIX}check-liveness", reason="liveness")
            ),
            summary="scheduled liveness check",
            only_observes=True,
        ),
    )


def reconcile_input(
    settings: Settings, origin: Origin, *, dry_run: bool = False
) -> ReconcileFleetInput:
    """Return the input of a reconcile run, manual or scheduled, from the settings.

    Args:
        settings: the settings with its policy and limits.
        origin: the requester and the reason.
        dry_run: only plan; write nothing.
    """
    return ReconcileFleetInput(
        origin=origin,
        policy=settings.reconcile,
        limits=settings.breaker,
        grace=settings.sweep_grace,
        dry_run=dry_run,
    )


async def apply(client: Client, settings: Settings, *, only_observing: bool = False) -> Applied:
    """Make the server's schedules equal to the table.

    Args:
        client: of the server.
        settings: the intervals, and the inputs of the workflows.
        only_observing: apply the entries that only observe, and leave all other schedules alone.
    """
    entries = {entry.schedule_id: entry for entry in table(settings)}
    known = await _existing(client, entries)
    if only_observing:
        entries = {name: entry for name, entry in entries.items() if entry.only_observes}
        known &= entries.keys()
    done: dict[str, list[str]] = {"added": [], "changed": [], "removed": [], "unchanged": []}
    for schedule_id, entry in sorted(entries.items()):
        declared = _schedule(entry, settings.task_queue)
        if schedule_id not in known:
            await client.create_schedule(schedule_id, declared)
            done["added"].append(schedule_id)
        elif await _is_as_declared(client, schedule_id, declared):
            done["unchanged"].append(schedule_id)
        else:
            await _change(client, schedule_id, declared)
            done["changed"].append(schedule_id)
    for schedule_id in sorted(known - entries.keys()):
        await client.get_schedule_handle(schedule_id).delete()
        done["removed"].append(schedule_id)
    return Applied.model_validate(done)


async def list_schedules(client: Client, settings: Settings) -> Sequence[ScheduleStatus]:
    """Return the schedules with our prefix, ordered by id."""
    entries = {entry.schedule_id: entry for entry in table(settings)}
    found = []
    for schedule_id in sorted(await _existing(client, entries)):
        description = await client.get_schedule_handle(schedule_id).describe()
        schedule, entry = description.schedule, entries.get(schedule_id)
        declared = _schedule(entry, settings.task_queue) if entry else None
        intervals = schedule.spec.intervals
        found.append(
            ScheduleStatus(
                schedule_id=schedule_id,
                every=intervals[0].every if intervals else None,
                paused=schedule.state.paused,
                as_declared=declared is not None
                and await _is_as_declared(client, schedule_id, declared),
                next_at=next(iter(description.info.next_action_times), None),
            )
        )
    return found


async def _existing(client: Client, declared: Iterable[str]) -> set[str]:
    """Return the ids of our schedules on the server. Its list lags, so each id is checked."""
    listed = {each.id async for each in await client.list_schedules()}
    ours = {*declared, *(each for each in listed if each.startswith(PREFIX))}
    return {each for each in ours if await _exists(client, each)}


async def _exists(client: Client, schedule_id: str) -> bool:
    try:
        await client.get_schedule_handle(schedule_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


def _schedule(entry: DeclaredSchedule, task_queue: str) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            entry.workflow,
            entry.input,
            id=entry.workflow_id,
            task_queue=task_queue,
            static_summary=entry.summary,
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=entry.every)], jitter=entry.jitter),
        policy=SchedulePolicy(
            overlap=ScheduleOverlapPolicy.SKIP,
            # Missed runs are not caught up: the next run does everything anyway.
            catchup_window=timedelta(minutes=1),
        ),
    )


async def _is_as_declared(client: Client, schedule_id: str, declared: Schedule) -> bool:
    actual = (await client.get_schedule_handle(schedule_id).describe()).schedule
    return await _declared_properties(client, actual) == await _declared_properties(
        client, declared
    )


async def _declared_properties(client: Client, schedule: Schedule) -> tuple[object, ...]:
    """Return the properties of a schedule that the table declares."""
    action = schedule.action
    assert isinstance(action, ScheduleActionStartWorkflow)
    spec = schedule.spec
    only_intervals = not (spec.calendars or spec.cron_expressions or spec.skip or spec.start_at)
    return (
        action.workflow,
        action.id,
        action.task_queue,
        await _readable(client, action.args),
        [each.every for each in spec.intervals],
        spec.jitter,
        only_intervals and spec.end_at is None,
        schedule.policy.overlap,
        schedule.policy.catchup_window,
    )


async def _readable(client: Client, args: Sequence[object]) -> list[tuple[str | None, bytes]]:
    """Return arguments as payload data, each with the name of the key that encrypts it.

    Each encryption gives other bytes. With another key the schedule is written again: it may live
    longer than the key.
    """
    read = []
    for arg in args:
        # Those that were read from a server are payloads already.
        known = [arg] if isinstance(arg, Payload) else await client.data_converter.encode([arg])
        [payload], codec = known, client.data_converter.payload_codec
        [plain] = await codec.decode([payload]) if codec else [payload]
        read.append((key_name(payload), plain.data))
    return read


async def _change(client: Client, schedule_id: str, declared: Schedule) -> None:
    def changed(input: ScheduleUpdateInput) -> ScheduleUpdate:
        before = input.description.schedule.state
        declared.state = ScheduleState(note=before.note, paused=before.paused)
        return ScheduleUpdate(schedule=declared)

    await client.get_schedule_handle(schedule_id).update(changed)
