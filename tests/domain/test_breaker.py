"""When nothing may be destroyed, and how much may be otherwise."""

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerLimits,
    BreakerOverride,
    ConnectivityResult,
    Destruction,
    GroupReach,
    MachineObservation,
)
from relight.domain.breaker.decisions import (
    Allowance,
    count_reach,
    is_unknown,
    machines_to_observe,
    too_many,
    turn,
)
from tests.domain.fleets import HOUR, NOW

LIMITS = BreakerLimits()
MINUTE = timedelta(minutes=1)
SEEN = ConnectivityResult(name="mirror", observed_at=NOW, reached=True)
CLOSED = Breaker()


def look(key, reached: bool | None = True, place="linode/east", track="stable", ago=MINUTE):
    provider, region = place.split("/")
    return MachineObservation(
        key=key,
        provider=provider,
        region=region,
        track=track,
        observed_at=None if reached is None else NOW - ago,
        reached=bool(reached),
    )


def region(reached: int, unreachable: int, unknown: int = 0, place="linode/east"):
    news = [True] * reached + [False] * unreachable + [None] * unknown
    return [look(f"{place}-{at:04}", each, place) for at, each in enumerate(news)]


def see(machines, before=CLOSED, connectivity=(SEEN,), now=NOW, destructions=(), overrides=()):
    reach = count_reach(machines, destructions, LIMITS, now)
    return turn(before, reach, connectivity, LIMITS, now, overrides)


def reach_of(machines, group, destructions=()):
    return {each.group: each for each in count_reach(machines, destructions, LIMITS, NOW)}[group]


looks = st.lists(
    st.builds(
        look,
        st.uuids().map(str),
        st.sampled_from([True, True, True, False, None]),
        place=st.sampled_from(["linode/east", "linode/west", "oci/east"]),
        track=st.sampled_from(["stable", "beta", None]),
        ago=st.integers(0, 60).map(lambda minutes: minutes * MINUTE),
    ),
    max_size=40,
    unique_by=lambda each: each.key,
)


@pytest.mark.parametrize(
    ("reached", "unreachable", "is_open"),
    [
        (0, 1, False),
        (1, 1, False),
        (0, 2, True),
        (1, 2, True),
        (7, 2, True),
        (8, 2, False),
        (80, 20, False),
        (80, 21, True),
    ],
)
def test_one_machine_never_opens_it_and_two_do_from_a_share_on(reached, unreachable, is_open):
    assert see(region(reached, unreachable)).is_open is is_open


def test_of_two_machines_one_is_not_replaced_before_the_other_was_looked_at():
    breaker = see(region(0, 1, unknown=1))
    assert not breaker.is_open
    assert "looked at first" in str(why_not(breaker))
    assert why_not(see(region(1, 1))) is None
    assert see(region(0, 2)).is_open


def test_the_only_machine_of_a_region_may_be_replaced():
    assert why_not(see(region(0, 1))) is None


def test_single_machines_of_many_regions_that_are_all_out_of_reach_open_it():
    machines = [look(str(at), False, f"p{at}/r", track=None) for at in range(5)]
    breaker = see(machines)
    assert breaker.incident is not None
    assert [each.group for each in breaker.incident.groups] == ["fleet"]


def test_a_track_opens_it_as_a_region_does():
    machines = [look(f"b{at}", False, f"p{at}/r", track="beta") for at in range(2)]
    machines += [look(f"s{at}", True, f"p{at % 7}/r") for at in range(70)]
    breaker = see(machines)
    assert breaker.incident is not None
    assert "track beta: 2 of 2 machines cannot be reached" in breaker.incident.summary


def test_a_region_that_goes_down_one_by_one_does_not_hide_behind_its_replacements():
    lost = Destruction(
        at=NOW - HOUR / 2, provider="linode", region="east", track="stable", unreachable=True
    )
    assert see(region(1, 1), destructions=[lost]).is_open
    assert not see(region(1, 1), destructions=[lost.model_copy(update={"at": NOW - HOUR})]).is_open
    recycled = lost.model_copy(update={"unreachable": False})
    assert not see(region(1, 1), destructions=[recycled]).is_open


@given(looks)
def test_without_a_witness_nothing_is_destroyed_whatever_is_reached(machines):
    late = SEEN.model_copy(update={"observed_at": NOW - HOUR})
    for connectivity in ((), (late,), (SEEN.model_copy(update={"reached": False}),)):
        breaker = see(machines, connectivity=connectivity)
        assert breaker.incident is not None
        assert breaker.incident.connectivity == connectivity
        assert why_not(breaker) is not None
        assert why_not(breaker, "oci", "east") is not None


def test_one_witness_that_is_reached_is_enough():
    gone = ConnectivityResult(name="other", observed_at=NOW, reached=False)
    assert not see(region(3, 0), connectivity=(gone, SEEN)).is_open


@given(looks)
def test_it_is_open_just_where_some_group_has_too_many_out_of_reach(machines):
    groups: dict[str, list[MachineObservation]] = {}
    for each in machines:
        names = ["fleet", f"provider {each.provider}", f"region {each.provider}/{each.region}"]
        for name in names + ([f"track {each.track}"] if each.track else []):
            groups.setdefault(name, []).append(each)
    bad = {
        name
        for name, members in groups.items()
        if (out := sum(m.observed_at is not None and not m.reached for m in members)) >= 2
        and out / len(members) > LIMITS.open_share
    }
    breaker = see(machines)
    opened_for = {each.group for each in breaker.incident.groups} if breaker.incident else set()
    assert opened_for == bad


@given(looks, st.data())
def test_what_is_further_out_of_reach_never_closes_it(machines, data):
    worse = [
        each.model_copy(update={"observed_at": NOW, "reached": False})
        if data.draw(st.booleans())
        else each
        for each in machines
    ]
    if see(machines).is_open:
        assert see(worse).is_open


@given(looks, looks)
def test_one_incident_goes_on_for_as_long_as_it_is_open(first, second):
    opened = see(first)
    later = see(second, before=opened, now=NOW + MINUTE)
    if opened.incident is not None:
        assert later.incident is not None, "it does not close before all was calm for a while"
        assert later.incident.opened_at == NOW
        before = {each.group: each for each in opened.incident.groups}
        after = {each.group: each for each in later.incident.groups}
        assert before.keys() <= after.keys()


@given(st.lists(st.tuples(looks, st.integers(0, 20)), min_size=1, max_size=12))
def test_it_closes_only_after_all_was_calm_for_long_enough(steps):
    breaker, now, calm_since = see(region(0, 3)), NOW, None
    for machines, minutes in steps:
        now += minutes * MINUTE
        check = SEEN.model_copy(update={"observed_at": now})
        known = {each.group for each in breaker.incident.groups} if breaker.incident else set()
        reach = count_reach(machines, (), LIMITS, now)
        was_open, breaker = breaker.is_open, turn(breaker, reach, [check], LIMITS, now)
        amiss = any(
            too_many(each, LIMITS, LIMITS.close_share if each.group in known else None)
            or (each.group in known and is_unknown(each, LIMITS))
            for each in reach
        )
        calm_since = None if amiss else calm_since or now
        if was_open and not breaker.is_open:
            assert calm_since is not None
            assert now - calm_since >= LIMITS.calm_for
            return
        if was_open:
            assert amiss or (calm_since is not None and now - calm_since < LIMITS.calm_for)


def test_it_does_not_flap_between_the_share_to_open_at_and_the_share_to_close_at():
    breaker = see(region(79, 21))
    for unreachable in (19, 21, 11, 19):
        breaker = see(region(100 - unreachable, unreachable), before=breaker)
        assert breaker.is_open
        assert breaker.calm_since is None
    assert not see(region(81, 19)).is_open
    calm = see(region(90, 10), before=breaker)
    assert calm.calm_since == NOW


def test_bad_news_keeps_and_good_news_does_not():
    yesterday = 24 * HOUR
    machines = [look("a", False, ago=yesterday), look("b", True, ago=yesterday)]
    seen = reach_of(machines, "region linode/east")
    assert (seen.machines, seen.observed, seen.unreachable) == (2, 1, 1)


def test_an_override_vouches_for_one_group_until_it_expires():
    override = BreakerOverride(
        group="region linode/east", owner="ann", reason="they sold it", expires_at=NOW + HOUR
    )
    machines = [*region(0, 3), *region(60, 0, place="linode/west")]
    machines += [look(f"t{at}", True, "oci/east") for at in range(60)]
    assert see(machines).is_open
    assert not see(machines, overrides=[override]).is_open
    expired = override.model_copy(update={"expires_at": NOW})
    assert see(machines, overrides=[expired]).is_open
    assert see(machines, connectivity=(), overrides=[override]).is_open


@given(looks, st.integers(0, 10))
def test_looking_at_what_it_asks_for_ends_in_certainty(machines, at_most):
    breaker = see(machines)
    asked = machines_to_observe(breaker, machines, LIMITS, NOW, at_most)
    assert len(asked) <= at_most
    assert len(set(asked)) == len(asked)
    for _ in range(60):
        asked = machines_to_observe(breaker, machines, LIMITS, NOW, 50)
        assert bool(asked) is bool(breaker.unknown)
        machines = [
            each.model_copy(update={"observed_at": NOW, "reached": True})
            if each.key in asked
            else each
            for each in machines
        ]
        breaker = see(machines, before=breaker)
    assert not breaker.unknown


destructions = st.lists(
    st.builds(
        Destruction,
        at=st.integers(-90, 0).map(lambda minutes: NOW + minutes * MINUTE),
        provider=st.sampled_from(["linode", "oci"]),
        region=st.sampled_from(["east", "west"]),
        unreachable=st.booleans(),
    ),
    max_size=15,
)


def why_not(breaker, provider="linode", place="east", done=()):
    return Allowance(breaker, done, LIMITS, NOW).why_not(provider, place, "stable")


@given(
    st.lists(
        st.tuples(
            st.integers(0, 25), st.sampled_from(["linode", "oci"]), st.sampled_from(["east", "w"])
        ),
        max_size=80,
    )
)
def test_in_no_hour_is_more_destroyed_than_may_be(asked):
    done: list[Destruction] = []
    now = NOW
    for minutes, provider, place in asked:
        now += minutes * MINUTE
        if Allowance(CLOSED, done, LIMITS, now).why_not(provider, place) is None:
            done.append(Destruction(at=now, provider=provider, region=place))
    for last in done:
        hour = [each for each in done if last.at - HOUR < each.at <= last.at]
        assert len(hour) <= LIMITS.destroyed_per_hour
        by_region = Counter((each.provider, each.region) for each in hour)
        assert max(by_region.values()) <= LIMITS.destroyed_per_hour_in_region


@given(destructions)
def test_what_is_taken_counts_like_what_was_destroyed(done):
    allowance = Allowance(CLOSED, done, LIMITS, NOW)
    recent = [each for each in done if NOW - each.at < HOUR]
    taken = 0
    while allowance.why_not("linode", "east") is None:
        allowance.take("linode", "east")
        taken += 1
    here = sum((each.provider, each.region) == ("linode", "east") for each in recent)
    room = min(LIMITS.destroyed_per_hour_in_region - here, LIMITS.destroyed_per_hour - len(recent))
    assert taken == max(0, room)


def test_shares_and_counts_that_contradict_themselves_are_refused():
    with pytest.raises(ValidationError, match="closes at a share no larger"):
        BreakerLimits(open_share=0.1, close_share=0.2)
    with pytest.raises(ValidationError, match="fleet"):
        GroupReach(group="fleet", machines=1, observed=1, unreachable=2)
