"""What Temporal does for us by the clock: one table, and how a server is brought to it.

`apply` may be called again and again: it adds what is missing, changes what differs, and removes
what bears our prefix and is not in the table. A schedule that somebody paused stays paused.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

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
from relight.domain.reconcile.run import RECONCILE_WORKFLOW_ID, ReconcileFleetInput
from relight.settings import Settings
from workflows.fleet.reconcile import ReconcileFleet

PREFIX = "relight/"
"""What the ids of our schedules begin with. Whatever else a namespace has is left alone."""


@dataclass(frozen=True)
class Entry:
    """One line of the table.

    Attributes:
        schedule_id: beginning with the prefix.
        every: how often it begins.
        jitter: within how long after that, so that not all begins in the same moment.
        workflow_id: what its runs are called, with their time behind it.
        asked: what the workflow is given.
    """

    schedule_id: str
    every: timedelta
    jitter: timedelta
    workflow_id: str
    asked: ReconcileFleetInput


class Applied(Message):
    """What was done to bring a server to the table, by the schedules' ids."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()


class ScheduleSeen(Message):
    """A schedule as the server has it.

    Attributes:
        as_declared: it is what the table says.
        next_at: when it begins next.
    """

    schedule_id: str
    every: timedelta | None
    paused: bool
    as_declared: bool
    next_at: datetime | None


def table(settings: Settings) -> tuple[Entry, ...]:
    """Return what should be done by the clock."""
    every = settings.reconcile_every
    return (
        Entry(
            schedule_id=f"{PREFIX}reconcile",
            every=every,
            jitter=every / 10,
            workflow_id=RECONCILE_WORKFLOW_ID,
            asked=reconcile_input(
                settings,
                Origin(requested_by=f"schedule {PREFIX}reconcile", reason="it is time for a pass"),
            ),
        ),
    )


async def apply(client: Client, settings: Settings) -> Applied:
    """Bring the server's schedules to the table."""
    entries = {entry.schedule_id: entry for entry in table(settings)}
    known = await _ours(client, entries)
    done: dict[str, list[str]] = {"added": [], "changed": [], "removed": [], "unchanged": []}
    for schedule_id, entry in sorted(entries.items()):
        wanted = _schedule(entry, settings.task_queue)
        if schedule_id not in known:
            await client.create_schedule(schedule_id, wanted)
            done["added"].append(schedule_id)
        elif await _is_as_declared(client, schedule_id, wanted):
            done["unchanged"].append(schedule_id)
        else:
            await _change(client, schedule_id, wanted)
            done["changed"].append(schedule_id)
    for schedule_id in sorted(known - entries.keys()):
        await client.get_schedule_handle(schedule_id).delete()
        done["removed"].append(schedule_id)
    return Applied.model_validate(done)


async def seen(client: Client, settings: Settings) -> Sequence[ScheduleSeen]:
    """Return the schedules that bear our prefix, by id."""
    entries = {entry.schedule_id: entry for entry in table(settings)}
    found = []
    for schedule_id in sorted(await _ours(client, entries)):
        description = await client.get_schedule_handle(schedule_id).describe()
        schedule, entry = description.schedule, entries.get(schedule_id)
        wanted = _schedule(entry, settings.task_queue) if entry else None
        intervals = schedule.spec.intervals
        found.append(
            ScheduleSeen(
                schedule_id=schedule_id,
                every=intervals[0].every if intervals else None,
                paused=schedule.state.paused,
                as_declared=wanted is not None
                and await _is_as_declared(client, schedule_id, wanted),
                next_at=next(iter(description.info.next_action_times), None),
            )
        )
    return found


async def _ours(client: Client, named: Iterable[str]) -> set[str]:
    """Return the ids of our schedules that are there; the server's list of them lags behind."""
    listed = {each.id async for each in await client.list_schedules()}
    ours = {*named, *(each for each in listed if each.startswith(PREFIX))}
    return {each for each in ours if await _exists(client, each)}


async def _exists(client: Client, schedule_id: str) -> bool:
    try:
        await client.get_schedule_handle(schedule_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


def _schedule(entry: Entry, task_queue: str) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            ReconcileFleet.run,
            entry.asked,
            id=entry.workflow_id,
            task_queue=task_queue,
            static_summary="a pass of reconciliation, by the clock",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=entry.every)], jitter=entry.jitter),
        policy=SchedulePolicy(
            overlap=ScheduleOverlapPolicy.SKIP,
            # What was missed while nobody was there is not made up for: the next pass sees it all.
            catchup_window=timedelta(minutes=1),
        ),
    )


async def _is_as_declared(client: Client, schedule_id: str, wanted: Schedule) -> bool:
    has = (await client.get_schedule_handle(schedule_id).describe()).schedule
    return await _facts(client, has) == await _facts(client, wanted)


async def _facts(client: Client, schedule: Schedule) -> tuple[object, ...]:
    """Return what of a schedule the table says."""
    action = schedule.action
    assert isinstance(action, ScheduleActionStartWorkflow)
    spec = schedule.spec
    plain = not (spec.calendars or spec.cron_expressions or spec.skip or spec.start_at)
    return (
        action.workflow,
        action.id,
        action.task_queue,
        await _encoded(client, action.args),
        [each.every for each in spec.intervals],
        spec.jitter,
        plain and spec.end_at is None,
        schedule.policy.overlap,
        schedule.policy.catchup_window,
    )


async def _encoded(client: Client, args: Sequence[object]) -> list[bytes]:
    """Return arguments as they are sent; those of a schedule that was read still are."""
    data = []
    for arg in args:
        sent = getattr(arg, "data", None)
        if sent is None:
            [payload] = await client.data_converter.encode([arg])
            sent = payload.data
        data.append(sent)
    return data


async def _change(client: Client, schedule_id: str, wanted: Schedule) -> None:
    def changed(input: ScheduleUpdateInput) -> ScheduleUpdate:
        before = input.description.schedule.state
        wanted.state = ScheduleState(note=before.note, paused=before.paused)
        return ScheduleUpdate(schedule=wanted)

    await client.get_schedule_handle(schedule_id).update(changed)


def reconcile_input(
    settings: Settings, origin: Origin, *, dry_run: bool = False
) -> ReconcileFleetInput:
    """Return what a pass is asked by this installation's settings.

    Args:
        settings: whose limits it keeps.
        origin: who asks.
        dry_run: only say what would be done.
    """
    return ReconcileFleetInput(
        origin=origin,
        policy=settings.reconcile,
        limits=settings.breaker,
        grace=settings.sweep_grace,
        dry_run=dry_run,
    )


# MERGEDOC """What every pass of reconciliation is asked, be it by hand or by the clock."""
