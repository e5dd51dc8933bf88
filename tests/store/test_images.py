"""Images: recorded once, published and failed by region, pinned, removed."""

import pytest

from relight.domain.fault.table import fault
from relight.domain.image.publication import PublicationStatus
from relight.store.errors import ImageConflictError, UnknownImageError
from relight.store.images import Place
from relight.store.row_repair import READERS
from tests.store.fleets import MANUAL, Run
from tests.store.images import manifest, publish, ref
from tests.store.sql import execute

NAME = "base-1-amd64"
EAST, WEST = Place("gcore", "76"), Place("gcore", "77")
LATE = fault("image-late", "it did not begin within 10 minutes")


@pytest.fixture
def opened(store):
    store.images.record(manifest(), MANUAL)
    store.images.open(NAME, [EAST, WEST], MANUAL)
    return store


def of(store, place):
    [found] = store.images.list(name=NAME, provider=place.provider, region=place.region)
    return found


def test_an_image_is_recorded_once_and_its_name_means_one_content(store):
    assert store.images.record(manifest(), MANUAL)
    assert not store.images.record(manifest(), MANUAL)
    for change in ({"disk_sha256": "4" * 64}, {"identity": "4" * 64}):
        with pytest.raises(ImageConflictError, match="another label"):
            store.images.record(manifest(**change), MANUAL)
    assert store.images.manifest(NAME) == manifest()
    assert store.images.manifest("base-2-amd64") is None
    assert [event.detail["name"] for event in store.events.list(kind="image-recorded")] == [NAME]


def test_a_publication_goes_from_waiting_to_published(opened):
    assert [each.place for each in opened.images.list()] == ["gcore/76", "gcore/77"]
    assert {each.status for each in opened.images.list()} == {PublicationStatus.WAITING}
    opened.images.begin(NAME, EAST, 1)
    opened.images.order(ref(NAME, EAST, "task-1"))
    found = of(opened, EAST)
    assert (found.status, found.image_id, found.attempts) == ("importing", "task-1", 1)
    opened.images.publish(ref(NAME, EAST, "image-1"), MANUAL)
    found = of(opened, EAST)
    assert (found.status, found.image_id, found.architecture) == ("published", "image-1", "amd64")
    assert found.published_at == found.changed_at
    assert of(opened, WEST).status is PublicationStatus.WAITING
    [event] = opened.events.list(kind="image-published")
    assert event.detail == {
        "image": NAME,
        "provider": "gcore",
        "region": "76",
        "image_id": "image-1",
    }


def test_a_failed_region_keeps_the_providers_answer(opened):
    opened.images.begin(NAME, EAST, 2)
    opened.images.order(ref(NAME, EAST, "task-1"))
    opened.images.note_answer(ref(NAME, EAST, "task-1"), '{"state": "NEW"}' * 1000)
    opened.images.fail(NAME, EAST, LATE, MANUAL, is_gone=True)
    found = of(opened, EAST)
    assert (found.status, found.image_id, found.attempts) == ("failed", None, 2)
    assert found.reason == LATE.summary
    assert found.answer.startswith('{"state": "NEW"}')
    assert len(found.answer) <= 8192
    [event] = opened.events.list(kind="image-failed")
    assert event.fault_kind == "image-late"
    opened.images.begin(NAME, EAST, 3)
    assert (of(opened, EAST).status, of(opened, EAST).answer) == ("importing", "")


def test_a_region_that_has_the_image_keeps_it_while_it_is_published_again(opened):
    opened.images.publish(ref(NAME, EAST, "image-1"), MANUAL)
    opened.images.open(NAME, [EAST], MANUAL)
    opened.images.begin(NAME, EAST, 1)
    opened.images.order(ref(NAME, EAST, "image-1"))
    assert of(opened, EAST).status is PublicationStatus.PUBLISHED
    opened.images.fail(NAME, EAST, LATE, MANUAL, is_gone=False)
    assert of(opened, EAST).status is PublicationStatus.PUBLISHED
    assert of(opened, EAST).reason == LATE.summary
    opened.images.order(ref(NAME, EAST, "image-2"))
    assert of(opened, EAST).status is PublicationStatus.IMPORTING
    opened.images.fail(NAME, EAST, LATE, MANUAL, is_gone=False)
    assert of(opened, EAST).status is PublicationStatus.FAILED


def test_what_was_not_begun_has_its_reason_and_what_is_there_stays(opened):
    opened.images.publish(ref(NAME, EAST), MANUAL)
    opened.images.fail_unbegun(NAME, [WEST, EAST], LATE, MANUAL)
    assert [(each.status, each.reason) for each in opened.images.list()] == [
        (PublicationStatus.PUBLISHED, LATE.summary),
        (PublicationStatus.FAILED, LATE.summary),
    ]
    [event] = opened.events.list(kind="image-failed")
    assert event.detail["regions"] == ["gcore/76", "gcore/77"]


def test_each_activity_writes_once(opened):
    run = Run(f"image/{NAME}").activity()
    opened.images.publish(ref(NAME, EAST), run)
    opened.images.order(ref(NAME, EAST, "another"))
    opened.images.publish(ref(NAME, EAST), run)
    assert of(opened, EAST).image_id == "another"
    assert len(opened.events.list(kind="image-published")) == 1


def test_what_is_not_on_record_is_refused(store):
    with pytest.raises(UnknownImageError, match="no image base-1-amd64"):
        store.images.open(NAME, [EAST], MANUAL)
    store.images.record(manifest(), MANUAL)
    with pytest.raises(UnknownImageError, match="not being published in gcore/76"):
        store.images.begin(NAME, EAST, 1)
    with pytest.raises(UnknownImageError, match="gcore/76 has no image"):
        store.images.pin(NAME, [EAST], MANUAL, pinned=True)


def test_a_region_has_one_pinned_image_of_an_architecture(store):
    publish(store, EAST)
    publish(store, WEST)
    publish(store, EAST, "base-2-amd64", disk_sha256="4" * 64)
    publish(store, EAST, "base-2-arm64", architecture="arm64")
    assert store.images.pin(NAME, None, MANUAL, pinned=True) == [EAST, WEST]
    assert store.images.pin(NAME, None, MANUAL, pinned=True) == []
    assert store.images.pin("base-2-arm64", [EAST], MANUAL, pinned=True) == [EAST]
    assert store.images.pin("base-2-amd64", [EAST], MANUAL, pinned=True) == [EAST]
    pinned = {(each.name, each.region) for each in store.images.list() if each.pinned}
    assert pinned == {(NAME, "77"), ("base-2-arm64", "76"), ("base-2-amd64", "76")}
    assert store.images.pin(NAME, None, MANUAL, pinned=False) == [WEST]
    assert len(store.events.list(kind="image-unpinned")) == 1


def test_a_pin_of_a_region_that_has_lost_the_image_can_be_ended(store):
    publish(store, EAST)
    store.images.pin(NAME, None, MANUAL, pinned=True)
    store.images.fail(NAME, EAST, LATE, MANUAL, is_gone=True)
    assert of(store, EAST).pinned
    assert store.images.pin(NAME, None, MANUAL, pinned=False) == [EAST]


def test_an_image_that_no_region_has_cannot_be_pinned(opened):
    with pytest.raises(UnknownImageError, match="no region has the image base-1-amd64"):
        opened.images.pin(NAME, None, MANUAL, pinned=True)


def test_the_newest_image_is_the_first(store):
    publish(store, EAST)
    publish(store, EAST, "base-0-amd64", disk_sha256="4" * 64)
    assert [each.name for each in store.images.list()] == ["base-0-amd64", NAME]
    assert [each.name for each in store.images.manifests()] == ["base-0-amd64", NAME]
    # To prove the old one again makes it no newer.
    store.images.publish(ref(NAME, EAST), MANUAL)
    assert [each.name for each in store.images.list()] == ["base-0-amd64", NAME]


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("published_images", "status = 'publishd'"),
        ("published_images", "attempts = -1"),
        ("images", "architecture = 'arm64'"),
        ("images", "manifest = '{}'"),
    ],
)
def test_a_row_that_was_changed_by_hand_is_left_out_and_named(opened, store_url, table, change):
    assert table in {row.__tablename__ for row in READERS}
    where = " WHERE region = '76'" if table == "published_images" else ""
    execute(store_url, f"UPDATE {table} SET {change}{where}")
    assert EAST not in {Place(each.provider, each.region) for each in opened.images.list()}
    [bad] = opened.row_repair.list()
    assert bad.table == table
