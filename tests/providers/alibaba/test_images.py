"""Base images at Alibaba Cloud: imported in one region, copied to the others, named once."""

import pytest

from devkit.chaos.provider_faults import Call, ProviderFault
from devkit.simulated.images import ImageTrap
from relight.domain.image.image import ImageStatus, StagedDisk, Visibility
from relight.providers.alibaba.driver import AlibabaDriver
from relight.providers.alibaba.errors import WrongStatusError
from relight.providers.driver import (
    ProviderCredentialsError,
    ProviderInvalidError,
    ProviderUnavailableError,
    UnknownLocationError,
)
from relight.providers.image_driver import DiskFile, ImageSpec
from relight.staging_settings import StagingSettings
from tests.providers.fakes.alibaba_parts import Refused
from tests.support.image_clouds import manifest

NAME = "relight-base-0.0.74-amd64"
SPEC = ImageSpec(manifest(NAME), "cn-hangzhou", "us")
THERE = SPEC._replace(region="eu-central-1")
DISK = StagedDisk("bucket", "relight-staging/us/disk.qcow2", "https://bucket.example.com/")


async def imported(driver):
    made = await driver.import_image(SPEC, DISK)
    for _ in range(3):
        made = await driver.image(made) or made
    assert made.status is ImageStatus.AVAILABLE
    return made


def sent(fake, action):
    return [each for each in fake.received if each.headers["x-acs-action"] == action]


@pytest.mark.parametrize(
    ("name", "architecture", "words"),
    [
        (NAME, "amd64", ("Architecture=x86_64", "BootMode=BIOS")),
        (NAME.replace("amd", "arm"), "arm64", ("Architecture=arm64", "BootMode=UEFI")),
    ],
)
async def test_an_import_says_what_the_disk_is_and_where(fake, driver, name, architecture, words):
    spec = SPEC._replace(manifest=manifest(name, architecture=architecture))
    await driver.import_image(spec, DISK)
    [request] = sent(fake, "ImportImage")
    for word in (*words, "Platform=Debian", "OSSBucket=bucket", "DiskImageSize=2"):
        assert word in request.path
    assert "Signature=" not in request.path  # The URL is not needed.


async def test_an_image_that_moves_to_a_page_already_read_means_no_absence(
    fake, driver, monkeypatch
):
    """As many are created as are deleted meanwhile: the total says nothing."""
    monkeypatch.setattr("relight.providers.alibaba.images.MAX_PAGE", 2)
    for number in range(4):
        fake.add_foreign_image(f"contract-{number}", SPEC.region)
    [first] = [each for each in fake.images if each.name == "contract-0"]
    whole = fake.made_images._describe

    def describe(params):
        answer = whole(params)
        if first in fake.images:
            fake.images.remove(first)
            fake.add_foreign_image("contract-4", SPEC.region)
        return answer

    monkeypatch.setattr(fake.made_images, "_describe", describe)
    listing = await driver.images(SPEC.region, "contract-")
    assert not listing.complete or "contract-2" in {each.name for each in listing.images}
    listing = await driver.images(SPEC.region, "contract-")
    assert listing.complete
    assert [each.name for each in listing.images] == [f"contract-{n}" for n in range(1, 5)]


async def test_an_image_that_is_shared_with_another_account_is_not_private(fake, driver):
    made = await imported(driver)
    [image] = [each for each in fake.images if each.id == made.image_id]
    image.is_shared = True
    seen = await driver.image(made)
    assert seen is not None
    assert seen.visibility is Visibility.PUBLIC


async def test_images_of_a_region_without_a_location_are_listed_and_deleted(fake, driver, tmp_path):
    made = await imported(driver)
    settings = fake.settings(tmp_path)
    locations = dict(settings.locations)
    del locations[SPEC.region]
    left = AlibabaDriver(settings.model_copy(update={"locations": locations}))
    assert (await left.images(SPEC.region, NAME)).images == (made,)
    for call in (left.import_image(SPEC, DISK), left.copy_image(THERE, made)):
        with pytest.raises(UnknownLocationError, match=SPEC.region):
            await call
    with pytest.raises(UnknownLocationError, match="no name of a region"):
        await left.images("evil.example/")
    assert await left.delete_image(made)
    assert (await left.images(SPEC.region, NAME)).images == ()
    assert {each.region for each in (await left.list()).machines} <= {*locations}
    await left.close()


async def test_only_the_region_of_the_object_storage_imports(fake, tmp_path):
    staging = {"url": "https://oss-cn-hangzhou.aliyuncs.com", "region": "oss-cn-hangzhou"}
    key = {"key_id": "LTAI", "secret_file": tmp_path / "secret", "path_style": False}
    settings = fake.settings(tmp_path).model_copy(
        update={"staging": StagingSettings.model_validate(staging | key | {"bucket": "relight"})}
    )
    driver = AlibabaDriver(settings)
    assert driver.image_limits.first == "cn-hangzhou"
    with pytest.raises(ProviderInvalidError, match="staged in cn-hangzhou"):
        await driver.import_image(THERE, DISK)
    assert sent(fake, "ImportImage") == []
    assert (await driver.import_image(SPEC, DISK)).region == "cn-hangzhou"
    await driver.close()


async def test_a_disk_of_the_worker_is_refused(driver, tmp_path):
    with pytest.raises(ProviderInvalidError, match="staged"):
        await driver.import_image(SPEC, DiskFile(tmp_path / "disk.qcow2", print))


async def test_two_runs_at_once_make_one_image_because_its_name_is_taken(
    fake, driver, another_worker
):
    """The second has looked before the first ordered it."""
    listing = await another_worker.images("cn-hangzhou", NAME)
    await driver.import_image(SPEC, DISK)

    async def stale(region, prefix=""):
        return listing

    another_worker.images = stale
    with pytest.raises(ProviderUnavailableError, match="Duplicated") as refused:
        await another_worker.import_image(SPEC, DISK)
    assert refused.value.retryable
    assert fake.images_named(NAME) == 1


async def test_a_failed_image_gives_its_name_back_at_the_next_import(fake, driver):
    fake.image_traps.add(ImageTrap.FAILS)
    made = await driver.import_image(SPEC, DISK)
    for _ in range(3):
        failed = await driver.image(made)
    assert failed is not None
    assert failed.status is ImageStatus.FAILED
    assert "CreateFailed" in failed.words
    fake.image_traps.clear()
    again = await driver.import_image(SPEC, DISK)
    assert again.image_id != made.image_id
    assert [each.id for each in fake.images if each.name == NAME] == [again.image_id]


async def test_a_copy_that_is_under_way_is_cancelled(fake, driver):
    copy = await driver.copy_image(THERE, await imported(driver))
    assert await driver.delete_image(copy)
    assert len(sent(fake, "CancelCopyImage")) == 1
    assert await driver.image(copy) is None


async def test_an_import_that_is_under_way_is_deleted_once_it_has_ended(fake, driver):
    fake.image_traps.add(ImageTrap.NEVER_STARTS)
    made = await driver.import_image(SPEC, DISK)
    with pytest.raises(WrongStatusError, match="ImageIsImporting") as refused:
        await driver.delete_image(made)
    assert refused.value.retryable
    fake.image_traps.clear()
    for _ in range(3):
        await driver.image(made)
    assert await driver.delete_image(made)


async def test_a_public_image_is_made_private_before_it_is_deleted(fake, driver):
    fake.image_traps.add(ImageTrap.PUBLIC)
    made = await imported(driver)
    assert await driver.delete_image(made)
    actions = [each.headers["x-acs-action"] for each in fake.received]
    assert actions[-3:] == ["DeleteImage", "ModifyImageSharePermission", "DeleteImage"]


async def test_a_role_that_the_vendor_lacks_is_a_matter_of_rights(fake, driver):
    words = "ECS service account Have no right to access your OSS."
    fake.refuse("ImportImage", Refused(403, "NoSetRoletoECSServiceAcount", words))
    with pytest.raises(ProviderCredentialsError, match="no right to access your OSS"):
        await driver.import_image(SPEC, DISK)


async def test_a_listing_goes_over_all_pages_and_one_that_lacks_an_entry_is_incomplete(
    fake, driver
):
    for number in range(250):
        fake.add_foreign_image(f"other-{number:03}", "cn-hangzhou")
    listing = await driver.images("cn-hangzhou", "other-")
    assert (len(listing.images), listing.complete) == (250, True)
    fake.images[-1].created_at = "no time"
    listing = await driver.images("cn-hangzhou", "other-")
    assert (len(listing.images), listing.complete) == (249, False)


async def test_a_copy_from_a_region_that_is_not_configured_is_refused(driver):
    source = (await imported(driver)).model_copy(update={"region": "us-west-1"})
    with pytest.raises(UnknownLocationError, match="us-west-1"):
        await driver.copy_image(THERE, source)


async def test_a_lost_deletion_is_repeated(fake, driver):
    made = await imported(driver)
    fake.image_faults.inject(ProviderFault.REPLY_LOST, Call.DESTROY)
    with pytest.raises(ProviderUnavailableError):
        await driver.delete_image(made)
    assert await driver.delete_image(made) is False
