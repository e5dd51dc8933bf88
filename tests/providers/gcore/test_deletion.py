"""A machine at Gcore is deleted by a task, and its volumes go along."""

from datetime import timedelta

import pytest

from devkit.chaos.provider_faults import Call, ProviderFault
from relight.domain.machine import MachineStatus
from relight.providers.driver import ProviderUnavailableError
from relight.providers.tags import KEY
from tests.providers.fakes.base import Trap
from tests.providers.fakes.bill import Billed
from tests.providers.fakes.gcore_project import TaskTrap
from tests.providers.gcore.specs import KEY_1, spec

# ---------------------------------------------------------------------- volumes


async def test_the_boot_volume_of_a_failed_creation_is_deleted(fake, driver):
    fake.task_traps.add(TaskTrap.FAILS_WITH_VOLUME)
    with pytest.raises(ProviderUnavailableError, match="build aborted"):
        await driver.ensure(KEY_1, spec())
    assert [each.kind for each in fake.bill.entries()] == [Billed.VOLUME]
    assert fake.bill.running() == []


async def test_the_boot_volume_of_a_failed_creation_is_deleted_by_the_next_worker(
    fake, driver, another
):
    """The first one was killed before it did so."""
    fake.task_traps.add(TaskTrap.FAILS_WITH_VOLUME)
    fake.works = timedelta(minutes=5)
    with pytest.raises(ProviderUnavailableError):
        await driver.ensure(KEY_1, spec())
    fake.advance(fake.works)
    fake.settle()
    assert [each.kind for each in fake.bill.running()] == [Billed.VOLUME]
    fake.works = timedelta()
    fake.task_traps.clear()
    machine = await another.ensure(KEY_1, spec())
    [instance], [volume] = fake.of(KEY_1), fake.volumes.values()
    assert machine.provider_id == f"76:{instance.id}"
    assert volume.instance == instance.id


async def test_a_volume_whose_deletion_is_accepted_and_not_done_is_deleted_again(fake, driver):
    fake.task_traps.add(TaskTrap.FAILS_WITH_VOLUME)
    fake.provider_faults.inject(ProviderFault.ACCEPTED_NOT_DONE, Call.DESTROY)
    with pytest.raises(ProviderUnavailableError, match="build aborted"):
        await driver.ensure(KEY_1, spec())
    assert fake.bill.running() == []
    fake.provider_faults.inject(ProviderFault.ACCEPTED_NOT_DONE, Call.DESTROY, times=3)
    with pytest.raises(ProviderUnavailableError, match="of an earlier attempt are left"):
        await driver.ensure(KEY_1, spec())


async def test_a_volume_that_a_listing_lacks_is_not_taken_for_deleted(fake, driver):
    fake.task_traps.add(TaskTrap.FAILS_WITH_VOLUME)
    fake.traps.add(Trap.TRUNCATED_PAGE)
    with pytest.raises(ProviderUnavailableError, match="not complete"):
        await driver.ensure(KEY_1, spec())
    fake.traps.clear()
    fake.task_traps.clear()
    await driver.ensure(KEY_1, spec())
    assert sorted(each.kind for each in fake.bill.running()) == [Billed.MACHINE, Billed.VOLUME]


async def test_volumes_go_with_their_machine_whether_they_are_marked_or_not(fake, driver):
    marked = await driver.ensure("r-2-g1", spec())
    fake.task_traps.add(TaskTrap.NOT_ON_TERMINATION)
    kept = await driver.ensure(KEY_1, spec())
    for machine in (marked, kept):
        assert await driver.destroy(machine.ref)
    fake.settle()
    assert (fake.volumes, fake.bill.running()) == ({}, [])
    named = [each.path for each in fake.received if each.method == "DELETE"]
    assert all("volumes=" in path for path in named)


async def test_a_volume_that_somebody_attached_stays(fake, driver):
    machine = await driver.ensure(KEY_1, spec())
    other = await driver.ensure("r-2-g1", spec())
    [volume] = [v for v in fake.volumes.values() if v.name == "r-2-g1"]
    volume.delete_on_termination = False
    await driver.destroy(other.ref)
    fake.settle()
    data = fake.add("data")
    [attached] = [v for v in fake.volumes.values() if v.instance == data.id]
    attached.instance = fake.of(KEY_1)[0].id
    await driver.destroy(machine.ref)
    fake.settle()
    assert [each.id for each in fake.volumes.values()] == [attached.id]


async def test_a_volume_of_another_fleet_with_the_same_key_stays(fake, driver, another):
    """Two control planes share the project: each has a route r-1."""
    foreign = fake.add(KEY_1, **{KEY: KEY_1, "relight-owner": "another-owner"})
    [volume] = fake.volumes.values()
    volume.tags, volume.instance = dict(foreign.tags), None
    fake.task_traps.add(TaskTrap.FAILS_WITH_VOLUME)
    del fake.instances[foreign.id]
    with pytest.raises(ProviderUnavailableError):
        await driver.ensure(KEY_1, spec())
    fake.settle()
    assert list(fake.volumes) == [volume.id]


async def test_the_bill_of_a_machine_and_its_volume_is_as_long_as_it_was_there(fake, driver):
    machine = await driver.ensure(KEY_1, spec())
    fake.advance(timedelta(hours=3))
    await driver.destroy(machine.ref)
    fake.settle()
    entries = fake.bill.entries(KEY_1)
    assert {each.kind for each in entries} == {Billed.MACHINE, Billed.VOLUME}
    for each in entries:
        assert each.until is not None
        assert each.until - each.since >= timedelta(hours=3)
    assert fake.bill.running() == []


# ---------------------------------------------------------------------- deletion


async def test_a_deletion_that_is_under_way_is_waited_for_and_not_repeated(fake, driver):
    machine = await driver.ensure(KEY_1, spec())
    fake.works = timedelta(minutes=5)
    for _ in range(3):
        assert await driver.destroy(machine.ref)
    found = await driver.find(KEY_1)
    assert found is not None
    assert found.status is MachineStatus.DELETING
    assert [each.method for each in fake.received].count("DELETE") == 1
    fake.advance(fake.works)
    assert not await driver.destroy(machine.ref)
    assert await driver.find(KEY_1) is None


async def test_a_deletion_whose_task_fails_is_told_in_its_words_and_repeated(fake, driver):
    machine = await driver.ensure(KEY_1, spec())
    fake.task_traps.add(TaskTrap.DELETION_FAILS)
    with pytest.raises(ProviderUnavailableError, match="Port could not be unbound"):
        await driver.destroy(machine.ref)
    assert await driver.find(KEY_1) is not None
    fake.task_traps.clear()
    assert await driver.destroy(machine.ref)
    assert await driver.find(KEY_1) is None


async def test_a_deletion_whose_task_ends_and_does_nothing_is_repeated(fake, driver):
    machine = await driver.ensure(KEY_1, spec())
    fake.task_traps.add(TaskTrap.NOT_DELETED)
    assert await driver.destroy(machine.ref)
    assert await driver.find(KEY_1) is not None
    fake.task_traps.clear()
    assert await driver.destroy(machine.ref)
    assert await driver.find(KEY_1) is None


async def test_a_machine_that_another_task_holds_is_not_deleted_and_tried_again(fake, driver):
    machine = await driver.ensure(KEY_1, spec())
    [instance] = fake.of(KEY_1)
    [task] = fake.tasks.values()
    task.type, task.state, task.never_starts = "resize_vm", "NEW", True
    instance.task = task.id
    with pytest.raises(ProviderUnavailableError, match=r"ConflictError.*is locked"):
        await driver.destroy(machine.ref)
    assert len(fake.of(KEY_1)) == 1
