"""Base images at OpenStack: ids of our own, disks that are sent, and what glance refuses."""

import pytest

from devkit.simulated.images import ImageTrap
from devkit.simulated.parts import OWNER
from relight.domain.image.image import ImageStatus
from relight.providers.driver import (
    ProviderError,
    ProviderInvalidError,
    ProviderUnavailableError,
)
from relight.providers.image_driver import DiskFile, ImageInUseError, ImageSpec, StagedDisk
from tests.providers.fakes.openstack_images import glance_fault
from tests.providers.openstack.drivers import KEY, drivers, fake
from tests.providers.openstack.drivers import spec as machine_spec
from tests.support.image_disks import CONTENT, write_disk

__all__ = ("drivers", "fake")


@pytest.fixture
def spec_and_disk(tmp_path):
    manifest, path = write_disk(tmp_path)
    return ImageSpec(manifest, "north", OWNER), DiskFile(path, lambda _: None)


async def test_a_creation_has_all_that_the_image_is_and_is_private(fake, drivers, spec_and_disk):
    spec, disk = spec_and_disk
    made = await drivers().import_image(spec, disk)
    [stored] = fake.glance.stored.values()
    shown = stored.shown
    assert (shown["visibility"], shown["disk_format"], shown["min_disk"]) == ("private", "qcow2", 8)
    assert shown["architecture"] == "x86_64"
    assert shown["relight-owner"] == OWNER
    assert shown["relight-identity"] == spec.manifest.identity
    assert stored.data == CONTENT
    assert made.architecture == "amd64"


async def test_an_image_whose_disk_was_not_sent_gets_it_from_the_next_run(
    fake, drivers, spec_and_disk
):
    spec, disk = spec_and_disk
    fake.faults_by_path["PUT .*/file"] = glance_fault(503, "No space left on device")
    with pytest.raises(ProviderUnavailableError):
        await drivers().import_image(spec, disk)
    [listed] = (await drivers().images("north")).images
    assert listed.status is ImageStatus.WAITING
    fake.faults_by_path.clear()
    made = await drivers().import_image(spec, disk)
    assert (made.image_id, made.status) == (listed.image_id, ImageStatus.AVAILABLE)


async def test_an_image_whose_disk_is_being_sent_is_left_to_who_sends_it(
    fake, drivers, spec_and_disk
):
    spec, disk = spec_and_disk
    made = await drivers().import_image(spec, disk)
    fake.glance.stored[made.image_id].status = "saving"
    again = await drivers().import_image(spec, disk)
    assert (again.image_id, again.status) == (made.image_id, ImageStatus.IMPORTING)


async def test_a_disk_that_did_not_arrive_whole_has_failed(fake, drivers, spec_and_disk):
    """A worker that ends while it sends a disk: some clouds keep what came."""
    spec, disk = spec_and_disk
    fake.glance.keeps_bytes = 5
    begun = await drivers().import_image(spec, disk)
    found = await drivers().image(begun)
    assert found is not None
    assert found.status is ImageStatus.FAILED
    assert '"size": 5' in found.words
    fake.glance.keeps_bytes = None
    again = await drivers().import_image(spec, disk)
    assert again.status is ImageStatus.AVAILABLE
    assert again.image_id != begun.image_id


async def test_two_runs_at_once_make_one_image(fake, drivers, spec_and_disk):
    """The second has looked before the first created it."""
    spec, disk = spec_and_disk
    driver = drivers()
    made = await driver.import_image(spec, disk)
    listing = await driver.images("north")

    async def stale(region, prefix=""):
        return listing.model_copy(update={"images": ()})

    driver.images = stale
    with pytest.raises(ProviderUnavailableError, match="already exists") as refused:
        await driver.import_image(spec, disk)
    assert refused.value.retryable
    assert fake.images_named(made.name) == 1


async def test_a_deleted_image_is_created_again_under_another_id(fake, drivers, spec_and_disk):
    spec, disk = spec_and_disk
    driver = drivers()
    ids = []
    for _ in range(3):
        made = await driver.import_image(spec, disk)
        assert await driver.delete_image(made)
        ids.append(made.image_id)
    assert len(set(ids)) == 3


async def test_each_fleet_and_each_build_has_ids_of_its_own(drivers, spec_and_disk, tmp_path):
    spec, disk = spec_and_disk
    driver = drivers()
    south = await driver.import_image(spec._replace(region="south"), disk)
    north = await driver.import_image(spec, disk)
    other, path = write_disk(tmp_path, "relight-base-0.0.75-amd64", b"another disk")
    another = await driver.import_image(spec._replace(manifest=other), DiskFile(path, print))
    assert len({north.image_id, another.image_id}) == 2
    assert north.name == south.name


async def test_a_disk_that_failed_says_all_that_glance_does(fake, drivers, spec_and_disk):
    spec, disk = spec_and_disk
    fake.image_traps.add(ImageTrap.FAILS)
    failed = await drivers().import_image(spec, disk)
    assert failed.status is ImageStatus.FAILED
    assert '"status": "killed"' in failed.words
    assert spec.manifest.identity in failed.words


async def test_images_that_the_cloud_offers_to_all_are_not_listed(fake, drivers):
    assert fake.images
    assert (await drivers().images("north")).images == ()


async def test_a_shared_image_is_not_private(fake, drivers, spec_and_disk):
    spec, disk = spec_and_disk
    made = await drivers().import_image(spec, disk)
    for visibility in ("shared", "community", "public"):
        fake.glance.stored[made.image_id].shown["visibility"] = visibility
        found = await drivers().image(made)
        assert found is not None
        assert found.visibility == "public"


async def test_a_protected_image_is_refused_and_one_in_use_is_kept(fake, drivers, spec_and_disk):
    spec, disk = spec_and_disk
    made = await drivers().import_image(spec, disk)
    fake.use_image(made.image_id)
    with pytest.raises(ImageInUseError, match="snapshots"):
        await drivers().delete_image(made)
    fake.glance.stored[made.image_id].shown["protected"] = True
    with pytest.raises(ProviderError, match="protected") as refused:
        await drivers().delete_image(made)
    assert not isinstance(refused.value, ImageInUseError)
    assert not refused.value.retryable


async def test_a_token_that_ends_while_a_disk_waits_is_renewed_and_the_disk_sent_whole(
    fake, drivers, spec_and_disk
):
    spec, disk = spec_and_disk
    driver = drivers()
    await driver.images("north")
    fake.tokens.clear()
    made = await driver.import_image(spec, disk)
    assert fake.glance.stored[made.image_id].data == CONTENT


async def test_a_disk_that_is_not_there_is_named(drivers, spec_and_disk):
    spec, disk = spec_and_disk
    disk.path.unlink()
    with pytest.raises(ProviderInvalidError, match=disk.path.name):
        await drivers().import_image(spec, disk)


async def test_a_staged_disk_and_a_copy_are_refused(drivers, spec_and_disk):
    spec, disk = spec_and_disk
    with pytest.raises(ProviderInvalidError, match="the disk itself"):
        await drivers().import_image(spec, StagedDisk("bucket", "key", "https://example.com/"))
    made = await drivers().import_image(spec, disk)
    with pytest.raises(ProviderInvalidError, match="import the disk"):
        await drivers().copy_image(spec._replace(region="south"), made)


async def test_a_machine_that_boots_from_a_volume_names_no_image(drivers):
    machine = await drivers().ensure(KEY, machine_spec())
    from_volume = await drivers(disk_gib=20).ensure("r-2-g1", machine_spec())
    assert await drivers().image_of(machine.provider_id) is not None
    assert await drivers().image_of(from_volume.provider_id) is None
