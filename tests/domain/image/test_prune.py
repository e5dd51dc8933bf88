"""Which images go from a region, and why the others stay."""

from datetime import UTC, datetime, timedelta
from typing import Any

from relight.domain.image.image import ImageAtProvider, ImageRef, ImageStatus
from relight.domain.image.prune import KnownImages, LocationImage, decide_prune

START = datetime(2026, 8, 1, tzinfo=UTC)
OWNER = "relight"


def image(number: int, **fields: object) -> ImageAtProvider:
    """Return an image; a greater number is a newer one."""
    return ImageAtProvider.model_validate(
        {
            "name": f"base-{number}",
            "provider": "fake",
            "region": "east",
            "image_id": f"id-{number}",
            "status": ImageStatus.AVAILABLE,
            "architecture": "amd64",
            "owner": OWNER,
            "created_at": START + timedelta(days=number),
            **fields,
        }
    )


def ref(number: int) -> ImageRef:
    return ImageRef(name=f"base-{number}", provider="fake", region="east", image_id=f"id-{number}")


def deleted(*images: ImageAtProvider, keep: int = 1, **known: object) -> list[str]:
    decisions = decide_prune(images, KnownImages.model_validate(known), OWNER, keep)
    return [each.image.image_id for each in decisions if each.deleted]


def why(*images: ImageAtProvider, keep: int = 1, **known: object) -> list[str]:
    decisions = decide_prune(images, KnownImages.model_validate(known), OWNER, keep)
    return [each.reason for each in decisions]


def test_the_newest_ones_of_each_architecture_stay():
    images = [image(number) for number in (3, 1, 4, 2)]
    assert deleted(*images, keep=2) == ["id-1", "id-2"]
    arm = image(1, name="base-1-arm", image_id="id-arm", architecture="arm64")
    assert deleted(*images, arm, keep=2) == ["id-1", "id-2"]
    assert why(image(1), image(2)) == ["a newer one is there", "it is the newest"]


def test_the_record_decides_which_is_newer():
    recorded = {"base-1": START + timedelta(days=99)}
    assert deleted(image(1), image(2), recorded_at=recorded) == ["id-2"]


def test_one_of_which_nothing_is_known_counts_as_the_oldest():
    assert deleted(image(9, created_at=None), image(1), image(2), keep=2) == ["id-9"]


def test_what_is_needed_or_in_use_stays_and_does_not_count_against_the_newest():
    images = [image(number) for number in (1, 2, 3)]
    needed = {"base-1": "it is pinned"}
    assert deleted(*images, needed=needed, used=frozenset({"id-2"})) == []
    assert why(*images, needed=needed, used=frozenset({"id-2"})) == [
        "it is pinned",
        "machines are made of it",
        "it is the newest",
    ]


def test_failed_imports_go_and_those_under_way_stay():
    images = [
        image(1, status=ImageStatus.FAILED),
        image(2, status=ImageStatus.IMPORTING),
        image(3, status=ImageStatus.WAITING),
        image(4, status=ImageStatus.DELETING),
        image(5),
        image(6, status=ImageStatus.FAILED),
    ]
    assert deleted(*images) == ["id-1", "id-6"]


def test_images_of_others_are_not_touched():
    assert decide_prune(
        [image(1, owner="other"), image(2, owner=None), image(3)], KnownImages(), OWNER, 1
    ) == decide_prune([image(3)], KnownImages(), OWNER, 1)


def test_what_its_provider_has_no_more_goes_from_the_record():
    known = KnownImages(published=(ref(1), ref(2)))
    [gone, newest] = decide_prune([image(2)], known, OWNER, 1)
    assert (gone.image, gone.deleted, gone.in_record) == (ref(1), True, True)
    assert not newest.deleted


def test_what_the_settings_of_the_location_name_stays():
    images = [image(number) for number in (1, 2, 3, 4)]
    for name in ("id-1", "base-1"):
        assert deleted(*images, location=LocationImage(image=name)) == ["id-2", "id-3"]
    assert deleted(*images, location=LocationImage(prefix="base-")) == ["id-1", "id-2", "id-3"]
    # The provider's own dates decide which one a machine gets.
    recorded = {"base-1": START + timedelta(days=99)}
    newest = LocationImage(prefix="base-")
    assert deleted(*images, recorded_at=recorded, location=newest) == ["id-2", "id-3"]
    arm = image(1, name="base-arm", image_id="id-arm", architecture="arm64")
    old = image(0, name="base-arm-0", image_id="id-arm-0", architecture="arm64")
    assert deleted(arm, old, *images, location=newest) == ["id-1", "id-2", "id-3", "id-arm-0"]


def test_the_record_of_a_region_without_the_image_goes_with_newer_ones():
    recorded = {f"base-{number}": START + timedelta(days=number) for number in (1, 2, 3)}
    known: dict[str, Any] = {"recorded_at": recorded, "missing": (ref(1), ref(3))}
    assert deleted(image(2), **known) == ["id-1"]
    assert deleted(image(2), keep=2, **known) == ["id-1"]
    assert deleted(image(2), keep=3, **known) == []
    assert deleted(image(2), needed={"base-1": "it is pinned"}, **known) == []
    assert deleted(image(2), image(1, owner="another"), **known) == []


def test_a_region_never_goes_empty_of_available_images():
    for keep in (1, 2, 3):
        images = [image(number) for number in range(1, 6)]
        assert len(deleted(*images, keep=keep)) == 5 - keep
