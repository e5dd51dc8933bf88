"""Linode's own traps, and every documented refusal of create, list and delete."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretBytes, ValidationError

from devkit.chaos.provider_faults import Call, ProviderFault
from devkit.exercised import Against
from relight.domain.machine import MachineAtProvider, MachineRef, MachineStatus
from relight.providers.driver import (
    MachineConflictError,
    MachineSpec,
    ProviderAnswerError,
    ProviderCapacityError,
    ProviderCredentialsError,
    ProviderInvalidError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
    UnknownLocationError,
)
from relight.providers.linode.answers import LinodeInstance, machine_of
from relight.providers.linode.driver import LinodeDriver, LinodeSettings
from relight.providers.locations import SecretFileError
from relight.providers.rate import RateLimits
from tests.providers.fakes.base import Trap
from tests.providers.fakes.bill import Billed
from tests.providers.fakes.linode import TOKEN, TYPES, LinodeFake
from tests.providers.fakes.linode_images import REGIONS, image
from tests.support.exercised import note

KEY = "r-1-g1"
RUN = "8a1b4c62-0000-4000-8000-000000000000"
SPEC = MachineSpec(
    region=REGIONS[0],
    user_data=SecretBytes(b"#cloud-config\n{}\n"),
    owner="us",
    generation=1,
    created_by=RUN,
)


@pytest.fixture
def fake() -> Any:
    fake = LinodeFake()
    with fake.served():
        yield fake


@pytest.fixture
async def driver(fake: LinodeFake, tmp_path: Path) -> AsyncIterator[LinodeDriver]:
    driver = LinodeDriver(fake.settings(tmp_path), RateLimits())
    yield driver
    await driver.close()


def created_bodies(fake: LinodeFake) -> list[dict[str, Any]]:
    return [json.loads(each.body) for each in fake.received if each.method == "POST"]


async def test_the_request_has_tags_user_data_and_the_newest_image(
    fake: LinodeFake, driver: LinodeDriver
):
    fake.images.append(image(107, "other-9"))
    fake.images.append(image(106, "relight-base-9", regions=["eu-central"]))
    await driver.ensure(KEY, SPEC)
    [body] = created_bodies(fake)
    assert base64.b64decode(body["metadata"]["user_data"]).decode() == "#cloud-config\n{}\n"
    assert (body["label"], body["region"], body["type"]) == (KEY, REGIONS[0], TYPES[0])
    assert body["image"] == "private/101"
    assert body["tags"][:3] == ["relight-owner=us", f"relight-key={KEY}", "relight-generation=1"]
    assert len(body["root_pass"]) >= 40


async def test_images_are_listed_once_for_many_creations(fake: LinodeFake, driver: LinodeDriver):
    for number in range(5):
        await driver.ensure(f"r-{number}-g1", SPEC)
    await driver.ensure("r-9-g1", SPEC.model_copy(update={"region": REGIONS[1]}))
    await driver.report()
    assert len([each for each in fake.received if "/images" in each.path]) == 1


async def test_the_root_password_is_another_one_each_time(fake: LinodeFake, driver: LinodeDriver):
    await driver.ensure("r-1-g1", SPEC)
    await driver.ensure("r-2-g1", SPEC)
    first, second = created_bodies(fake)
    assert first["root_pass"] != second["root_pass"]


async def test_a_listing_without_the_new_machine_makes_no_twin(
    fake: LinodeFake, driver: LinodeDriver
):
    first = await driver.ensure(KEY, SPEC)
    fake.traps.add(Trap.STALE_LISTING)
    with pytest.raises(ProviderUnavailableError, match="Label must be unique"):
        await driver.ensure(KEY, SPEC)
    fake.traps.clear()
    assert (await driver.ensure(KEY, SPEC)).provider_id == first.provider_id
    assert len(fake.bill.running()) == 1


async def test_a_machine_listed_twice_is_one_machine(fake: LinodeFake, driver: LinodeDriver):
    fake.traps.add(Trap.DUPLICATE_LISTING)
    first = await driver.ensure(KEY, SPEC)
    found = await driver.find(KEY)
    assert found is not None
    assert found.provider_id == first.provider_id
    assert len((await driver.list()).machines) == 1


async def test_pages_are_read_to_their_end(fake: LinodeFake, driver: LinodeDriver):
    fake.max_page_size = 3
    for number in range(7):
        fake.add(f"r-{number}-g1", region=REGIONS[number % 2])
    listing = await driver.list()
    assert listing.complete
    assert [machine.key for machine in listing.machines] == [f"r-{n}-g1" for n in range(7)]
    assert len((await driver.list(REGIONS[0])).machines) == 4


async def test_a_page_that_lacks_machines_makes_the_listing_incomplete_and_finds_nothing(
    fake: LinodeFake, driver: LinodeDriver
):
    fake.add(KEY)
    fake.traps.add(Trap.TRUNCATED_PAGE)
    assert not (await driver.list()).complete
    with pytest.raises(ProviderAnswerError, match="incomplete"):
        await driver.ensure(KEY, SPEC)
    assert created_bodies(fake) == []


async def test_machines_that_are_deleted_between_pages_make_the_listing_incomplete(
    fake: LinodeFake, driver: LinodeDriver, monkeypatch: pytest.MonkeyPatch
):
    fake.max_page_size = 2
    for number in range(4):
        fake.add(f"r-{number}-g1")
    whole = fake._page

    def page(request: Any, shown: Any) -> Any:
        answer = whole(request, shown)
        for number in list(fake.machines)[:2]:
            del fake.machines[number]  # so there is no second page any more
        return answer

    monkeypatch.setattr(fake, "_page", page)
    listing = await driver.list()
    assert not listing.complete
    assert [machine.key for machine in listing.machines] == ["r-0-g1", "r-1-g1"]


async def test_pages_without_an_end_are_an_error(fake: LinodeFake, driver: LinodeDriver):
    fake.add(KEY)
    fake.traps.add(Trap.ENDLESS_PAGES)
    with pytest.raises(ProviderAnswerError, match="no end"):
        await driver.list()


async def test_a_foreign_machine_with_our_label_is_neither_adopted_nor_doubled(
    fake: LinodeFake, driver: LinodeDriver
):
    fake.add(KEY, tags=["web", "relight-owner", "relight-generation=x"])
    with pytest.raises(MachineConflictError, match="owner is unknown"):
        await driver.ensure(KEY, SPEC)
    assert created_bodies(fake) == []


async def test_another_shape_is_taken_where_one_has_no_room(fake: LinodeFake, driver: LinodeDriver):
    fake.traps.add(Trap.CAPACITY)
    fake.full = {("", TYPES[0])}
    await driver.ensure(KEY, SPEC)
    assert [body["type"] for body in created_bodies(fake)] == list(TYPES)
    fake.full = set()
    with pytest.raises(ProviderCapacityError, match="No open slots"):
        await driver.ensure("r-2-g1", SPEC)
    assert len(fake.bill.running()) == 1


async def test_a_rate_limit_stops_later_calls_of_its_kind_alone(
    fake: LinodeFake, driver: LinodeDriver
):
    fake.retry_after = timedelta(minutes=2)
    fake.provider_faults.inject(ProviderFault.TOO_MANY_REQUESTS, Call.CREATE)
    for _ in range(2):
        with pytest.raises(ProviderRateLimitedError) as refused:
            await driver.ensure(KEY, SPEC)
        assert refused.value.retry_after is not None
        assert refused.value.retry_after > timedelta(seconds=110)
    assert len(created_bodies(fake)) == 1
    assert (await driver.list()).complete


async def test_a_deletion_leaves_nothing_on_the_bill(fake: LinodeFake, driver: LinodeDriver):
    machine = await driver.ensure(KEY, SPEC)
    assert await driver.destroy(machine.ref)
    assert (await driver.get(machine.provider_id)) is not None  # it is still deleting
    assert (await driver.get(machine.provider_id)) is None
    assert fake.bill.running() == []
    assert [entry.kind for entry in fake.bill.entries(KEY)] == [Billed.MACHINE]


async def test_a_location_that_is_not_configured_is_refused_before_any_request(
    fake: LinodeFake, driver: LinodeDriver
):
    with pytest.raises(UnknownLocationError, match="eu-central, us-east"):
        await driver.ensure(KEY, SPEC.model_copy(update={"region": "nowhere"}))
    assert fake.received == []


async def test_user_data_that_does_not_fit_is_refused_before_any_request(
    fake: LinodeFake, driver: LinodeDriver
):
    large = SPEC.model_copy(update={"user_data": SecretBytes(("x" * 65_536).encode())})
    with pytest.raises(ProviderInvalidError, match="leave out files of the service"):
        await driver.ensure(KEY, large)
    assert fake.received == []


async def test_without_an_image_in_the_region_nothing_is_created(
    fake: LinodeFake, driver: LinodeDriver
):
    fake.images = [image(1, "relight-base-1", regions=["eu-central"])]
    with pytest.raises(ProviderInvalidError) as refused:
        await driver.ensure(KEY, SPEC)
    assert "no image relight-base-* with cloud-init in us-east" in str(refused.value)
    assert created_bodies(fake) == []


async def test_subnet_and_firewall_are_in_the_request(fake: LinodeFake, tmp_path: Path):
    location = {
        "shapes": [TYPES[0]],
        "image": "private/100",
        "subnet": "12",
        "extra": {"firewall_id": 9},
    }
    settings = fake.settings(tmp_path, locations={REGIONS[0]: location})
    driver = LinodeDriver(settings, RateLimits())
    await driver.ensure(KEY, SPEC)
    await driver.close()
    [body] = created_bodies(fake)
    assert body["interfaces"] == [
        {"purpose": "public", "primary": True},
        {"purpose": "vpc", "subnet_id": 12},
    ]
    assert body["firewall_id"] == 9


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"zones": ["a"]}, "Linode has no zones"),
        ({"extra": {"group": "x"}}, "extra has group"),
        ({"subnet": "vpc-1"}, "the number of a VPC's subnet"),
    ],
)
def test_a_location_that_linode_cannot_have_is_refused(
    tmp_path: Path, change: dict[str, Any], text: str
):
    location = {"shapes": ["g6-nanode-1"], "image": "linode/debian12"} | change
    with pytest.raises(ValidationError, match=text):
        LinodeSettings.model_validate({"token_file": tmp_path, "locations": {"us-east": location}})


async def test_a_token_that_is_not_accepted_is_not_shown(fake: LinodeFake, tmp_path: Path):
    settings = fake.settings(tmp_path)
    settings.token_file.write_text("another-token")
    driver = LinodeDriver(settings)
    with pytest.raises(ProviderCredentialsError) as refused:
        await driver.list()
    await driver.close()
    assert "another-token" not in str(refused.value)
    assert "Invalid Token" in str(refused.value)


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_a_token_file_without_a_token_is_named(
    fake: LinodeFake, tmp_path: Path, content: str | None
):
    settings = fake.settings(tmp_path)
    settings.token_file.unlink()
    if content is not None:
        settings.token_file.write_text(content)
    with pytest.raises(SecretFileError, match="linode-token"):
        LinodeDriver(settings)


def shown(fake: LinodeFake, **fields: Any) -> MachineAtProvider:
    entry = fake.add("r-9-g1").shown() | fields
    return machine_of(LinodeInstance.model_validate(entry), "linode", "amd64")


STATUSES: dict[str, MachineStatus] = {
    "running": MachineStatus.RUNNING,
    "deleting": MachineStatus.DELETING,
    "shutting_down": MachineStatus.FAILED,
    "billing_suspension": MachineStatus.FAILED,
    **dict.fromkeys(
        (
            *("booting", "rebooting", "provisioning", "migrating", "rebuilding", "cloning"),
            *("restoring", "stopped", "resizing", "a new one"),
        ),
        MachineStatus.PROVISIONING,
    ),
}


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_is_read(status: str):
    assert shown(LinodeFake(), status=status).status is STATUSES[status]


def test_a_new_machine_may_be_offline_before_its_boot_and_an_old_one_is_off():
    fake = LinodeFake()
    assert shown(fake, status="offline").status is MachineStatus.PROVISIONING
    old = shown(fake, status="offline", created="2026-01-01T00:00:00")
    assert old.status is MachineStatus.FAILED


def test_the_address_is_the_public_one():
    fake = LinodeFake()
    assert shown(fake, ipv4=["192.168.200.1", "203.0.113.9"]).address == "203.0.113.9"
    assert shown(fake, ipv4=["192.168.200.1"]).address is None


@pytest.mark.parametrize("provider_id", ["no-such-id", "", "²", "../profile", "1" * 400])
async def test_an_id_that_is_none_of_linodes_is_absent(
    fake: LinodeFake, driver: LinodeDriver, provider_id: str
):
    assert await driver.get(provider_id) is None
    ref = MachineRef(key=KEY, provider="linode", provider_id=provider_id)
    assert await driver.destroy(ref) is False
    assert not [each for each in fake.received if each.method == "DELETE"]


async def test_the_report_names_rights_images_and_limits(fake: LinodeFake, driver: LinodeDriver):
    report = await driver.report()
    assert report.account == "relight"
    note("linode", "report", Against.FAKE)
    assert report.rights == ("images:read_write", "linodes:read_write")
    assert [(each.name, each.image) for each in report.regions] == [
        ("eu-central", "private/101"),
        ("us-east", "private/101"),
    ]
    assert all(each.problems == () for each in report.regions)
    assert report.limits == {"requests (X-RateLimit-Limit)": "800"}
    assert report.problems == ()


async def test_the_report_names_what_is_missing(fake: LinodeFake, tmp_path: Path):
    location = {"shapes": ["g9-none"], "image": "private/9"}
    locations = {"nowhere": location, REGIONS[0]: {**location, "image": "private/100"}}
    fake.restricted = True
    fake.images[0]["capabilities"] = []
    driver = LinodeDriver(fake.settings(tmp_path, locations=locations), RateLimits())
    report = await driver.report()
    await driver.close()
    assert "restricted" in report.problems[0]
    nowhere, east = report.regions
    assert nowhere.problems == (
        "Linode has no such region",
        "there is no shape g9-none",
        "there is no image private/9 with cloud-init for it",
    )
    assert east.image is None
    assert east.problems[-1] == "there is no image private/100 with cloud-init for it"


CALLS: dict[str, Callable[[LinodeDriver], Any]] = {
    "list": lambda driver: driver.list(),
    "find": lambda driver: driver.find(KEY),
    "ensure": lambda driver: driver.ensure(KEY, SPEC),
}


@pytest.mark.parametrize("call", CALLS)
async def test_without_permission_nothing_is_concluded(
    fake: LinodeFake, driver: LinodeDriver, call: str
):
    fake.traps.add(Trap.NO_PERMISSION)
    with pytest.raises(ProviderCredentialsError, match="Unauthorized"):
        await CALLS[call](driver)


async def test_the_token_is_sent(fake: LinodeFake, driver: LinodeDriver):
    await driver.list()
    assert fake.received[0].headers["authorization"] == f"Bearer {TOKEN}"
