"""`relight image list|show|pin|unpin|prune` and `relight rollout image`."""

import pytest

from devkit.simulated.parts import OWNER
from relight.domain.image.image import ImageAtProvider, ImageStatus
from relight.store.images import Place
from tests.store.images import publish, ref

OLD, NEW = "base-1-amd64", "base-2-amd64"


@pytest.fixture
def two_images(installation):
    """Two images, on record and at the provider, in both regions."""
    for name in (OLD, NEW):
        for region in installation.harness.cloud.REGIONS:
            place = Place("fake", region)
            publish(installation.harness.store, place, name)
            at = ImageAtProvider(
                **dict(ref(name, place)),
                status=ImageStatus.AVAILABLE,
                architecture="amd64",
                owner=OWNER,
            )
            installation.harness.cloud.put_image(at)


async def test_images_are_listed_with_their_regions_and_machines(installation, two_images):
    await installation.relight("image", "pin", OLD, "--provider", "fake", "--region", "fake-east")
    listed = (await installation.relight("image", "list", "--json")).json["images"]
    assert [each["name"] for each in listed] == [NEW, OLD]
    assert listed[1]["regions"] == {"published": 2}
    assert listed[1]["pinned"] == ["fake/fake-east"]
    text = (await installation.relight("image", "list")).out
    assert "pinned in 1 regions" in text


async def test_an_image_is_shown_and_a_route_names_its_image(installation, two_images):
    words = ("route", "provision", "r-1", "--provider", "fake", "--region", "fake-east")
    assert (await installation.relight(*words, "--track", "stable")).code == 0
    shown = await installation.relight("image", "show", NEW)
    assert "1 machines" in shown.out
    assert "fake/fake-west" in shown.out
    route = await installation.relight("route", "show", "r-1")
    assert f"r-1-g1 is made of image {NEW} (id-of-{NEW}-in-fake-east)" in route.out
    unknown = await installation.relight("image", "show", "base-9-amd64")
    assert (unknown.code, "relight image list" in unknown.said) == (2, True)


async def test_a_pin_is_set_and_ended(installation, two_images):
    pinned = await installation.relight("image", "pin", OLD, "--reason", "a bad kernel", "--json")
    assert pinned.json == {
        "name": OLD,
        "pinned": True,
        "regions": ["fake/fake-east", "fake/fake-west"],
    }
    again = await installation.relight("image", "pin", OLD)
    assert "already" in again.out
    ended = await installation.relight("image", "unpin", OLD)
    assert ended.out.strip() == f"{OLD} is unpinned in fake/fake-east, fake/fake-west"
    nowhere = await installation.relight("image", "pin", OLD, "--provider", "fake", "--region", "x")
    assert nowhere.code != 0
    assert f"fake/x has no image {OLD}" in nowhere.said


async def test_a_prune_shows_and_then_deletes(installation, two_images):
    cloud = installation.harness.cloud
    shown = await installation.relight("image", "prune", "--keep", "1", "--dry-run")
    assert (shown.code, cloud.images_deleted) == (0, [])
    assert "goes" in shown.out
    pruned = await installation.relight("image", "prune", "--keep", "1", "--yes", "--json")
    assert pruned.code == 0
    assert cloud.images_deleted == [OLD, OLD]
    listed = (await installation.relight("image", "list", "--json")).json["images"]
    assert [each["name"] for each in listed] == [NEW]


async def test_machines_are_replaced_by_an_image_and_the_commands_know_it(
    installation, three_routes, two_images
):
    words = ("rollout", "image", NEW, "--wave", "1", "--wait", "--json")
    ended = await installation.relight(*words)
    assert ended.code == 0, ended
    status = await installation.relight("rollout", "status", NEW, "--json")
    assert (status.json["image_name"], status.json["phase"]) == (NEW, "converged")
    newest = await installation.relight("rollout", "status")
    assert f"image {NEW} over fleet: converged" in newest.out
    listed = await installation.relight("rollout", "list")
    assert f"image {NEW}" in listed.out
    undone = await installation.relight("rollout", "undo")
    assert (undone.code, "relight rollout image --help" in undone.said) == (3, True)


async def test_an_image_is_not_rolled_out_without_a_declared_release(installation, two_images):
    store = installation.harness.store
    store.fleet_settings.unset("default_release_tag", installation.harness.operation())
    refused = await installation.relight("rollout", "image", NEW)
    assert refused.code == 3
    assert "no release is desired" in refused.said


async def test_a_provider_that_is_given_up_is_forgotten(installation, two_images):
    store, relight = installation.harness.store, installation.relight
    publish(store, Place("gcore", "frankfurt"), OLD)
    pruned = await relight("image", "prune", "--dry-run")
    assert pruned.code == 1
    assert "`relight image forget gcore` gives them up" in pruned.said
    forgotten = await relight("image", "forget", "gcore", "--yes", "--json")
    assert forgotten.json == {"provider": "gcore", "forgotten": [f"{OLD} in frankfurt"]}
    assert (await relight("image", "prune", "--dry-run")).code == 0
    with_gcore = {"RELIGHT_PROVIDERS__GCORE__PROJECT_ID": "1"}
    words = ("image", "forget", "gcore", "--yes")
    await installation.refuses(3, words, "gcore is configured", **with_gcore)
