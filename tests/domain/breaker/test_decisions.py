"""When the breaker opens and closes, and which machines it wants to observe."""

from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerLimits,
    ConnectivityResult,
    Destruction,
    GroupReach,
    MachineObservation,
)
from relight.domain.breaker.decisions import (
    count_reach,
    is_unknown,
    last_locked_out,
    locked_out,
    machines_to_observe,
    too_many,
    update_breaker,
)
from relight.domain.destruction import Allowance
from relight.domain.hold import Hold, HoldKind, Selector
from tests.domain.fleets import HOUR, NOW

LIMITS = BreakerLimits()
MINUTE = timedelta(minutes=1)
ONLINE = ConnectivityResult(name="mirror", observed_at=NOW, reached=True)
CLOSED = Breaker()


def observation(
    key, reached: bool | None = True, location="linode/east", track="stable", ago=MINUTE
):
    provider, region = location.split("/")
    return MachineObservation(
        key=key,
        provider=provider,
        region=region,
        track=track,
        observed_at=None if reached is None else NOW - ago,
        reached=bool(reached),
    )


def region(reached: int, unreachable: int, unknown: int = 0, location="linode/east"):
    results = [True] * reached + [False] * unreachable + [None] * unknown
    return [observation(f"{location}-{at:04}", each, location) for at, each in enumerate(results)]


def breaker_after(
    machines, before=CLOSED, connectivity=(ONLINE,), now=NOW, destructions=(), overrides=()
):
    reach = count_reach(machines, destructions, LIMITS, now)
    return update_breaker(before, reach, connectivity, LIMITS, now, overrides)


def why_not(breaker, provider="linode", location="east"):
    return Allowance(breaker, (), LIMITS, NOW).why_not(provider, location, "stable")


def reach_of(machines, group, destructions=()):
    return {each.group: each for each in count_reach(machines, destructions, LIMITS, NOW)}[group]


# Each observation is one choice from all combinations of facts: that is fast to draw.
observations = st.lists(
    st.sampled_from(
        list(
            product(
                [True, True, True, False, None],
                ["linode/east", "linode/west", "oci/east"],
                ["stable", "beta", None],
                range(61),
            )
        )
    ),
    max_size=40,
).map(
    lambda drawn: [
        observation(f"m{at}", reached, location, track, minutes * MINUTE)
        for at, (reached, location, track, minutes) in enumerate(drawn)
    ]
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
def test_one_unreachable_machine_never_opens_the_breaker_and_two_do_above_a_share(
    reached, unreachable, is_open
):
    assert breaker_after(region(reached, unreachable)).is_open is is_open


def test_of_two_machines_one_is_replaced_only_after_the_other_is_observed():
    breaker = breaker_after(region(0, 1, unknown=1))
    assert not breaker.is_open
    assert "observed first" in str(why_not(breaker))
    assert why_not(breaker_after(region(1, 1))) is None
    assert breaker_after(region(0, 2)).is_open


def test_the_only_machine_of_a_region_may_be_replaced():
    assert why_not(breaker_after(region(0, 1))) is None


def test_unreachable_single_machines_of_many_regions_open_the_breaker():
    machines = [observation(str(at), False, f"p{at}/r", track=None) for at in range(5)]
    breaker = breaker_after(machines)
    assert breaker.incident is not None
    assert [each.group for each in breaker.incident.groups] == ["fleet"]


def test_a_track_opens_the_breaker_like_a_region():
    machines = [observation(f"b{at}", False, f"p{at}/r", track="beta") for at in range(2)]
    machines += [observation(f"s{at}", True, f"p{at % 7}/r") for at in range(70)]
    breaker = breaker_after(machines)
    assert breaker.incident is not None
    assert "track beta: 2 of 2 machines cannot be reached" in breaker.incident.summary


def test_a_region_that_fails_machine_by_machine_opens_the_breaker_despite_replacements():
    lost = Destruction(
        at=NOW - HOUR / 2, provider="linode", region="east", track="stable", unreachable=True
    )
    assert breaker_after(region(1, 1), destructions=[lost]).is_open
    assert not breaker_after(
        region(1, 1), destructions=[lost.model_copy(update={"at": NOW - HOUR})]
    ).is_open
    recycled = lost.model_copy(update={"unreachable": False})
    assert not breaker_after(region(1, 1), destructions=[recycled]).is_open


@given(observations)
def test_without_a_successful_connectivity_check_nothing_is_destroyed(machines):
    late = ONLINE.model_copy(update={"observed_at": NOW - HOUR})
    for connectivity in ((), (late,), (ONLINE.model_copy(update={"reached": False}),)):
        breaker = breaker_after(machines, connectivity=connectivity)
        assert breaker.incident is not None
        assert breaker.incident.connectivity == connectivity
        assert why_not(breaker) is not None
        assert why_not(breaker, "oci", "east") is not None


def test_one_successful_connectivity_check_is_enough():
    gone = ConnectivityResult(name="other", observed_at=NOW, reached=False)
    assert not breaker_after(region(3, 0), connectivity=(gone, ONLINE)).is_open


def test_an_incident_that_was_offline_is_calm_once_it_is_online_and_its_groups_answer():
    gone = ONLINE.model_copy(update={"reached": False})
    offline = breaker_after(region(0, 3), connectivity=(gone,))
    online = breaker_after(region(0, 3), before=offline)
    for before, is_offline in ((offline, True), (online, False)):
        later = breaker_after(region(0, 3), before=before, connectivity=None)
        assert later.incident is not None
        assert later.incident.connectivity == (gone,)
        assert later.incident.offline is is_offline
        assert ("no connectivity check" in later.incident.summary) is is_offline
        calm = breaker_after(region(3, 0), before=before, connectivity=None)
        assert calm.calm_since == (None if is_offline else NOW)


def test_a_machine_whose_destruction_has_begun_counts_once():
    machines = region(6, 1)
    lost = Destruction(
        at=NOW, key=machines[-1].key, provider="linode", region="east", unreachable=True
    )
    reach = reach_of(machines, "region linode/east", [lost])
    assert (reach.machines, reach.observed, reach.unreachable) == (7, 7, 1)
    assert breaker_after(machines, destructions=[lost.model_copy(update={"key": "a"})]).is_open
    assert not breaker_after(machines, destructions=[lost]).is_open


@given(observations)
def test_the_breaker_is_open_exactly_if_a_group_has_too_many_unreachable_machines(machines):
    groups: dict[str, list[MachineObservation]] = {}
    for each in machines:
        names = ["fleet", f"provider {each.provider}", f"region {each.provider}/{each.region}"]
        for name in names + ([f"track {each.track}"] if each.track else []):
            groups.setdefault(name, []).append(each)
    exceeding = {
        name
        for name, members in groups.items()
        if (out := sum(m.observed_at is not None and not m.reached for m in members)) >= 2
        and out / len(members) > LIMITS.open_share
    }
    breaker = breaker_after(machines)
    opened_for = {each.group for each in breaker.incident.groups} if breaker.incident else set()
    assert opened_for == exceeding


@given(observations, st.data())
def test_more_unreachable_machines_never_close_the_breaker(machines, data):
    worse = [
        each.model_copy(update={"observed_at": NOW, "reached": False})
        if data.draw(st.booleans())
        else each
        for each in machines
    ]
    if breaker_after(machines).is_open:
        assert breaker_after(worse).is_open


@given(observations, observations)
def test_the_incident_stays_the_same_while_the_breaker_is_open(first, second):
    opened = breaker_after(first)
    later = breaker_after(second, before=opened, now=NOW + MINUTE)
    if opened.incident is not None:
        assert later.incident is not None, (
            "the breaker must not close before it was calm for a while"
        )
        assert later.incident.opened_at == NOW
        before = {each.group: each for each in opened.incident.groups}
        after = {each.group: each for each in later.incident.groups}
        assert before.keys() <= after.keys()


@given(st.lists(st.tuples(observations, st.integers(0, 20)), min_size=1, max_size=12))
def test_the_breaker_closes_only_after_it_was_calm_for_long_enough(steps):
    breaker, now, calm_since = breaker_after(region(0, 3)), NOW, None
    for machines, minutes in steps:
        now += minutes * MINUTE
        check = ONLINE.model_copy(update={"observed_at": now})
        known = {each.group for each in breaker.incident.groups} if breaker.incident else set()
        reach = count_reach(machines, (), LIMITS, now)
        was_open, breaker = breaker.is_open, update_breaker(breaker, reach, [check], LIMITS, now)
        exceeded = any(
            too_many(each, LIMITS, LIMITS.close_share if each.group in known else None)
            or (each.group in known and is_unknown(each, LIMITS))
            for each in reach
        )
        calm_since = None if exceeded else calm_since or now
        if was_open and not breaker.is_open:
            assert calm_since is not None
            assert now - calm_since >= LIMITS.calm_for
            return
        if was_open:
            assert exceeded or (calm_since is not None and now - calm_since < LIMITS.calm_for)


def test_the_breaker_does_not_flap_between_the_open_and_the_close_share():
    breaker = breaker_after(region(79, 21))
    for unreachable in (19, 21, 11, 19):
        breaker = breaker_after(region(100 - unreachable, unreachable), before=breaker)
        assert breaker.is_open
        assert breaker.calm_since is None
    assert not breaker_after(region(81, 19)).is_open
    calm = breaker_after(region(90, 10), before=breaker)
    assert calm.calm_since == NOW


def test_unreachable_observations_hold_and_reachable_ones_expire():
    yesterday = 24 * HOUR
    machines = [observation("a", False, ago=yesterday), observation("b", True, ago=yesterday)]
    reach = reach_of(machines, "region linode/east")
    assert (reach.machines, reach.observed, reach.unreachable) == (2, 1, 1)


def locked_out_machine(key, ago=MINUTE, kind="login-refused"):
    since = NOW - ago
    return observation(key, False, ago=ago).model_copy(
        update={"locked_out_by": kind, "locked_out_since": since}
    )


def test_many_machines_that_lock_the_control_plane_out_are_one_incident_that_says_what_to_do():
    machines = [*region(6, 0), *(locked_out_machine(f"l{at}") for at in range(3))]
    incident = breaker_after(
        [*machines, locked_out_machine("k", kind="host-key-mismatch")]
    ).incident
    assert incident is not None
    assert incident.locks_out
    expected = "4 of 10 machines answer, but lock the control plane out"
    assert f"fleet: {expected} (host-key-mismatch, login-refused)" in incident.summary
    assert "`relight reconcile`" in incident.to_do
    unreachable = breaker_after(region(6, 4)).incident
    assert unreachable is not None
    assert (unreachable.locks_out, unreachable.to_do) == (False, "")


def test_one_machine_that_locks_us_out_is_its_own_fault_and_two_may_be_ours():
    one, two = locked_out_machine("a"), locked_out_machine("b")
    assert locked_out([one, *region(9, 0)], CLOSED, LIMITS) == {}
    assert set(locked_out([one, two, *region(9, 0)], CLOSED, LIMITS)) == {"a", "b"}
    opened = breaker_after([one, two])
    assert set(locked_out([one, *region(9, 0)], opened, LIMITS)) == {"a"}


def test_what_was_reached_before_a_machine_locked_us_out_is_observed_again():
    machines = [locked_out_machine("a"), *region(4, 0)]
    earlier = [each.model_copy(update={"observed_at": NOW - 2 * MINUTE}) for each in machines[1:]]
    later = [each.model_copy(update={"observed_at": NOW}) for each in machines[1:]]
    breaker = breaker_after([machines[0], *earlier])
    assert "observed first" in str(why_not(breaker))
    since = last_locked_out(machines)
    chosen = machines_to_observe(breaker, earlier, LIMITS, NOW, 50, since)
    assert len(chosen) == 4
    assert why_not(breaker_after([machines[0], *later])) is None


def test_an_override_makes_the_breaker_ignore_a_group_until_it_expires():
    override = Hold(
        kind=HoldKind.BREAKER_OVERRIDE,
        covers=Selector(provider="linode", region="east"),
        starts_at=NOW - HOUR,
        ends_at=NOW + HOUR,
        owner="ann",
        reason="the region is lost",
    )
    machines = [*region(0, 3), *region(60, 0, location="linode/west")]
    machines += [observation(f"t{at}", True, "oci/east") for at in range(60)]
    assert breaker_after(machines).is_open
    assert not breaker_after(machines, overrides=[override]).is_open
    expired = override.model_copy(update={"ends_at": NOW})
    assert breaker_after(machines, overrides=[expired]).is_open
    assert breaker_after(machines, connectivity=(), overrides=[override]).is_open


@given(observations, st.integers(0, 10))
def test_observing_the_chosen_machines_makes_every_group_known(machines, limit):
    breaker = breaker_after(machines)
    keys = machines_to_observe(breaker, machines, LIMITS, NOW, limit)
    assert len(keys) <= limit
    assert len(set(keys)) == len(keys)
    for _ in range(60):
        keys = machines_to_observe(breaker, machines, LIMITS, NOW, 50)
        assert bool(keys) is bool(breaker.unknown)
        machines = [
            each.model_copy(update={"observed_at": NOW, "reached": True})
            if each.key in keys
            else each
            for each in machines
        ]
        breaker = breaker_after(machines, before=breaker)
    assert not breaker.unknown


def test_contradictory_shares_and_counts_are_refused():
    with pytest.raises(ValidationError, match="closes at a share no larger"):
        BreakerLimits(open_share=0.1, close_share=0.2)
    with pytest.raises(ValidationError, match="fleet"):
        GroupReach(group="fleet", machines=1, observed=1, unreachable=2)
