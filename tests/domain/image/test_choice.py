"""Which image a new machine is made of."""

from datetime import UTC, datetime, timedelta

from relight.domain.image.choice import choose_image
from relight.domain.image.publication import ImageInRegion, PublicationStatus

START = datetime(2026, 8, 1, tzinfo=UTC)


def image(number: int, architecture: str = "amd64", **fields: object) -> ImageInRegion:
    """Return an image; a greater number is a newer one."""
    return ImageInRegion.model_validate(
        {
            "name": f"base-{number}-{architecture}",
            "provider": "fake",
            "region": "fake-east",
            "architecture": architecture,
            "recorded_at": START + timedelta(days=number),
            "image_id": f"image-{number}",
            "status": PublicationStatus.PUBLISHED,
            "changed_at": START,
            **fields,
        }
    )


def chosen(*images: ImageInRegion, stopped: tuple[str, ...] = ()) -> str | None:
    found = choose_image(images, "amd64", stopped)
    return found.image_id if found else None


def test_without_any_the_settings_of_the_location_decide():
    assert chosen() is None


def test_it_is_the_newest_of_the_architecture_that_the_region_has():
    waiting = image(4, status=PublicationStatus.IMPORTING)
    failed = image(5, status=PublicationStatus.FAILED)
    assert chosen(image(2), image(1), image(3, "arm64"), waiting, failed) == "image-2"


def test_an_older_image_that_was_published_later_is_not_the_newest():
    later = START + timedelta(days=9)
    assert chosen(image(1, published_at=later), image(2, published_at=START)) == "image-2"


def test_a_pinned_one_is_taken_whatever_is_newer():
    assert chosen(image(1, pinned=True), image(2)) == "image-1"


def test_where_the_pinned_one_is_missing_no_other_is_taken():
    missing = image(1, pinned=True, status=PublicationStatus.FAILED, image_id=None)
    found = choose_image([missing, image(2)], "amd64")
    assert found is not None
    assert (found.name, found.ref) == ("base-1-amd64", None)
    assert chosen(image(1, "arm64", pinned=True), image(2)) == "image-2"


def test_one_that_a_gate_has_stopped_is_taken_only_if_it_is_pinned():
    assert chosen(image(1), image(2), stopped=("base-2-amd64",)) == "image-1"
    assert chosen(image(2), stopped=("base-2-amd64",)) is None
    assert chosen(image(1), image(2, pinned=True), stopped=("base-2-amd64",)) == "image-2"
