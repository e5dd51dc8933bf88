"""What Temporal does by the clock: whatever a server has, `apply` brings it to the table."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
)

from relight.settings import Settings
from starter import schedules
from starter.local.children import wait_until
from tests.starter.operator import Installation

RECONCILE = "relight/reconcile"
STRAYS = ("relight/of-an-older-version", "relight/reconcile-2")
ANOTHERS = "somebody-elses"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, task_queue="schedules", reconcile_every=timedelta(hours=1))


@pytest.fixture(autouse=True)
async def none_is_left(temporal_client: Client) -> AsyncIterator[None]:
    yield
    for schedule_id in (RECONCILE, *STRAYS, ANOTHERS):
        if await schedules._exists(temporal_client, schedule_id):
            await temporal_client.get_schedule_handle(schedule_id).delete()


async def make(client: Client, schedule_id: str) -> None:
    await client.create_schedule(
        schedule_id,
        Schedule(
            action=ScheduleActionStartWorkflow(
                "Nothing", id="nothing", task_queue="nobody-listens"
            ),
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(days=9))]),
        ),
    )

    async def is_listed() -> bool:
        return schedule_id in {each.id async for each in await client.list_schedules()}

    await wait_until(is_listed, timedelta(seconds=10))


async def is_converged(client: Client, settings: Settings) -> bool:
    found = await schedules.seen(client, settings)
    again = await schedules.apply(client, settings)
    ids = [entry.schedule_id for entry in schedules.table(settings)]
    return (
        [each.schedule_id for each in found] == ids
        and all(each.as_declared for each in found)
        and again == schedules.Applied(unchanged=tuple(ids))
    )


async def test_what_is_missing_is_added_once(temporal_client, settings):
    applied = await schedules.apply(temporal_client, settings)
    assert applied == schedules.Applied(added=(RECONCILE,))
    assert await is_converged(temporal_client, settings)


@pytest.mark.parametrize("had_before", [(), (RECONCILE,), STRAYS, (RECONCILE, *STRAYS)])
async def test_whatever_a_server_has_it_comes_to_the_table(temporal_client, settings, had_before):
    for schedule_id in (*had_before, ANOTHERS):
        await make(temporal_client, schedule_id)
    applied = await schedules.apply(temporal_client, settings)
    assert set(applied.removed) == set(had_before) - {RECONCILE}
    assert applied.changed == ((RECONCILE,) if RECONCILE in had_before else ())
    assert await is_converged(temporal_client, settings)
    assert await schedules._exists(temporal_client, ANOTHERS)


@pytest.mark.parametrize(
    "changed",
    [
        {"spec": ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(hours=7))])},
        {"spec": ScheduleSpec(cron_expressions=["0 0 1 1 *"])},
        {"policy": SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL)},
        {"action": ScheduleActionStartWorkflow("Nothing", id="nothing", task_queue="nobody")},
    ],
    ids=["interval", "cron", "overlap", "action"],
)
async def test_what_somebody_changed_is_changed_back(temporal_client, settings, changed):
    await schedules.apply(temporal_client, settings)

    def change(input):
        for name, value in changed.items():
            setattr(input.description.schedule, name, value)
        return ScheduleUpdate(schedule=input.description.schedule)

    await temporal_client.get_schedule_handle(RECONCILE).update(change)
    assert (await schedules.apply(temporal_client, settings)).changed == (RECONCILE,)
    assert await is_converged(temporal_client, settings)


async def test_another_setting_changes_it_and_a_pause_stays(temporal_client, settings):
    await schedules.apply(temporal_client, settings)
    handle = temporal_client.get_schedule_handle(RECONCILE)
    await handle.pause(note="incident 412")
    oftener = settings.model_copy(update={"reconcile_every": timedelta(minutes=30)})
    assert (await schedules.apply(temporal_client, oftener)).changed == (RECONCILE,)
    state = (await handle.describe()).schedule.state
    assert (state.paused, state.note) == (True, "incident 412")


async def test_by_command(installation: Installation):
    relight = installation.relight.where(RELIGHT_RECONCILE_EVERY="PT2H")
    assert (await relight("schedule", "list")).out.startswith("nothing is scheduled")
    applied = await relight("schedule", "apply", "--json")
    assert applied.json == {"added": [RECONCILE], "changed": [], "removed": [], "unchanged": []}
    await asyncio.sleep(0)
    [shown] = (await relight("schedule", "list", "--json")).json
    assert (shown["schedule_id"], shown["every"], shown["as_declared"]) == (
        *(RECONCILE, "PT2H"),
        True,
    )
    assert "2 h" in (await relight("schedule", "list")).out


async def test_a_run_by_the_clock_makes_a_pass(installation: Installation):
    await installation.relight("schedule", "apply")
    handle = installation.harness.client.get_schedule_handle(RECONCILE)
    await handle.trigger()

    async def has_looked() -> bool:
        return "observe_fleet" in installation.harness.interference.ran

    await wait_until(has_looked, timedelta(seconds=30))
    await installation.nothing_runs()
