"""Base images at Linode: the upload, the copies, and what stays of them."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from devkit.simulated.parts import OWNER
from relight.domain.image.image import ImageAtProvider, ImageStatus
from relight.providers.driver import (
    ProviderAnswerError,
    ProviderError,
    ProviderInvalidError,
    ProviderUnavailableError,
)
from relight.providers.image_driver import DiskFile, ImageSpec, StagedDisk
from relight.providers.linode import disk as packing
from relight.providers.linode.driver import LinodeDriver
from tests.providers.fakes.linode import TOKEN, LinodeFake
from tests.providers.fakes.linode_images import REGIONS, WITHOUT_STORAGE
from tests.support.image_clouds import manifest

NAME = "relight-base-0.0.74-amd64"
RAW = bytes(range(256)) * 8192


@pytest.fixture
def fake() -> Iterator[LinodeFake]:
    fake = LinodeFake()
    with fake.served():
        yield fake


@pytest.fixture
async def driver(fake: LinodeFake, tmp_path: Path) -> AsyncIterator[LinodeDriver]:
    driver = LinodeDriver(fake.settings(tmp_path))
    yield driver
    await driver.close()


@pytest.fixture
async def another(fake: LinodeFake, tmp_path: Path) -> AsyncIterator[LinodeDriver]:
    """The driver of another worker: it knows nothing of what the first one did."""
    driver = LinodeDriver(fake.settings(tmp_path))
    yield driver
    await driver.close()


@pytest.fixture
def disk(tmp_path: Path) -> DiskFile:
    folder = tmp_path / "images"
    folder.mkdir()
    raw, path = tmp_path / "raw", folder / f"{NAME}.qcow2"
    raw.write_bytes(RAW)
    argv = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path)]
    subprocess.run(argv, check=True, timeout=60)
    return DiskFile(path, lambda sent: None)


def spec(region: str = REGIONS[0], architecture: str = "amd64") -> ImageSpec:
    return ImageSpec(manifest(NAME, architecture=architecture), region, OWNER)


async def available(driver: LinodeDriver, found: ImageAtProvider) -> ImageAtProvider:
    for _ in range(5):
        seen = await driver.image(found)
        if seen is not None and seen.status is ImageStatus.AVAILABLE:
            return seen
    raise AssertionError(f"{found.image_id} is not available in {found.region}")


def uploads(fake: LinodeFake) -> list[str]:
    """Return the paths of the disks that were sent."""
    return [each.path for each in fake.received if each.method == "PUT"]


async def test_the_raw_disk_arrives_compressed_and_without_our_token(fake, driver, disk):
    begun = await driver.import_image(spec(), disk)
    number = int(begun.image_id.partition("/")[2])
    assert fake.uploads[number] == RAW
    [sent] = [each for each in fake.received if each.method == "PUT"]
    assert TOKEN not in str(sent.headers)
    assert sent.headers["content-type"] == "application/octet-stream"
    assert int(sent.headers["content-length"]) == len(sent.body) < len(RAW)
    assert [each.name for each in disk.path.parent.iterdir()] == [disk.path.name]
    assert (await available(driver, begun)).image_id == begun.image_id


async def test_an_upload_that_another_worker_did_not_end_begins_again(fake, driver, another, disk):
    fake.uploads_to_refuse = 1
    with pytest.raises(ProviderUnavailableError, match="503") as refused:
        await driver.import_image(spec(), disk)
    assert "signature" not in str(refused.value)
    [left] = (await another.images(REGIONS[0], NAME)).images
    assert left.status is ImageStatus.IMPORTING
    begun = await another.import_image(spec(), disk)
    assert begun.image_id != left.image_id
    assert fake.images_named(NAME) == 1
    await available(another, begun)


async def test_the_url_of_an_upload_is_in_no_error(fake, driver, disk, monkeypatch):
    """Linode's answer has the URL, and is shown where it is not understood."""

    def shown(found):
        return {"id": found["id"], "created": found["created"], "label": "other"}

    monkeypatch.setattr(fake, "_shown", shown)
    with pytest.raises(ProviderAnswerError, match="is about other") as refused:
        await driver.import_image(spec(), disk)
    assert "upload_to" in str(refused.value)
    assert "signature=s" not in str(refused.value)


async def test_what_was_uploaded_is_not_uploaded_again(fake, driver, another, disk):
    begun = await driver.import_image(spec(), disk)
    assert (await driver.import_image(spec(), disk)).image_id == begun.image_id
    await available(driver, begun)
    assert (await another.import_image(spec(), disk)).image_id == begun.image_id
    assert len(uploads(fake)) == 1


async def test_an_image_that_moves_to_a_page_already_read_means_no_absence(
    fake, driver, monkeypatch
):
    """As many are created as are deleted meanwhile: the total says nothing."""
    fake.max_page_size = 2
    first = fake.images[0]
    for number in range(4):
        fake.add_foreign_image(f"contract-{number}", REGIONS[0])
    whole = fake._page

    def page(request, shown):
        answer = whole(request, shown)
        if first in fake.images:
            fake.images.remove(first)
            fake.add_foreign_image("contract-4", REGIONS[0])
        return answer

    monkeypatch.setattr(fake, "_page", page)
    listing = await driver.images(REGIONS[0], "contract-")
    assert not listing.complete or "contract-0" in {each.name for each in listing.images}
    listing = await driver.images(REGIONS[0], "contract-")
    assert listing.complete
    assert [each.name for each in listing.images] == [f"contract-{n}" for n in range(5)]


async def test_an_import_to_another_region_is_a_copy(fake, driver, disk):
    first = await available(driver, await driver.import_image(spec(), disk))
    second = await available(driver, await driver.import_image(spec(REGIONS[1]), disk))
    assert second.image_id == first.image_id
    assert len(uploads(fake)) == 1


async def test_a_region_without_object_storage_is_refused_in_linodes_words(driver, disk):
    first = await available(driver, await driver.import_image(spec(), disk))
    with pytest.raises(ProviderInvalidError, match="does not support Object Storage") as refused:
        await driver.copy_image(spec(WITHOUT_STORAGE), first)
    assert not refused.value.retryable
    assert (await driver.images(WITHOUT_STORAGE, NAME)).images == ()
    assert (await driver.image(first)) == first


async def test_a_copy_that_timed_out_has_failed_and_is_requested_again(fake, driver, disk):
    first = await available(driver, await driver.import_image(spec(), disk))
    fake.copy_fails.add(REGIONS[1])
    begun = await driver.copy_image(spec(REGIONS[1]), first)
    failed = await driver.image(begun)
    while failed is not None and failed.status is ImageStatus.IMPORTING:
        failed = await driver.image(begun)
    assert failed is not None
    assert failed.status is ImageStatus.FAILED
    assert "timedout" in failed.words
    fake.copy_fails.clear()
    await available(driver, await driver.copy_image(spec(REGIONS[1]), first))


async def test_a_copy_that_timed_out_keeps_no_image_from_its_deletion(fake, driver, disk):
    first = await available(driver, await driver.import_image(spec(), disk))
    fake.copy_fails.add(REGIONS[1])
    begun = await driver.copy_image(spec(REGIONS[1]), first)
    while (failed := await driver.image(begun)) is not None:
        if failed.status is ImageStatus.FAILED:
            break
    assert await driver.delete_image(first)
    assert fake.images_named(NAME) == 0


async def test_an_image_that_is_not_stored_yet_is_not_copied(driver, disk):
    begun = await driver.import_image(spec(), disk)
    with pytest.raises(ProviderUnavailableError, match="once it is available"):
        await driver.copy_image(spec(REGIONS[1]), begun)


async def test_linode_takes_the_disk_itself_and_has_amd64_alone(fake, driver, disk):
    staged = StagedDisk("bucket", "key", "https://bucket.example.com/key")
    for given, wanted in ((staged, spec()), (disk, spec(architecture="arm64"))):
        with pytest.raises(ProviderInvalidError):
            await driver.import_image(wanted, given)
    assert [each.method for each in fake.received] == []


async def test_a_disk_that_is_too_large_is_not_announced(fake, driver, disk, monkeypatch):
    monkeypatch.setattr(packing, "MAX_BYTES", 100)
    with pytest.raises(ProviderInvalidError, match="Linode takes 100"):
        await driver.import_image(spec(), disk)
    assert fake.images_named(NAME) == 0


@pytest.mark.parametrize("content", [b"no disk", None])
async def test_a_disk_that_cannot_be_read_is_not_announced(fake, driver, disk, content):
    disk.path.unlink()
    if content is not None:
        disk.path.write_bytes(content)
    with pytest.raises(ProviderError, match=r"qemu-img exited with 1"):
        await driver.import_image(spec(), disk)
    assert fake.images_named(NAME) == 0
