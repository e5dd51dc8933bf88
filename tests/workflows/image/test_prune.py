"""The prune of images over several providers: the right ones go, and failures are said."""

from datetime import UTC, datetime, timedelta

import pytest

from activities.image.prune import ImagePruneActivities
from devkit.chaos.provider_faults import Call, ProviderFault
from devkit.simulated.cloud import FakeCloud
from devkit.simulated.parts import OWNER
from relight.domain.fault.table import fault
from relight.domain.image.image import ImageAtProvider, ImageListing, ImageStatus, Visibility
from relight.domain.image.prune import PRUNE_WORKFLOW_ID, ImagesPruned, PruneImagesInput
from relight.providers.gcore.driver import WAIT
from relight.providers.locations import LocationSettings
from relight.store.images import Place
from relight.store.threads import in_thread
from tests.store.images import manifest, ref
from tests.workflows.harness import ORIGIN, Harness
from tests.workflows.installation import small_installation
from workflows.image.prune import PruneImages

START = datetime(2026, 8, 1, tzinfo=UTC)
RETIRED = "fake-retired"


def test_a_deletion_and_a_look_at_each_machine_have_the_time_they_need():
    for name in ("decide_prune", "delete_image"):
        assert vars(ImagePruneActivities)[name]._policy.attempt > 2 * WAIT


def put(harness: Harness, cloud: FakeCloud, region: str, *numbers: int, owner: str = OWNER) -> None:
    """Let a region have images, also on record; a greater number is a newer one."""
    for number in numbers:
        name = f"base-{number}-amd64"
        place = Place(cloud.name, region)
        at = ref(name, place, f"{region}-{number}")
        cloud.put_image(
            ImageAtProvider(
                **dict(at),
                status=ImageStatus.AVAILABLE,
                architecture="amd64",
                visibility=Visibility.PRIVATE,
                owner=owner,
                created_at=START + timedelta(days=number),
            )
        )
        if owner == OWNER:
            harness.store.images.record(manifest(name), harness.operation())
            harness.store.images.open(name, [place], harness.operation())
            harness.store.images.publish(at, harness.operation())


async def prune(harness: Harness, **options: object) -> ImagesPruned:
    return await harness.client.execute_workflow(
        PruneImages.run,
        PruneImagesInput.model_validate({"keep": 1, "origin": ORIGIN, **options}),
        id=PRUNE_WORKFLOW_ID,
        task_queue=harness.task_queue,
    )


async def prune_as_shown(harness: Harness) -> ImagesPruned:
    shown = await prune(harness)
    return await prune(harness, delete=shown.deleted)


def ids(result: ImagesPruned) -> list[str]:
    return sorted(each.image_id for each in result.deleted)


def on_record(harness: Harness, cloud: FakeCloud) -> list[str]:
    return sorted(str(each.image_id) for each in harness.store.images.list(provider=cloud.name))


async def test_it_shows_first_and_deletes_only_what_it_has_shown(harness: Harness) -> None:
    cloud = harness.cloud
    put(harness, cloud, "fake-east", 1, 2)
    shown = await prune(harness)
    assert (ids(shown), cloud.images_deleted) == (["fake-east-1"], [])
    put(harness, cloud, "fake-east", 3)
    pruned = await prune(harness, delete=shown.deleted)
    assert (ids(pruned), cloud.images_deleted) == (["fake-east-1"], ["base-1-amd64"])
    assert on_record(harness, cloud) == ["fake-east-2", "fake-east-3"]


async def test_over_four_providers_the_right_ones_go_and_each_failure_is_said(
    harness: Harness,
) -> None:
    clouds = [harness.cloud, *(harness.cell().cloud for _ in range(3))]
    for cloud in clouds:
        put(harness, cloud, "fake-east", 1, 2, 3)
        put(harness, cloud, "fake-east", 4, owner="somebody-else")
        put(harness, cloud, RETIRED, 1, 2)  # no location names it any more
    fails, gone, used, sound = clouds
    fails.provider_faults.inject(ProviderFault.SERVER_ERROR, Call.READ, times=1000)
    gone.lose_image("fake-east-1")
    used.used_images.add("fake-east-2")
    pruned = await prune_as_shown(harness)
    expected = ["fake-east-1", "fake-east-2", f"{RETIRED}-1"]
    assert {
        region.provider: sorted(
            each.image.image_id
            for other in pruned.regions
            if other.provider == region.provider
            for each in other.decisions
            if each.deleted
        )
        for region in pruned.regions
    } == {
        fails.name: [],
        gone.name: expected,
        used.name: ["fake-east-1", f"{RETIRED}-1"],
        sound.name: expected,
    }
    assert {place for place, _ in pruned.faults} == {
        f"{fails.name}/{region}" for region in ("fake-east", "fake-west", RETIRED)
    }
    assert fails.images_deleted == []
    assert sorted(sound.images_deleted) == ["base-1-amd64", "base-1-amd64", "base-2-amd64"]
    [kept] = [
        each
        for region in pruned.regions
        for each in region.decisions
        if each.image.image_id == "fake-east-2" and not each.deleted
    ]
    assert "409 a machine uses it" in kept.reason
    assert on_record(harness, gone) == ["fake-east-3", f"{RETIRED}-2"]
    assert on_record(harness, used) == ["fake-east-2", "fake-east-3", f"{RETIRED}-2"]
    assert len(on_record(harness, fails)) == 5


async def test_what_machines_are_made_of_and_what_is_pinned_stays(harness: Harness) -> None:
    put(harness, harness.cloud, "fake-east", 1)
    await harness.provision("r-1")
    put(harness, harness.cloud, "fake-east", 2, 3, 4)
    harness.store.images.pin("base-2-amd64", None, harness.operation(), pinned=True)
    assert ids(await prune_as_shown(harness)) == ["fake-east-3"]


async def test_images_of_machines_of_before_are_asked_of_their_provider(harness: Harness) -> None:
    route_id = await harness.serving_route()
    put(harness, harness.cloud, "fake-east", 1, 2)
    machine = harness.route(route_id).machine
    assert machine is not None
    harness.cloud.machine_images[machine.provider_id] = "fake-east-1"
    assert ids(await prune_as_shown(harness)) == []


@pytest.mark.parametrize("named", [{"image": "fake-east-1"}, {"image_prefix": "base-"}])
async def test_what_the_settings_of_a_location_name_stays(
    temporal_client, tmp_path, short_waits, named
) -> None:
    location = LocationSettings.model_validate({"shapes": ["s"], **named})
    locations = {"fake": {"fake-east": location}}
    async with small_installation(temporal_client, tmp_path, locations=locations) as harness:
        for number in (3, 2, 1):  # So the record calls the last one the newest.
            put(harness, harness.cloud, "fake-east", number)
        expected = ["fake-east-2"] if "image_prefix" in named else ["fake-east-2", "fake-east-3"]
        assert ids(await prune_as_shown(harness)) == expected


async def test_the_record_of_an_image_does_not_stay_for_a_region_that_never_had_it(
    harness: Harness,
) -> None:
    put(harness, harness.cloud, "fake-east", 1)
    lacking = Place(harness.cloud.name, "fake-west")
    harness.store.images.open("base-1-amd64", [lacking], harness.operation())
    failed = fault("image-failed", "it cannot be read")
    harness.store.images.fail("base-1-amd64", lacking, failed, harness.operation(), is_gone=True)
    put(harness, harness.cloud, "fake-east", 2)
    put(harness, harness.cloud, "fake-west", 2)
    await prune_as_shown(harness)
    assert [each.name for each in harness.store.images.manifests()] == ["base-2-amd64"]
    assert on_record(harness, harness.cloud) == ["fake-east-2", "fake-west-2"]


async def test_an_image_that_was_published_after_the_listing_is_not_taken_for_gone(
    harness: Harness,
) -> None:
    cloud = harness.cloud
    listing = cloud.images

    async def publish_after(region: str, prefix: str = "") -> ImageListing:
        listed = await listing(region, prefix)
        if region == "fake-east" and not listed.images:
            await in_thread(put, harness, cloud, region, 1)
        elif region == "fake-east":
            return ImageListing(images=())  # Of a replica that is behind.
        return listed

    cloud.images = publish_after  # type: ignore[method-assign]
    shown = await prune(harness)
    assert ids(shown) == ["fake-east-1"]
    pruned = await prune(harness, delete=shown.deleted)
    assert (ids(pruned), pruned.faults, cloud.images_deleted) == ([], (), [])
    assert on_record(harness, cloud) == ["fake-east-1"]


@pytest.mark.parametrize("lasting", [False, True])
async def test_a_deletion_that_fails_once_is_repeated_and_one_that_fails_is_said(
    harness: Harness, lasting: bool
) -> None:
    put(harness, harness.cloud, "fake-east", 1, 2)
    shown = await prune(harness)
    harness.cloud.provider_faults.inject(
        ProviderFault.SERVER_ERROR, Call.DESTROY, times=1000 if lasting else 1
    )
    pruned = await prune(harness, delete=shown.deleted)
    assert ids(pruned) == ([] if lasting else ["fake-east-1"])
    assert [fault.kind for _, fault in pruned.faults] == ["provider-unavailable"] * lasting
