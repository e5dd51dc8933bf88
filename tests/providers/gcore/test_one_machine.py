"""A key has one machine at Gcore, although nothing there sees to that: tasks, capacity, quota."""

import asyncio
from datetime import timedelta

import pytest

from devkit.chaos.provider_faults import Call, ProviderFault
from devkit.simulated.parts import OWNER
from relight.providers.driver import (
    MachineConflictError,
    ProviderCapacityError,
    ProviderQuotaError,
    ProviderUnavailableError,
)
from relight.providers.gcore.driver import LATE
from tests.providers.fakes.base import Trap
from tests.providers.fakes.gcore_project import FAILURES, TaskTrap
from tests.providers.gcore.specs import BIG, KEY_1, SMALL, spec

# ---------------------------------------------------------------------- one machine per key


async def test_a_task_that_is_not_done_is_waited_for_and_not_repeated(fake, driver, another):
    fake.waits = timedelta(minutes=5)
    for each in (driver, driver, another):
        with pytest.raises(ProviderUnavailableError, match="is NEW since") as unclear:
            await each.ensure(KEY_1, spec())
        assert unclear.value.retryable
    assert len(fake.posted()) == 1
    fake.advance(fake.waits)
    machine = await another.ensure(KEY_1, spec())
    assert len(fake.posted()) == 1
    assert [machine.provider_id] == [f"76:{each.id}" for each in fake.of(KEY_1)]


@pytest.mark.parametrize("state", ["NEW", "RUNNING", "FINISHED"])
@pytest.mark.parametrize("stale", [False, True])
async def test_a_creation_whose_answer_was_lost_is_found_in_every_state(
    fake, driver, another, state, stale
):
    fake.provider_faults.inject(ProviderFault.REPLY_LOST, Call.CREATE)
    with pytest.raises(ProviderUnavailableError):
        await driver.ensure(KEY_1, spec())
    fake.waits = timedelta(minutes=5) if state == "NEW" else timedelta()
    fake.works = timedelta(minutes=5) if state == "RUNNING" else timedelta()
    fake.settle()
    [task] = fake.tasks.values()
    assert task.state == state
    fake.traps |= {Trap.STALE_LISTING} if stale else set()
    if state == "NEW":
        with pytest.raises(ProviderUnavailableError):
            await another.ensure(KEY_1, spec())
        fake.advance(fake.waits)
    if state == "RUNNING":
        fake.advance(fake.works)
    await another.ensure(KEY_1, spec())
    assert (len(fake.posted()), len(fake.of(KEY_1))) == (1, 1)


async def test_a_task_that_ends_between_two_looks_is_found(fake, driver, another):
    """The listing does not have it yet, and a moment later the task is not pending any more."""
    fake.waits = timedelta(minutes=5)
    with pytest.raises(ProviderUnavailableError):
        await driver.ensure(KEY_1, spec())
    fake.traps.add(Trap.STALE_LISTING)
    fake.advance(fake.waits)
    fake.settle()
    assert (await another.find(KEY_1)) == await another.ensure(KEY_1, spec())
    assert len(fake.posted()) == 1


async def test_a_second_creation_at_once_is_refused(fake, driver):
    answers = await asyncio.gather(
        *(driver.ensure(KEY_1, spec()) for _ in range(5)), return_exceptions=True
    )
    refused = [each for each in answers if isinstance(each, BaseException)]
    assert len(refused) == 4
    assert all(isinstance(each, ProviderUnavailableError) for each in refused)
    assert len(fake.posted()) == 1


async def test_two_machines_of_a_key_are_a_conflict_that_names_both(fake, driver):
    one, two = fake.add(KEY_1), fake.add(KEY_1)
    for call in (driver.find(KEY_1), driver.ensure(KEY_1, spec())):
        with pytest.raises(MachineConflictError) as conflict:
            await call
        assert not conflict.value.retryable
        assert f"76:{one.id}" in str(conflict.value)
        assert f"76:{two.id}" in str(conflict.value)
    assert fake.posted() == []
    keys = [machine.key for machine in (await driver.list()).machines]
    assert keys == [KEY_1, KEY_1]


async def test_names_are_compared_as_a_whole(fake, driver):
    """The API finds a name by any part of it, in any case."""
    fake.add("r-1-g11")
    fake.add("x-r-1-g1")
    fake.add("R-1-G1")
    assert await driver.find(KEY_1) is None
    await driver.ensure(KEY_1, spec())
    assert len(fake.of(KEY_1)) == 1


async def test_a_task_that_does_not_name_its_machine_may_be_ours(fake, driver):
    fake.task_traps.add(TaskTrap.NAMELESS)
    fake.traps.add(Trap.NEVER_STARTS)
    with pytest.raises(ProviderUnavailableError):
        await driver.ensure("r-2-g1", spec())
    with pytest.raises(ProviderUnavailableError, match="does not name its machine"):
        await driver.ensure(KEY_1, spec())
    assert len(fake.posted()) == 1


async def test_a_machine_of_another_owner_that_a_pending_task_makes_is_not_adopted(
    fake, driver, another
):
    fake.waits = timedelta(minutes=5)
    with pytest.raises(ProviderUnavailableError):
        await driver.ensure(KEY_1, spec(owner="another-owner"))
    fake.waits = timedelta()
    fake.works = timedelta()
    with pytest.raises(MachineConflictError, match="another-owner"):
        await another.ensure(KEY_1, spec())
    assert len(fake.posted()) == 1


# ---------------------------------------------------------------------- tasks that never start


async def test_a_task_that_never_starts_is_not_absence_until_it_is_late(fake, driver):
    fake.traps.add(Trap.NEVER_STARTS)
    fake.advance(-LATE / 2)
    with pytest.raises(ProviderUnavailableError):
        await driver.ensure(KEY_1, spec())
    with pytest.raises(ProviderUnavailableError, match="is NEW since"):
        await driver.find(KEY_1)
    [task] = fake.tasks.values()
    task.created -= LATE / 2
    assert await driver.find(KEY_1) is None
    # It may still start: a creation of this key stays refused.
    with pytest.raises(ProviderUnavailableError):
        await driver.ensure(KEY_1, spec())
    assert len(fake.posted()) == 1


async def test_the_machine_of_a_late_task_is_listed_with_our_tags_and_can_be_destroyed(
    fake, driver
):
    fake.traps.add(Trap.NEVER_STARTS)
    fake.advance(-LATE)
    with pytest.raises(ProviderUnavailableError):
        await driver.ensure(KEY_1, spec())
    assert await driver.find(KEY_1) is None
    fake.start_late()
    [late] = (await driver.list()).machines
    assert (late.key, late.owner, late.generation) == (KEY_1, OWNER, 1)
    assert await driver.destroy(late.ref)
    assert fake.bill.running() == []


# ---------------------------------------------------------------------- capacity and quota


@pytest.mark.parametrize("at_once", [False, True])
async def test_without_room_for_a_shape_the_next_one_is_tried(fake, driver, at_once):
    fake.traps.add(Trap.CAPACITY)
    fake.full = {("", SMALL)}
    fake.task_traps |= {TaskTrap.FULL_AT_ONCE} if at_once else set()
    await driver.ensure(KEY_1, spec())
    assert [body["flavor"] for body in fake.posted()] == [SMALL, BIG]
    assert [each.flavor for each in fake.of(KEY_1)] == [BIG]


@pytest.mark.parametrize("at_once", [False, True])
async def test_without_room_for_any_shape_the_words_for_each_are_given(fake, driver, at_once):
    fake.traps.add(Trap.CAPACITY)
    fake.task_traps |= {TaskTrap.FULL_AT_ONCE} if at_once else set()
    with pytest.raises(ProviderCapacityError) as full:
        await driver.ensure(KEY_1, spec())
    words = f"reached the limit of flavor {BIG}" if at_once else FAILURES[Trap.CAPACITY]
    assert words in str(full.value)
    assert SMALL in str(full.value)
    assert fake.bill.entries() == []


async def test_a_shape_that_had_no_room_just_now_is_not_tried_again_by_another_worker(
    fake, driver, another
):
    """A call ends before it has tried every shape: a permit for creations lasts a minute."""
    fake.traps.add(Trap.CAPACITY)
    fake.full = {("", SMALL)}
    fake.provider_faults.inject(ProviderFault.SERVER_ERROR, Call.CREATE)
    with pytest.raises(ProviderUnavailableError):
        await driver.ensure(KEY_1, spec())
    await driver.ensure(KEY_1, spec())
    await driver.destroy((await driver.find(KEY_1)).ref)
    fake.received.clear()
    await another.ensure(KEY_1, spec())
    assert [body["flavor"] for body in fake.posted()] == [BIG]


async def test_a_pending_task_that_finds_no_room_leads_to_the_next_shape(fake, driver, another):
    fake.traps.add(Trap.CAPACITY)
    fake.full = {("", SMALL)}
    fake.works = timedelta(minutes=5)
    with pytest.raises(ProviderUnavailableError):
        await driver.ensure(KEY_1, spec())
    fake.works = timedelta()
    await another.ensure(KEY_1, spec())
    assert [body["flavor"] for body in fake.posted()] == [SMALL, BIG]


@pytest.mark.parametrize("in_task", [False, True])
async def test_a_quota_is_an_error_of_its_own(fake, driver, in_task):
    if in_task:
        fake.task_traps.add(TaskTrap.QUOTA)
    else:
        fake.traps.add(Trap.QUOTA)
    with pytest.raises(ProviderQuotaError, match="Quota limit for volume_size") as refused:
        await driver.ensure(KEY_1, spec())
    assert not refused.value.retryable
    assert len(fake.posted()) == 1


async def test_a_task_that_fails_is_told_in_its_words_and_may_be_tried_again(fake, driver):
    fake.task_traps.add(TaskTrap.FAILS)
    with pytest.raises(ProviderUnavailableError, match="build aborted"):
        await driver.ensure(KEY_1, spec())
    fake.task_traps.clear()
    await driver.ensure(KEY_1, spec())
    assert len(fake.of(KEY_1)) == 1
