"""The use of images by machines, and the removal of one that nobody needs."""

import pytest

from relight.domain.image.publication import PublicationStatus
from relight.domain.machine import MachineImage
from relight.store.errors import UnknownImageError
from relight.store.images import Place
from tests.store.fleets import MANUAL, declare_tracks, opening, run_on
from tests.store.images import publish, ref

NAME = "base-1-amd64"
EAST, WEST = Place("lab", "east"), Place("lab", "west")


@pytest.fixture
def planned(store):
    """The key of a machine in the region EAST that is not created yet."""
    declare_tracks(store)
    return store.routes.open(opening(), run_on().activity()).machine_key


def image(place: Place) -> MachineImage:
    return MachineImage(name=NAME, image_id=ref(NAME, place).image_id)


def status(store, place):
    [found] = store.images.list(name=NAME, provider=place.provider, region=place.region)
    return found.status


def removed(store, place):
    assert store.image_use.begin_removal(ref(NAME, place), gone=False) is None
    return store.image_use.remove(ref(NAME, place), MANUAL)


def test_an_image_goes_with_its_last_region(store):
    publish(store, EAST)
    publish(store, WEST)
    assert removed(store, EAST)
    assert not store.image_use.remove(ref(NAME, EAST), MANUAL)
    assert store.images.manifest(NAME) is not None
    assert removed(store, WEST)
    assert store.images.manifest(NAME) is None
    assert len(store.events.list(kind="image-removed")) == 2


def test_the_images_of_a_provider_that_is_given_up_are_forgotten(store):
    publish(store, EAST)
    publish(store, WEST)
    publish(store, Place("gcore", "frankfurt"))
    publish(store, EAST, "base-2-amd64")
    store.images.pin(NAME, [EAST], MANUAL, pinned=True)
    assert store.image_use.forget("lab", MANUAL) == [
        *("base-1-amd64 in east", "base-1-amd64 in west", "base-2-amd64 in east"),
    ]
    assert [each.name for each in store.images.manifests()] == [NAME]
    assert [each.provider for each in store.images.list()] == ["gcore"]
    [event] = store.events.list(kind="images-forgotten")
    assert event.detail["provider"] == "lab"
    assert store.image_use.forget("lab", MANUAL) == []


def test_no_machine_is_made_of_an_image_that_goes(store, planned):
    publish(store, EAST)
    assert store.image_use.begin_removal(ref(NAME, EAST), gone=False) is None
    assert status(store, EAST) is PublicationStatus.DELETING
    with pytest.raises(UnknownImageError, match="lab/east does not have image"):
        store.image_use.take(planned, image(EAST))
    with pytest.raises(UnknownImageError):
        store.images.pin(NAME, [EAST], MANUAL, pinned=True)
    store.image_use.keep(ref(NAME, EAST))
    store.image_use.take(planned, image(EAST))
    assert store.machines.get(planned).image_id == image(EAST).image_id


def test_an_image_that_a_planned_machine_has_taken_stays(store, planned):
    publish(store, EAST)
    store.image_use.take(planned, image(EAST))
    stays = store.image_use.begin_removal(ref(NAME, EAST), gone=False)
    assert stays == "machines are made of it"
    assert status(store, EAST) is PublicationStatus.PUBLISHED


def test_one_that_was_pinned_or_is_published_meanwhile_stays(store):
    publish(store, EAST)
    publish(store, WEST)
    store.images.pin(NAME, [EAST], MANUAL, pinned=True)
    assert store.image_use.begin_removal(ref(NAME, EAST), gone=False) == "it is pinned"
    store.images.order(ref(NAME, WEST, "another"))
    assert store.image_use.begin_removal(ref(NAME, WEST), gone=False) is None  # another one is
    assert status(store, WEST) is PublicationStatus.IMPORTING
    stays = store.image_use.begin_removal(ref(NAME, WEST, "another"), gone=True)
    assert stays == "it is being published"


def test_a_pin_outlives_an_image_that_its_provider_lost(store):
    publish(store, EAST)
    store.images.pin(NAME, [EAST], MANUAL, pinned=True)
    assert store.image_use.begin_removal(ref(NAME, EAST), gone=True) is None
    assert store.image_use.remove(ref(NAME, EAST), MANUAL)
    [row] = store.images.list()
    assert (row.status, row.pinned, row.image_id) == (PublicationStatus.FAILED, True, None)
