"""Freeze windows, exclusions and pins."""

from datetime import datetime

import pytest
from pydantic import ValidationError

from relight.domain.breaker.decisions import breaker_group
from relight.domain.hold import (
    Hold,
    HoldKind,
    Selector,
    active_freeze,
    covers,
    exclusion_of,
    thaws_at,
)
from tests.domain.fleets import (
    HOUR,
    NOW,
    exclusion,
    freeze,
    route,
)

EU_1 = route("eu-1", provider="linode", region="east", track="beta")


@pytest.mark.parametrize(
    ("selector", "covered"),
    [
        (Selector(), True),
        (Selector(route_id="eu-1"), True),
        (Selector(provider="linode", region="east"), True),
        (Selector(provider="oci", region="east"), False),
        (Selector(region="east", track="stable"), False),
    ],
)
def test_a_selector_covers_routes_that_match_every_field(selector, covered):
    assert covers(selector, EU_1) is covered


def test_an_exclusion_ends_exactly_when_it_expires():
    held = exclusion(Selector(track="beta"), expires_in=HOUR)
    assert exclusion_of(EU_1, [held], NOW, None) == held
    assert exclusion_of(EU_1, [held], NOW + HOUR, None) is None


def test_of_several_exclusions_the_last_to_expire_is_returned():
    short, long = (exclusion(Selector(track="beta"), hours * HOUR) for hours in (1, 2))
    assert exclusion_of(EU_1, [short, long], NOW, None) == long
    assert exclusion_of(EU_1, [long, short], NOW, None) == long


def test_a_pin_excludes_every_release_but_its_own():
    pin = exclusion(Selector(route_id="eu-1"), pinned_to="v0.0.73")
    assert exclusion_of(EU_1, [pin], NOW, "v0.0.74") == pin
    assert exclusion_of(EU_1, [pin], NOW, None) == pin
    assert exclusion_of(EU_1, [pin], NOW, "v0.0.73") is None


def test_a_freeze_includes_its_start_and_excludes_its_end():
    window = freeze(HOUR, 2 * HOUR)
    assert active_freeze([window], NOW) is None
    assert active_freeze([window], NOW + HOUR) == window
    assert active_freeze([window], NOW + 2 * HOUR) is None


def test_consecutive_freezes_thaw_at_the_end_of_the_last():
    windows = [freeze(-HOUR, HOUR), freeze(HOUR, 2 * HOUR), freeze(3 * HOUR, 4 * HOUR)]
    assert thaws_at(windows, NOW) == NOW + 2 * HOUR
    assert thaws_at(windows, NOW + 2 * HOUR) is None


def test_a_freeze_that_ends_before_it_starts_is_refused():
    with pytest.raises(ValidationError, match="a hold ends after it starts"):
        freeze(HOUR, HOUR)


def test_an_exclusion_of_everything_is_refused():
    with pytest.raises(ValidationError, match="an exclusion names a route"):
        exclusion(Selector())


def test_exclusions_and_freezes_need_an_owner():
    with pytest.raises(ValidationError, match="owner"):
        exclusion(Selector(track="beta"), owner=" ")
    with pytest.raises(ValidationError, match="owner"):
        freeze(HOUR, 2 * HOUR, owner="")


def test_a_time_without_a_time_zone_is_refused():
    noon = datetime(2026, 11, 24, 12)  # noqa: DTZ001 - the point of it
    with pytest.raises(ValidationError, match="timezone"):
        Hold(kind=HoldKind.FREEZE, starts_at=noon, ends_at=NOW, owner="ann", reason="why")


def test_only_an_exclusion_is_a_pin():
    with pytest.raises(ValidationError, match="only an exclusion pins a release"):
        freeze(HOUR, 2 * HOUR).model_validate(
            {**freeze(HOUR, 2 * HOUR).model_dump(), "pinned_to": "v0.0.73"}
        )


@pytest.mark.parametrize(
    ("covers", "group"),
    [
        (Selector(), "fleet"),
        (Selector(provider="linode"), "provider linode"),
        (Selector(provider="linode", region="us-east"), "region linode/us-east"),
        (Selector(track="beta"), "track beta"),
    ],
)
def test_a_breaker_override_covers_one_group_of_the_breaker(covers, group):
    assert breaker_group(override(covers).covers) == group


@pytest.mark.parametrize(
    "covers",
    [
        Selector(route_id="eu-1"),
        Selector(region="us-east"),
        Selector(provider="linode", track="beta"),
    ],
)
def test_a_breaker_override_of_no_group_is_refused(covers):
    with pytest.raises(ValidationError, match="a breaker override covers one group"):
        override(covers)


def test_an_exclusion_that_has_not_started_excludes_nothing():
    later = exclusion(Selector(track="beta"), 3 * HOUR).model_copy(update={"starts_at": NOW + HOUR})
    assert exclusion_of(EU_1, [later], NOW, None) is None
    assert exclusion_of(EU_1, [later], NOW + HOUR, None) == later


def override(covers: Selector) -> Hold:
    return Hold(
        kind=HoldKind.BREAKER_OVERRIDE,
        covers=covers,
        starts_at=NOW,
        ends_at=NOW + HOUR,
        owner="ann",
        reason="it closed",
    )
