"""Relight's Temporal schedules: `apply` makes any server equal to the declared table."""

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
from tests.starter.installation import Installation

LIVENESS, RECONCILE, PRUNE = "relight/check-liveness", "relight/reconcile", "relight/prune-store"
DECLARED = (LIVENESS, PRUNE, RECONCILE)
STRAYS = ("relight/of-an-older-version", "relight/reconcile-2")
FOREIGN = "of-somebody-else"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, task_queue="schedules", reconcile_every=timedelta(hours=1))


@pytest.fixture(autouse=True)
async def remove_schedules(temporal_client: Client) -> AsyncIterator[None]:
    yield
    for schedule_id in (*DECLARED, *STRAYS, FOREIGN):
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
    found = await schedules.list_schedules(client, settings)
    again = await schedules.apply(client, settings)
    ids = sorted(entry.schedule_id for entry in schedules.table(settings))
    return (
        [each.schedule_id for each in found] == ids
        and all(each.as_declared for each in found)
        and again == schedules.Applied(unchanged=tuple(ids))
    )


async def test_a_missing_schedule_is_added_once(temporal_client, settings):
    applied = await schedules.apply(temporal_client, settings)
    assert applied == schedules.Applied(added=DECLARED)
    assert await is_converged(temporal_client, settings)


@pytest.mark.parametrize("existing", [(), (RECONCILE,), STRAYS, (RECONCILE, *STRAYS)])
async def test_any_server_becomes_equal_to_the_table(temporal_client, settings, existing):
    for schedule_id in (*existing, FOREIGN):
        await make(temporal_client, schedule_id)
    applied = await schedules.apply(temporal_client, settings)
    assert set(applied.removed) == set(existing) - {RECONCILE}
    assert applied.changed == ((RECONCILE,) if RECONCILE in existing else ())
    assert await is_converged(temporal_client, settings)
    assert await schedules._exists(temporal_client, FOREIGN)


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
async def test_a_changed_schedule_is_changed_back(temporal_client, settings, changed):
    await schedules.apply(temporal_client, settings)

    def change(input):
        for name, value in changed.items():
            setattr(input.description.schedule, name, value)
        return ScheduleUpdate(schedule=input.description.schedule)

    await temporal_client.get_schedule_handle(RECONCILE).update(change)
    assert (await schedules.apply(temporal_client, settings)).changed == (RECONCILE,)
    assert await is_converged(temporal_client, settings)


async def test_another_setting_changes_a_schedule_and_keeps_its_pause(temporal_client, settings):
    await schedules.apply(temporal_client, settings)
    handle = temporal_client.get_schedule_handle(RECONCILE)
    await handle.pause(note="incident 412")
    more_often = settings.model_copy(update={"reconcile_every": timedelta(minutes=30)})
    assert (await schedules.apply(temporal_client, more_often)).changed == (RECONCILE,)
    state = (await handle.describe()).schedule.state
    assert (state.paused, state.note) == (True, "incident 412")


async def test_schedules_are_applied_and_listed_by_command(installation: Installation):
    relight = installation.relight.where(RELIGHT_RECONCILE_EVERY="PT2H")
    assert (await relight("schedule", "list")).out.startswith("no schedules yet")
    applied = await relight("schedule", "apply", "--json")
    assert applied.json == {"added": [*DECLARED], "changed": [], "removed": [], "unchanged": []}
    checking, pruning, shown = (await relight("schedule", "list", "--json")).json
    assert (checking["schedule_id"], checking["every"]) == (LIVENESS, "PT1M")
    assert (pruning["schedule_id"], pruning["every"]) == (PRUNE, "P1D")
    assert (shown["schedule_id"], shown["every"], shown["as_declared"]) == (
        *(RECONCILE, "PT2H"),
        True,
    )
    assert "2 h" in (await relight("schedule", "list")).out


async def test_a_scheduled_start_makes_a_reconcile_run(installation: Installation):
    await installation.relight("schedule", "apply")
    handle = installation.harness.client.get_schedule_handle(RECONCILE)
    await handle.trigger()

    async def has_observed() -> bool:
        return "observe_fleet" in installation.harness.interference.ran

    await wait_until(has_observed, timedelta(seconds=30))
    await installation.nothing_runs()


async def test_a_scheduled_liveness_check_probes_the_machines(installation: Installation):
    [route_id] = await installation.provision(1)
    await installation.relight("schedule", "apply")
    await installation.harness.client.get_schedule_handle(LIVENESS).trigger()

    async def checked() -> bool:
        check = await asyncio.to_thread(installation.harness.store.liveness.last_check)
        return check is not None and check.machines == 1

    await wait_until(checked, timedelta(seconds=30))
    await installation.nothing_runs()
    assert "liveness" not in (await installation.relight("route", "show", route_id)).out


async def test_only_what_observes_is_applied_and_the_others_stay_as_they_are(
    temporal_client, settings
):
    stray = STRAYS[0]
    await make(temporal_client, stray)
    applied = await schedules.apply(temporal_client, settings, only_observing=True)
    assert applied == schedules.Applied(added=(LIVENESS,))
    assert await schedules._exists(temporal_client, stray)
    await schedules.apply(temporal_client, settings)
    again = await schedules.apply(temporal_client, settings, only_observing=True)
    assert again == schedules.Applied(unchanged=(LIVENESS,))
    assert await schedules._exists(temporal_client, RECONCILE)


async def test_two_checks_in_a_row_begin_less_than_two_minutes_apart(settings):
    [check] = [each for each in schedules.table(settings) if each.schedule_id == LIVENESS]
    assert check.every == timedelta(minutes=1)
    assert check.jitter <= timedelta(seconds=5)
