"""Base images at Gcore: tasks that wait, fail, hide what they make, and images that are kept."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from devkit.simulated.images import ImageTrap
from devkit.simulated.parts import OWNER
from relight.domain.image.image import ImageAtProvider, ImageRef, ImageStatus, Visibility
from relight.providers.driver import (
    ProviderAnswerError,
    ProviderError,
    ProviderInvalidError,
    ProviderUnavailableError,
    UnknownLocationError,
)
from relight.providers.gcore.driver import GcoreDriver
from relight.providers.image_driver import DiskFile, ImageInUseError, ImageSpec, StagedDisk
from tests.providers.fakes.base import Trap
from tests.providers.fakes.gcore import FakeGcore
from tests.providers.fakes.gcore_project import TaskTrap
from tests.providers.fakes.gcore_state import PROJECT, Image
from tests.support.image_clouds import manifest

REGION = FakeGcore.region
NAME = "contract-0.0.74-amd64"
URL = "https://bucket.example.com/disk.qcow2?X-Signature=5e7a9c"
DISK = StagedDisk("bucket", "disk.qcow2", URL)


def spec(name: str = NAME, region: str = REGION, architecture: str = "amd64") -> ImageSpec:
    return ImageSpec(manifest(name, architecture=architecture), region, OWNER)


def imports(fake: FakeGcore) -> list[Any]:
    return [each for each in fake.received if "/downloadimage/" in each.path]


async def ended(driver: GcoreDriver, begun: ImageRef) -> ImageAtProvider:
    for _ in range(4):
        found = await driver.image(begun)
        assert found is not None
        if found.status in {ImageStatus.AVAILABLE, ImageStatus.FAILED}:
            return found
    raise AssertionError(f"{begun.image_id} did not end")


async def test_the_seventh_import_waits_and_is_given_up_after_ten_minutes(fake, driver):
    fake.import_works = {76: timedelta(minutes=75)}
    begun = [await driver.import_image(spec(f"contract-{each}"), DISK) for each in range(7)]
    statuses = [found.status for each in begun if (found := await driver.image(each))]
    assert statuses == [ImageStatus.IMPORTING] * 6 + [ImageStatus.WAITING]
    fake.advance(driver.image_limits.start_within)
    last = await driver.image(begun[6])
    assert last is not None
    assert (last.name, last.status) == ("contract-6", ImageStatus.FAILED)
    assert len(fake.imports_reaped) == 1
    fake.advance(timedelta(minutes=65))
    for each in begun[:6]:
        assert (await ended(driver, each)).status is ImageStatus.AVAILABLE
    again = await driver.import_image(spec("contract-6"), DISK)
    assert again.image_id != begun[6].image_id
    fake.advance(timedelta(minutes=1))
    assert (await driver.images(REGION, "contract-6")).images[0].status is ImageStatus.IMPORTING


async def test_the_whole_task_that_failed_is_kept_but_the_url_of_the_disk(fake, driver):
    fake.failing_imports.add(76)
    failed = await ended(driver, await driver.import_image(spec(), DISK))
    assert "could not be downloaded from https://bucket.example.com/disk.qcow2?..." in failed.words
    for kept in ('"user_id": 3', '"state": "ERROR"', '"task_type": "download_image"', OWNER):
        assert kept in failed.words
    assert "5e7a9c" not in failed.words
    assert len(failed.words.encode()) <= 4096


async def test_the_url_of_a_disk_is_in_no_error(fake, driver):
    path = f"/cloud/v1/downloadimage/{PROJECT}/76"
    for words in (f"Bad URL: {URL}", f"Bad URL: {quote(URL, safe='')}"):
        refusal = {"exception_class": "ValidationError", "message": words}
        for answer in ((400, refusal), (502, words), (200, refusal)):
            fake.instead["POST", path] = answer
            with pytest.raises(ProviderError) as refused:
                await driver.import_image(spec(), DISK)
            assert "5e7a9c" not in str(refused.value)
            assert "bucket.example.com" in str(refused.value)


async def test_the_url_of_a_disk_is_not_kept_of_a_task_that_hides_its_order(fake, driver):
    fake.failing_imports.add(76)
    begun = await driver.import_image(spec(), DISK)
    for task in fake.tasks.values():
        task.data = {}
    failed = await ended(driver, begun)
    assert "could not be downloaded from" in failed.words
    assert "5e7a9c" not in failed.words


async def test_all_that_gcore_says_of_a_failed_image_is_kept(fake, driver):
    fake.failing_imports.add(76)
    await ended(driver, await driver.import_image(spec(), DISK))
    [left] = (await driver.images(REGION, NAME)).images
    assert '"disk_format": "raw"' in left.words


async def test_images_of_a_region_without_a_location_are_listed_and_deleted(fake, driver, tmp_path):
    made = await ended(driver, await driver.import_image(spec(), DISK))
    locations = dict(fake.settings(tmp_path).locations)
    renamed = locations.pop(REGION)
    left = GcoreDriver(fake.settings(tmp_path, locations=locations))
    assert (await left.images(REGION, NAME)).images == (made,)
    with pytest.raises(UnknownLocationError, match="frankfurt-2"):
        await left.import_image(spec(), DISK)
    with pytest.raises(UnknownLocationError, match="no region nowhere"):
        await left.images("nowhere")
    other = GcoreDriver(fake.settings(tmp_path, locations={"our-name": renamed}))
    with pytest.raises(UnknownLocationError, match="our-name"):
        await other.images(REGION)
    assert await left.delete_image(made)
    assert (await left.images(REGION, NAME)).images == ()
    for each in (left, other):
        await each.close()


async def test_what_a_failed_import_left_is_deleted_before_the_next_one(fake, driver):
    fake.failing_imports.add(76)
    await ended(driver, await driver.import_image(spec(), DISK))
    [left] = (await driver.images(REGION, NAME)).images
    assert left.status is ImageStatus.FAILED
    assert '"status": "killed"' in left.words
    fake.failing_imports.clear()
    await ended(driver, await driver.import_image(spec(), DISK))
    assert [each.status for each in fake.images if each.name == NAME] == ["active"]


async def test_a_task_that_does_not_name_its_image_means_no_absence(fake, driver, another):
    await driver.import_image(spec(), DISK)
    fake.image_traps.add(ImageTrap.NEVER_STARTS)
    fake.task_traps.add(TaskTrap.NAMELESS)
    assert not (await another.images(REGION, NAME)).complete
    with pytest.raises(ProviderAnswerError, match="incomplete") as refused:
        await another.import_image(spec(), DISK)
    assert refused.value.retryable
    assert len(imports(fake)) == 1


async def test_a_task_that_does_not_name_its_owner_is_waited_for(fake, driver, another):
    fake.image_traps.add(ImageTrap.NEVER_STARTS)
    begun = await driver.import_image(spec(), DISK)
    [task] = fake.tasks.values()
    tags = task.data.pop("tags")
    with pytest.raises(ProviderUnavailableError, match="does not name its owner"):
        await another.import_image(spec(), DISK)
    task.data["tags"] = tags
    assert (await another.import_image(spec(), DISK)).image_id == begun.image_id
    assert len(imports(fake)) == 1


async def test_an_image_that_no_listing_has_yet_is_found_by_its_task(fake, driver, another):
    made = await ended(driver, await driver.import_image(spec(), DISK))
    fake.traps.add(Trap.STALE_LISTING)
    assert (await another.import_image(spec(), DISK)).image_id == made.image_id
    assert len(imports(fake)) == 1


async def test_of_two_images_of_one_order_the_one_that_can_be_used_is_taken(fake, driver):
    made = await ended(driver, await driver.import_image(spec(), DISK))
    [first] = [each for each in fake.images if each.name == NAME]
    for status in ("saving", "active"):
        fake.images.append(Image(fake.new_id(), 76, NAME, tags=first.tags, status=status))
    assert (await driver.import_image(spec(), DISK)).status is ImageStatus.AVAILABLE
    fake.images[-1].tags = {}
    listed = (await driver.images(REGION, NAME)).images
    assert len(listed) == 3
    assert made in listed


async def test_an_image_that_its_deletions_task_finds_in_use_is_kept(fake, driver):
    made = await ended(driver, await driver.import_image(spec(), DISK))
    fake.use_image(made.image_id)
    fake.used_by_task = True
    with pytest.raises(ImageInUseError, match="in use by volumes"):
        await driver.delete_image(made)
    assert await driver.image(made) == made


async def test_an_image_that_is_locked_is_not_in_use(fake, driver):
    made = await ended(driver, await driver.import_image(spec(), DISK))
    path = f"/cloud/v1/images/{PROJECT}/76/{made.image_id}"
    words = "Resource is locked by task 726ecfcc"
    fake.instead["DELETE", path] = (409, {"exception_class": "ConflictError", "message": words})
    with pytest.raises(ProviderUnavailableError, match="locked") as locked:
        await driver.delete_image(made)
    assert locked.value.retryable


async def test_a_deletion_whose_task_fails_is_repeated(fake, driver):
    made = await ended(driver, await driver.import_image(spec(), DISK))
    ref = ImageRef.model_validate(made.model_dump())
    fake.use_image(made.image_id)
    fake.used_by_task = True
    with pytest.raises(ImageInUseError):
        await driver.delete_image(ref)
    fake.release_image(made.image_id)
    assert await driver.delete_image(ref)
    assert await driver.image(ref) is None


async def test_an_order_cannot_be_taken_back(fake, driver):
    fake.image_traps.add(ImageTrap.NEVER_STARTS)
    begun = await driver.import_image(spec(), DISK)
    with pytest.raises(ProviderUnavailableError, match="is NEW since"):
        await driver.delete_image(begun)
    fake.image_traps.clear()
    await ended(driver, begun)
    # The order's id leads to its image.
    assert await driver.delete_image(begun)
    assert await driver.image(begun) is None
    assert await driver.delete_image(begun) is False


async def test_what_gcore_offers_to_all_is_not_ours_and_ours_is_even_if_all_have_it(fake, driver):
    names = [each.name for each in (await driver.images(REGION)).images]
    assert "debian-12-x64" not in names
    assert "relight-base-20261101" in names
    fake.image_traps.add(ImageTrap.PUBLIC)
    await ended(driver, await driver.import_image(spec(), DISK))
    [found] = (await driver.images(REGION, NAME)).images
    assert found.visibility is Visibility.PUBLIC


@pytest.mark.parametrize("visibility", ["shared", "community", ""])
async def test_any_other_visibility_is_unknown(fake, driver, visibility):
    made = await ended(driver, await driver.import_image(spec(), DISK))
    [image] = [each for each in fake.images if each.id == made.image_id]
    image.visibility = visibility
    seen = await driver.image(made)
    assert seen is not None
    assert seen.visibility is Visibility.UNKNOWN


async def test_gcore_fetches_the_disk_and_copies_nothing(fake, driver, tmp_path: Path):
    made = await ended(driver, await driver.import_image(spec(), DISK))
    before = len(imports(fake))
    with pytest.raises(ProviderInvalidError, match="takes a staged disk"):
        await driver.import_image(spec("contract-2"), DiskFile(tmp_path, lambda sent: None))
    with pytest.raises(ProviderInvalidError, match="import the disk"):
        await driver.copy_image(spec(region="frankfurt-2"), made)
    assert len(imports(fake)) == before


async def test_an_arm64_image_is_imported_as_one(fake, driver):
    region = FakeGcore.other_region
    begun = await driver.import_image(spec(region=region, architecture="arm64"), DISK)
    found = await ended(driver, begun)
    assert (found.architecture, found.region) == ("arm64", region)
    body = fake.posted()[-1]
    assert (body["architecture"], body["hw_firmware_type"]) == ("aarch64", "uefi")
    assert (body["os_distro"], body["os_version"]) == ("debian", "12")
