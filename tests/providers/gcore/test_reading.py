"""What the driver reads at Gcore: status and absence, and listings in pages."""

from dataclasses import replace

import pytest

from relight.domain.machine import MachineStatus
from relight.providers.driver import ProviderAnswerError, ProviderError
from relight.providers.gcore.driver import GcoreDriver
from tests.providers.fakes.base import Trap
from tests.providers.gcore.specs import KEY_1, spec

# ---------------------------------------------------------------------- status and absence


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("ACTIVE", MachineStatus.RUNNING),
        ("BUILD", MachineStatus.PROVISIONING),
        ("REBOOT", MachineStatus.PROVISIONING),
        ("UNKNOWN", MachineStatus.PROVISIONING),
        ("SOFT_DELETED", MachineStatus.DELETING),
        ("ERROR", MachineStatus.FAILED),
        ("SHUTOFF", MachineStatus.FAILED),
        ("SHELVED_OFFLOADED", MachineStatus.FAILED),
        ("A-NEW-ONE", MachineStatus.PROVISIONING),
        ("DELETED", None),
    ],
)
async def test_a_status_is_read_and_only_deleted_is_gone(fake, driver, status, expected):
    machine = await driver.ensure(KEY_1, spec())
    fake.of(KEY_1)[0].status = status
    found = await driver.find(KEY_1)
    assert (found.status if found else None) is expected
    assert (await driver.get(machine.provider_id)) == found
    assert list((await driver.list()).machines) == ([found] if found else [])


async def test_a_machine_that_starts_failed_is_adopted_as_failed(fake, driver):
    fake.traps.add(Trap.STARTS_FAILED)
    for _ in range(2):
        assert (await driver.ensure(KEY_1, spec())).status is MachineStatus.FAILED
    assert len(fake.posted()) == 1


async def test_the_address_is_a_public_one(fake, driver):
    machine = await driver.ensure(KEY_1, spec())
    [instance] = fake.of(KEY_1)
    private = {"addr": "10.0.0.7", "type": "fixed", "interface_name": None}
    public = {"addr": "8.8.4.4", "type": "fixed", "interface_name": None}
    public_6 = {"addr": "2001:4860:4860::8888", "type": "fixed", "interface_name": None}
    floating = {"addr": "92.38.157.215", "type": "floating"}
    for addresses, expected in (
        ([private], "10.0.0.7"),
        ([private, public_6], "2001:4860:4860::8888"),
        ([private, public_6, public], "8.8.4.4"),
        ([private, public, floating], "92.38.157.215"),
        ([], None),
    ):
        instance.addresses = {"a": addresses[:1], "b": addresses[1:]}
        found = await driver.get(machine.provider_id)
        assert found is not None
        assert found.address == expected


@pytest.mark.parametrize("settings", [{"project_id": 12}, {"url": "/nowhere"}])
async def test_what_a_wrong_project_or_address_does_not_have_is_not_absent(
    fake, driver, tmp_path, settings
):
    machine = await driver.ensure(KEY_1, spec())
    url = fake.url + settings.pop("url", "")
    wrong = GcoreDriver(fake.settings(tmp_path, url=url, **settings))
    calls = {
        "find": wrong.find(KEY_1),
        "get": wrong.get(machine.provider_id),
        "list": wrong.list(),
        "ensure": wrong.ensure(KEY_1, spec()),
    }
    for name, call in calls.items():
        with pytest.raises(ProviderError):
            pytest.fail(f"{name}: {await call}")
    await wrong.close()


async def test_an_id_of_a_region_that_is_not_configured_is_not_absent(fake, driver):
    with pytest.raises(ProviderError, match="region_id 77"):
        await driver.get(f"77:{fake.new_id()}")
    assert await driver.get(f"76:{fake.new_id()}") is None
    assert await driver.get(fake.new_id()) is None
    assert await driver.get("76:../../tasks") is None


# ---------------------------------------------------------------------- listings


async def test_a_listing_has_several_pages(fake, driver):
    first = fake.add("i-0")
    for number in range(1, 1001):
        fake.instances[f"i-{number}"] = replace(first, id=f"i-{number}", name=f"i-{number}")
    listing = await driver.list("luxembourg-2")
    assert {each.key for each in listing.machines} == {f"i-{number}" for number in range(1001)}
    assert listing.complete
    offsets = [each.path.partition("offset=")[2] for each in fake.received]
    # A page begins with the last one of the page before.
    assert offsets == ["0", "999"]


async def test_a_machine_that_moves_to_a_page_already_read_means_no_absence(
    fake, driver, monkeypatch
):
    """As many are created as are deleted meanwhile: the total says nothing."""
    first = fake.add("i-0")
    for number in range(1, 1001):
        fake.instances[f"i-{number}"] = replace(first, id=f"i-{number}", name=f"i-{number}")
    whole = fake.page

    def page(*asked, **options):
        answer = whole(*asked, **options)
        if first.id in fake.instances:
            del fake.instances[first.id]
            fake.add("i-1001")
        return answer

    monkeypatch.setattr(fake, "page", page)
    listing = await driver.list("luxembourg-2")
    assert not listing.complete or "i-1000" in {each.key for each in listing.machines}
    # The next listing is not disturbed.
    listing = await driver.list("luxembourg-2")
    assert listing.complete
    assert {each.key for each in listing.machines} == {f"i-{n}" for n in range(1, 1002)}


async def test_each_region_is_listed_once(fake, driver):
    await driver.ensure(KEY_1, spec())
    await driver.ensure("r-2-g1", spec(region="frankfurt-2"))
    machines = (await driver.list()).machines
    assert [(each.key, each.region, each.architecture) for each in machines] == [
        (KEY_1, "luxembourg-2", "amd64"),
        ("r-2-g1", "frankfurt-2", "arm64"),
    ]
    fake.received.clear()
    [machine] = (await driver.list("frankfurt-2")).machines
    assert machine.key == "r-2-g1"
    assert len(fake.received) == 1


async def test_a_machine_that_is_listed_twice_is_one(fake, driver):
    fake.traps.add(Trap.DUPLICATE_LISTING)
    machine = await driver.ensure(KEY_1, spec())
    assert await driver.find(KEY_1) == machine
    assert (await driver.list()).machines == (machine,)


async def test_a_page_with_too_few_loses_none(fake, driver):
    for name in ("r-1-g1", "r-2-g1", "r-3-g1"):
        await driver.ensure(name, spec())
    fake.traps.add(Trap.TRUNCATED_PAGE)
    listing = await driver.list()
    assert len(listing.machines) == 3
    assert listing.complete


async def test_a_page_that_is_always_too_short_means_no_absence(fake, driver, monkeypatch):
    fake.add("r-1-g11")
    monkeypatch.setattr(fake, "page", lambda *_, **__: {"count": 1, "results": []})
    assert not (await driver.list()).complete
    for call in (driver.find(KEY_1), driver.ensure(KEY_1, spec())):
        with pytest.raises(ProviderAnswerError):
            await call
    assert fake.posted() == []


async def test_pages_without_an_end_are_an_error(fake, driver, monkeypatch):
    monkeypatch.setattr("relight.providers.pages.MAX_PAGES", 20)
    fake.add("r-2-g1")
    fake.traps.add(Trap.ENDLESS_PAGES)
    with pytest.raises(ProviderAnswerError, match="20 pages"):
        await driver.list()


async def test_an_entry_that_is_not_understood_is_neither_absent_nor_present(fake, driver):
    await driver.ensure("r-2-g1", spec())
    broken = fake.add(KEY_1)
    broken.addresses = {"pub_net": [{"addr": "evil.example; reboot", "type": "fixed"}]}
    listing = await driver.list()
    assert [each.key for each in listing.machines] == ["r-2-g1"]
    assert not listing.complete
    for call in (driver.find(KEY_1), driver.ensure(KEY_1, spec())):
        with pytest.raises(ProviderAnswerError):
            await call
