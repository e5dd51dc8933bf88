"""What a publication of an image begins next, and how it ends."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.fault.table import fault
from relight.domain.image.image import ImageRef
from relight.domain.image.imports import (
    Begin,
    ImportLimits,
    ProviderPlan,
    RegionProgress,
    begin_order,
    has_ended,
    is_gone_after,
    next_begin,
    outcome_of,
    outcomes_of,
    sources_in,
    with_first,
)
from relight.domain.image.publication import (
    ImageInRegion,
    ImagePublication,
    PublicationOutcome,
    PublicationStatus,
)

LATE, EXPOSED = fault("image-late", "it did not begin"), fault("image-exposed", "it is public")


def plan(*regions: str, source: ImageRef | None = None, **limits: object) -> ProviderPlan:
    usual = {
        "copies": False,
        "staged": True,
        "max_in_flight": 2,
        "stagger": timedelta(0),
        "start_within": timedelta(minutes=10),
        "finish_within": timedelta(hours=1),
    }
    return ProviderPlan(
        provider="gcore",
        limits=ImportLimits.model_validate({**usual, **limits}),
        regions=regions,
        source=source,
    )


def image_in(region: str) -> ImageRef:
    return ImageRef(name="base", provider="gcore", region=region, image_id=f"id-{region}")


def waiting(*regions: str) -> list[RegionProgress]:
    return [RegionProgress(region=each) for each in regions]


def test_no_more_are_under_way_than_the_provider_works_on():
    regions = waiting("a", "b", "c")
    assert next_begin(plan("a", "b", "c"), regions, 2) == Begin("a", 1, None)
    regions[0] = regions[0].begun
    assert next_begin(plan("a", "b", "c"), regions, 2) == Begin("b", 1, None)
    regions[1] = regions[1].begun
    assert next_begin(plan("a", "b", "c"), regions, 2) is None
    assert not has_ended(plan("a", "b", "c"), regions, 2)
    regions[0] = regions[0].published(image_in("a"))
    assert next_begin(plan("a", "b", "c"), regions, 2) == Begin("c", 1, None)


def test_each_region_has_its_first_attempt_before_one_has_its_second():
    failed = RegionProgress(region="a").begun.failed(LATE)
    assert next_begin(plan("a", "b"), [failed, *waiting("b")], 2) == Begin("b", 1, None)
    done = RegionProgress(region="b").begun.published(image_in("b"))
    assert next_begin(plan("a", "b"), [failed, done], 2) == Begin("a", 2, None)
    again = failed.begun.failed(LATE)
    assert next_begin(plan("a", "b"), [again, done], 2) is None
    assert has_ended(plan("a", "b"), [again, done], 2)


@pytest.mark.parametrize(
    "kind", ["image-exposed", "machine-conflict", "provider-credentials", "provider-invalid"]
)
def test_what_another_attempt_would_have_again_is_not_tried_again(kind):
    assert has_ended(plan("a"), [RegionProgress(region="a").begun.failed(fault(kind, "no"))], 9)


def test_where_images_are_copied_one_region_imports_and_the_others_wait_for_it():
    copying = plan("a", "b", "c", copies=True)
    regions = waiting("a", "b", "c")
    assert next_begin(copying, regions, 2) == Begin("a", 1, None)
    regions[0] = regions[0].begun
    assert next_begin(copying, regions, 2) is None
    regions[0] = regions[0].failed(LATE)
    assert next_begin(copying, regions, 2) == Begin("b", 1, None)
    regions[1] = regions[1].begun.published(image_in("b"))
    assert next_begin(copying, regions, 2) == Begin("c", 1, image_in("b"))
    regions[2] = regions[2].begun
    assert next_begin(copying, regions, 2) == Begin("a", 2, image_in("b"))


def test_a_region_that_has_it_already_is_the_source_and_no_copy_of_itself():
    copying = plan("a", "b", copies=True, source=image_in("a"))
    regions = waiting("a", "b")
    assert next_begin(copying, regions, 2) == Begin("a", 1, None)
    regions[0] = regions[0].begun
    assert next_begin(copying, regions, 2) == Begin("b", 1, image_in("a"))


def test_any_play_ends_within_its_limits():
    """Each region is tried until it has the image or its attempts, in any order of ends."""
    names = [f"region-{number}" for number in range(9)]
    for copies, most, fails_every in itertools.product((False, True), (1, 3), (2, 3, 100)):
        made = plan(*names, copies=copies, max_in_flight=most)
        regions = {each: RegionProgress(region=each) for each in names}
        ends = itertools.count(1)
        while not has_ended(made, [*regions.values()], 2):
            begin = next_begin(made, [*regions.values()], 2)
            if begin is not None:
                regions[begin.region] = regions[begin.region].begun
                assert sum(each.in_flight for each in regions.values()) <= most
                continue
            ended = next(each for each in reversed(regions.values()) if each.in_flight)
            is_bad = next(ends) % fails_every == 0
            after = ended.failed(LATE) if is_bad else ended.published(image_in(ended.region))
            regions[ended.region] = after
        assert all(each.image is not None or each.attempts == 2 for each in regions.values())


# ---------------------------------------------------------------- the record and the result


def recorded(region: str, status: PublicationStatus, image_id: str | None) -> ImageInRegion:
    now = datetime.now(UTC)
    return ImageInRegion(
        name="base",
        provider="gcore",
        region=region,
        architecture="amd64",
        recorded_at=now,
        image_id=image_id,
        status=status,
        changed_at=now,
    )


def test_what_a_lost_publication_left_under_way_begins_first():
    known = [
        recorded("c", PublicationStatus.IMPORTING, "task-1"),
        recorded("b", PublicationStatus.PUBLISHED, "id-b"),
        recorded("x", PublicationStatus.IMPORTING, "task-2"),
    ]
    assert begin_order(("a", "b", "c"), known) == ("c", "a", "b")
    assert sources_in(known) == (image_in("b").model_copy(update={"image_id": "id-b"}),)
    assert sources_in(known[:1]) == ()


def test_a_result_says_which_regions_lack_the_image():
    there = outcome_of("gcore", RegionProgress(region="a").begun.published(image_in("a")), None)
    missing = outcome_of("gcore", RegionProgress(region="b").begun.failed(LATE), EXPOSED)
    assert (there.image_id, there.fault) == ("id-a", None)
    assert (missing.image_id, missing.attempts, missing.fault) == (None, 1, LATE.brief)
    cases = {
        PublicationOutcome.PUBLISHED: (there, there),
        PublicationOutcome.PARTIAL: (there, missing),
        PublicationOutcome.FAILED: (missing,),
    }
    for outcome, regions in cases.items():
        assert ImagePublication(name="base", regions=regions).outcome is outcome
    partial = ImagePublication(name="base", regions=(there, missing))
    assert partial.text == "base: 1 of 2 regions have it; without it: gcore/b"
    many = ImagePublication(name="base", regions=(missing,) * 12)
    assert many.text.endswith("gcore/b and 2 more")


def test_a_provider_whose_part_fails_gives_its_fault_to_what_was_not_begun():
    done = RegionProgress(region="a").begun.published(image_in("a"))
    first, second = outcomes_of(plan("a", "b"), [done, *waiting("b")], EXPOSED)
    assert (first.image_id, first.fault) == ("id-a", None)
    assert (second.region, second.fault, second.attempts) == ("b", EXPOSED.brief, 0)


def test_where_one_region_alone_imports_the_others_are_copied_from_it_or_fail_with_it():
    copying = plan("a", "b", copies=True, first="b")
    regions = waiting("a", "b")
    assert next_begin(copying, regions, 1) == Begin("b", 1, None)
    regions[1] = regions[1].begun.published(image_in("b"))
    assert next_begin(copying, regions, 1) == Begin("a", 1, image_in("b"))
    failed = [*waiting("a"), RegionProgress(region="b").begun.failed(LATE)]
    assert has_ended(copying, failed, 1)
    assert [each.fault for each in outcomes_of(copying, failed, None)] == [LATE.brief] * 2


def test_the_region_that_others_are_copied_from_is_published_to_if_no_region_has_the_image():
    limits = plan(copies=True, first="b").limits
    assert with_first(("a",), limits, None) == ("b", "a")
    assert with_first(("a", "b"), limits, None) == ("a", "b")
    assert with_first(("a",), limits, image_in("c")) == ("a",)
    assert with_first((), limits, None) == ()
    assert with_first(("a",), plan().limits, None) == ("a",)


def test_an_exposed_image_never_counts_as_there():
    assert is_gone_after(EXPOSED, is_withdrawn=False)
    assert is_gone_after(LATE, is_withdrawn=True)
    assert not is_gone_after(LATE, is_withdrawn=False)
