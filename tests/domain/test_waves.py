"""A rollout's waves, whatever the fleet."""

from hypothesis import given
from hypothesis import strategies as st

from relight.domain.rollout.planner import (
    cut,
    spread,
    widen,
)
from relight.domain.route import Route, RouteStatus

fleets = st.lists(
    st.builds(
        Route,
        route_id=st.from_regex(r"[a-z]{1,6}", fullmatch=True),
        track=st.sampled_from(["stable", "beta"]),
        provider=st.sampled_from(["lab", "linode"]),
        region=st.sampled_from(["east", "west"]),
        status=st.just(RouteStatus.SERVING),
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda route: route.route_id,
)
sizes = st.lists(
    st.one_of(
        st.integers(1, 80).map(str),
        st.integers(1, 100).map(lambda share: f"{share}%"),
    ),
    max_size=5,
)


@given(fleets, sizes)
def test_every_route_is_in_exactly_one_wave_and_no_wave_is_empty(fleet, sizes):
    waves = cut(spread(fleet), sizes)
    assert sorted(route_id for wave in waves for route_id in wave) == sorted(
        route.route_id for route in fleet
    )
    assert all(waves)


@given(fleets, sizes, st.randoms())
def test_the_order_in_which_routes_are_listed_changes_nothing(fleet, sizes, random):
    shuffled = list(fleet)
    random.shuffle(shuffled)
    assert cut(spread(shuffled), sizes) == cut(spread(fleet), sizes)


@given(fleets)
def test_a_canary_of_as_many_routes_as_strata_meets_every_stratum(fleet):
    by_id = {route.route_id: route for route in fleet}
    strata = {(route.track, route.provider, route.region) for route in fleet}
    canary = cut(spread(fleet), [str(len(strata))])[0]
    met = {(by_id[i].track, by_id[i].provider, by_id[i].region) for i in canary}
    assert met == strata


def test_sizes_say_how_far_the_rollout_has_come_when_the_wave_ends():
    fleet = [
        Route(
            route_id=f"r{number}",
            track="stable",
            provider="lab",
            region="east",
            status=RouteStatus.SERVING,
        )
        for number in range(8)
    ]
    waves = cut(spread(fleet), ["1", "50%"])
    assert waves == (("r0",), ("r1", "r2", "r3"), ("r4", "r5", "r6", "r7"))


def test_a_wave_that_is_widened_to_takes_the_first_of_the_next_one():
    waves = (("a",), ("b", "c", "d"), ("e",))
    assert widen(waves, taken=1, by=2) == (("a",), ("b", "c"), ("d",), ("e",))


def test_widening_never_goes_faster_than_planned():
    waves = (("a",), ("b", "c"), ("d",))
    assert widen(waves, taken=1, by=2) == waves
    assert widen(waves, taken=3, by=2) == waves


@given(fleets, sizes, st.integers(0, 6), st.integers(1, 30))
def test_widening_keeps_every_route_and_its_turn(fleet, sizes, taken, by):
    waves = cut(spread(fleet), sizes)
    widened = widen(waves, taken, by)
    assert [i for wave in widened for i in wave] == [i for wave in waves for i in wave]
    assert widened[:taken] == waves[:taken]
    assert all(widened)
