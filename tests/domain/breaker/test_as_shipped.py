"""Every rule of the breaker, and both hourly limits, at the very values that ship."""

from datetime import timedelta

import pytest

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerLimits,
    ConnectivityResult,
    Destruction,
    MachineObservation,
)
from relight.domain.breaker.decisions import count_reach, update_breaker
from relight.domain.destruction import Allowance
from relight.domain.hold import Hold, HoldKind, Selector
from relight.settings import Settings
from tests.domain.fleets import NOW

LIMITS = BreakerLimits()
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)


def fleet(total, unreachable, where="linode/east", track="stable", ago=MINUTE):
    """Return the observations of a group, so many of which are unreachable."""
    provider, region = where.split("/")
    return [
        MachineObservation(
            key=f"{where}-{track}-{number}",
            provider=provider,
            region=region,
            track=track,
            observed_at=NOW - ago,
            reached=number >= unreachable,
        )
        for number in range(total)
    ]


def check(ago=SECOND, *, reached=True):
    return ConnectivityResult(name="up", observed_at=NOW - ago, reached=reached)


def after(machines, before=None, now=NOW, checks=None, destructions=(), overrides=()):
    reach = count_reach(machines, destructions, LIMITS, now)
    checks = (check().model_copy(update={"observed_at": now}),) if checks is None else checks
    return update_breaker(before or Breaker(), reach, checks, LIMITS, now, overrides)


def test_what_ships():
    assert LIMITS.model_dump() == {
        "open_share": 0.2,
        "close_share": 0.1,
        "min_unreachable": 2,
        "calm_for": 15 * MINUTE,
        "observation_lasts": 20 * MINUTE,
        "connectivity_lasts": 5 * MINUTE,
        "remembered_for": 60 * MINUTE,
        "destroyed_per_hour": 10,
        "destroyed_per_hour_in_region": 2,
        "spared_for": 10 * MINUTE,
    }
    assert Settings.model_fields["breaker"].default == LIMITS


ELSEWHERE = fleet(200, 0, "oci/west", "other")
"""Machines that share no group but the fleet with others."""

GROUPS = {
    "region": fleet(10, 3) + fleet(90, 0, "linode/west") + ELSEWHERE,
    "provider": [
        *(each for at in range(10) for each in fleet(1, at < 3, f"linode/{at}", f"t{at}")),
        *ELSEWHERE,
    ],
    "track": [
        *(each for at in range(10) for each in fleet(1, at < 3, f"p{at}/east")),
        *ELSEWHERE,
    ],
    "fleet": [each for at in range(10) for each in fleet(1, at < 3, f"p{at}/east", f"t{at}")],
}


@pytest.mark.parametrize("group", GROUPS)
def test_three_of_ten_unreachable_open_it_in_a_group_of_each_kind(group):
    opened = after(GROUPS[group])
    assert opened.incident is not None
    assert [each.group.split()[0] for each in opened.incident.groups] == [group]


@pytest.mark.parametrize(
    ("total", "unreachable", "is_open"),
    [(10, 2, False), (9, 2, True), (10, 3, True), (5, 1, False), (1, 1, False), (2, 2, True)],
)
def test_more_than_a_fifth_and_at_least_two(total, unreachable, is_open):
    assert after(fleet(total, unreachable)).is_open is is_open


def test_it_closes_at_a_tenth_after_a_quarter_of_an_hour():
    opened = after(fleet(10, 3))
    two = after(fleet(10, 2), opened)
    assert (two.is_open, two.calm_since) == (True, None)
    calm = after(fleet(10, 1), opened)
    assert calm.calm_since == NOW
    for minutes, is_open in ((14, True), (15, False)):
        later = NOW + minutes * MINUTE
        assert after(fleet(10, 1, ago=-minutes * MINUTE), calm, later).is_open is is_open


def test_an_answer_counts_for_twenty_minutes_and_silence_for_ever():
    for minutes, unknown in ((20, 0), (21, 4)):
        seen = after([*fleet(4, 1, ago=MINUTE)[:1], *fleet(4, 0, ago=minutes * MINUTE)[1:]])
        assert len(seen.unknown) == unknown, minutes
    assert after(fleet(3, 3, ago=timedelta(days=30))).is_open


def test_a_connectivity_check_counts_for_five_minutes_and_one_is_enough():
    assert not after([], checks=(check(5 * MINUTE),)).is_open
    assert after([], checks=(check(5 * MINUTE + SECOND),)).is_open
    assert after([], checks=(check(reached=False),)).is_open
    assert not after([], checks=(check(reached=False), check())).is_open
    assert after([], checks=()).is_open


def test_without_new_checks_an_incident_of_connectivity_neither_begins_nor_ends():
    closed = update_breaker(Breaker(), (), None, LIMITS, NOW)
    assert not closed.is_open
    offline = after([], checks=(check(reached=False),))
    assert update_breaker(offline, (), None, LIMITS, NOW + timedelta(days=1)).is_open


def test_a_machine_that_was_destroyed_as_unreachable_counts_for_an_hour():
    lost = [
        Destruction(at=NOW, provider="linode", region="east", track="stable", unreachable=True)
    ] * 2
    for minutes, is_open in ((59, True), (61, False)):
        later = NOW + minutes * MINUTE
        machines = fleet(7, 0, ago=-minutes * MINUTE)
        assert after(machines, now=later, destructions=lost).is_open is is_open


def test_an_override_ends():
    override = Hold(
        hold_id=1,
        kind=HoldKind.BREAKER_OVERRIDE,
        covers=Selector(provider="linode", region="east"),
        starts_at=NOW,
        ends_at=NOW + MINUTE,
        owner="eve",
        reason="it closed",
    )
    machines = GROUPS["region"]
    assert not after(machines, overrides=(override,)).is_open
    assert after(machines, now=NOW + 2 * MINUTE, overrides=(override,)).is_open


@pytest.mark.parametrize(
    ("regions", "ago", "allowed"),
    [
        (["east"], 59 * MINUTE, True),
        (["east", "east"], 59 * MINUTE, False),
        (["east", "east"], 60 * MINUTE, True),
        ([f"r{number}" for number in range(9)], 59 * MINUTE, True),
        ([f"r{number}" for number in range(10)], 59 * MINUTE, False),
        ([f"r{number}" for number in range(10)], 60 * MINUTE, True),
    ],
)
def test_two_in_a_region_and_ten_in_all_within_an_hour(regions, ago, allowed):
    done = [Destruction(at=NOW - ago, provider="linode", region=each) for each in regions]
    refusal = Allowance(Breaker(), done, LIMITS, NOW).why_not("linode", "east", "stable")
    assert (refusal is None) is allowed
