"""Base images at Oracle Cloud: imported by each region, with a token, and fitted to shapes."""

import json

import pytest

from devkit.chaos.provider_faults import Call, ProviderFault
from devkit.simulated.images import ImageTrap
from devkit.simulated.parts import OWNER
from relight.domain.image.image import ImageStatus, StagedDisk
from relight.providers.driver import (
    ProviderCredentialsError,
    ProviderError,
    ProviderInvalidError,
    ProviderUnavailableError,
    UnknownLocationError,
)
from relight.providers.image_driver import DiskFile, ImageSpec
from relight.providers.oci.driver import OciDriver
from relight.staging_settings import StagingSettings
from tests.providers.fakes.oci_account import FIXED, FLEX, FRANKFURT, PHOENIX
from tests.providers.fakes.oci_images import NAMESPACE
from tests.providers.oci.machines import KEY, spec
from tests.support.image_clouds import manifest

NAME = "relight-base-0.0.74-amd64"
SPEC = ImageSpec(manifest(NAME), FRANKFURT, OWNER)
DISK = StagedDisk("bucket", "relight-staging/us/disk.qcow2", "https://bucket.example.com/?signed")


def creations(fake):
    return [
        each for each in fake.received if each.method == "POST" and each.path.endswith("/images")
    ]


async def imported(driver, of=SPEC):
    made = await driver.import_image(of, DISK)
    for _ in range(3):
        made = await driver.image(made) or made
    assert made.status is ImageStatus.AVAILABLE
    return made


async def test_an_import_names_the_object_without_a_signature_and_the_fleet(fake, driver):
    await driver.import_image(SPEC, DISK)
    [request] = creations(fake)
    body = json.loads(request.body)
    source = body["imageSourceDetails"]
    path = f"/n/{NAMESPACE}/b/bucket/o/relight-staging%2Fus%2Fdisk.qcow2"
    assert source["sourceUri"].endswith(path)
    assert "signed" not in source["sourceUri"]
    assert (source["sourceImageType"], source["operatingSystem"]) == ("QCOW2", "Debian")
    assert (source["operatingSystemVersion"], body["launchMode"]) == ("12", "PARAVIRTUALIZED")
    assert body["freeformTags"]["relight-owner"] == OWNER
    assert body["compartmentId"] == fake.compartment
    assert len(request.headers["opc-retry-token"]) == 64


async def test_an_image_that_is_deleted_is_not_fitted_to_shapes_before(fake, driver):
    made = await imported(driver)
    fake.received.clear()
    assert await driver.delete_image(made)
    assert [(each.method, "/shapes" in each.path) for each in fake.received] == [
        ("GET", False),
        ("DELETE", False),
    ]


async def test_images_of_a_region_without_a_location_are_listed_and_deleted(fake, driver, tmp_path):
    made = await imported(driver)
    locations = dict(fake.settings(tmp_path).locations)
    del locations[FRANKFURT]
    left = OciDriver(fake.settings(tmp_path).model_copy(update={"locations": locations}))
    assert (await left.images(FRANKFURT, NAME)).images == (made,)
    assert await left.image(made) == made
    with pytest.raises(UnknownLocationError, match=FRANKFURT):
        await left.import_image(SPEC, DISK)
    with pytest.raises(UnknownLocationError, match="no name of a region"):
        await left.images("evil.example/")
    assert await left.delete_image(made)
    assert (await left.images(FRANKFURT, NAME)).images == ()
    await left.close()


async def test_every_region_imports_from_the_region_of_the_object_storage(fake, tmp_path):
    staging = StagingSettings.model_validate(
        {
            "url": "https://ns.compat.objectstorage.eu-frankfurt-1.oraclecloud.com",
            "region": FRANKFURT,
            "bucket": "relight-staging",
            "key_id": "a-key",
            "secret_file": tmp_path / "secret",
            "sets_expiry": False,
        }
    )
    settings = fake.settings(tmp_path).model_copy(update={"staging": staging})
    driver = type(fake.driver(tmp_path))(settings, now=fake.now)
    for region in (FRANKFURT, PHOENIX):
        await driver.import_image(SPEC._replace(region=region), DISK)
    sources = {json.loads(each.body)["imageSourceDetails"]["sourceUri"] for each in creations(fake)}
    assert len(sources) == 1
    assert f"/{FRANKFURT}/storage/" in next(iter(sources))
    await driver.close()


async def test_a_second_creation_with_the_same_token_makes_nothing(fake, driver, monkeypatch):
    """The second run has looked before the first ordered it."""
    listing = await driver.images(FRANKFURT)

    async def stale(region, prefix=""):
        return listing.model_copy(update={"images": ()})

    monkeypatch.setattr(driver, "images", stale)
    first = await driver.import_image(SPEC, DISK)
    second = await driver.import_image(SPEC, DISK)
    assert second.image_id == first.image_id
    assert len(creations(fake)) == 2
    assert fake.images_named(NAME) == 1


async def test_an_image_that_was_deleted_is_made_again_with_the_next_token(fake, driver):
    ids = []
    for _ in range(3):
        made = await imported(driver)
        assert await driver.delete_image(made)
        ids.append(made.image_id)
    assert len(set(ids)) == 3


async def test_too_many_ends_within_a_day_are_told(fake, driver):
    for _ in range(5):
        assert await driver.delete_image(await imported(driver))
    with pytest.raises(ProviderError, match="within a day") as refused:
        await driver.import_image(SPEC, DISK)
    assert not refused.value.retryable


async def test_an_available_image_boots_on_all_shapes_of_its_location(fake, driver):
    made = await imported(driver)
    assert {FIXED, FLEX} <= set(fake.images[made.image_id].shapes)
    puts = [each.path for each in fake.received if each.method == "PUT"]
    await driver.image(made)
    assert [each.path for each in fake.received if each.method == "PUT"] == puts
    machine = await driver.ensure(KEY, spec(image=made.image_id))
    assert await driver.image_of(machine.provider_id) == made.image_id


async def test_a_failed_import_says_what_its_work_request_does(fake, driver):
    fake.image_traps.add(ImageTrap.FAILS)
    made = await driver.import_image(SPEC, DISK)
    for _ in range(3):
        failed = await driver.image(made)
    assert failed is not None
    assert failed.status is ImageStatus.FAILED
    assert "The disk could not be read" in failed.words
    assert (await driver.images(FRANKFURT, NAME)).images == ()


async def test_an_import_that_is_under_way_is_deleted_once_it_has_ended(fake, driver):
    fake.image_traps.add(ImageTrap.NEVER_STARTS)
    made = await driver.import_image(SPEC, DISK)
    with pytest.raises(ProviderUnavailableError, match="IncorrectState") as refused:
        await driver.delete_image(made)
    assert refused.value.retryable
    fake.image_traps.clear()
    for _ in range(3):
        await driver.image(made)
    assert await driver.delete_image(made)


async def test_images_that_the_vendor_offers_to_all_are_not_listed(fake, driver):
    offered = fake.add_image(FRANKFURT, "Oracle-Linux-9", (FLEX,))
    fake.images[offered].is_platform = True
    assert offered not in [each.image_id for each in (await driver.images(FRANKFURT)).images]


async def test_a_404_is_absence_only_if_the_listing_says_so_too(fake, driver):
    made = await imported(driver)
    fake.forbidden.add("get_image")
    with pytest.raises(ProviderCredentialsError):
        await driver.image(made)
    fake.forbidden.clear()
    assert await driver.delete_image(made)
    assert await driver.image(made) is None
    assert await driver.delete_image(made) is False


async def test_a_right_to_delete_that_is_missing_is_no_success(fake, driver):
    made = await imported(driver)
    fake.forbidden.add("delete_image")
    with pytest.raises(ProviderCredentialsError):
        await driver.delete_image(made)
    assert fake.images_named(NAME) == 1


async def test_a_disk_of_the_worker_and_a_copy_are_refused(driver, tmp_path):
    with pytest.raises(ProviderInvalidError, match="staged"):
        await driver.import_image(SPEC, DiskFile(tmp_path / "disk.qcow2", print))
    with pytest.raises(ProviderInvalidError, match="import the disk"):
        await driver.copy_image(SPEC._replace(region=PHOENIX), await imported(driver))


async def test_a_lost_answer_to_a_creation_is_found_again(fake, driver):
    fake.image_faults.inject(ProviderFault.REPLY_LOST, Call.CREATE)
    with pytest.raises(ProviderUnavailableError):
        await driver.import_image(SPEC, DISK)
    await imported(driver)
    assert fake.images_named(NAME) == 1
