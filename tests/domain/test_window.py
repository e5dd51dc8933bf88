"""Which routes may start, at each step of whatever happens."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.disruption import (
    DisruptionBudget,
    Group,
    GroupKind,
    may_be_out,
    take_census,
)
from relight.domain.hold import Selector, freezes_of, thaws_at
from relight.domain.rollout.admission import Admission, next_starts
from relight.domain.rollout.rollout import Strategy
from relight.domain.route import Route, RouteStatus
from tests.domain.fleets import (
    HOUR,
    NOW,
    budget_sizes,
    fleets,
    freeze,
    freezes,
    many,
    route,
)

caps = st.none() | st.integers(1, 5)
strategies = st.builds(
    Strategy,
    max_concurrent=st.integers(1, 12),
    max_concurrent_per_provider=caps,
    max_concurrent_per_region=caps,
    disruption_budget=st.builds(
        DisruptionBudget, provider=budget_sizes, region=budget_sizes, track=budget_sizes
    ),
)


def places(each: Route) -> tuple[str, str, str]:
    return f"p {each.provider}", f"r {each.provider} {each.region}", f"t {each.track}"


class Watcher:
    """Counts by itself what is out and under way, and looks through all that waits each time."""

    def __init__(self, fleet, strategy, freezes):
        self.routes = {each.route_id: each for each in fleet}
        in_service = [each for each in fleet if each.machine]
        sizes = Counter(place for each in in_service for place in places(each))
        budget = strategy.disruption_budget
        by_kind = {"p": budget.provider, "r": budget.region, "t": budget.track}
        self.limits = {
            place: may_be_out(size, count)
            for place, count in sizes.items()
            if (size := by_kind[place[0]])
        }
        self.caps = {
            "p": strategy.max_concurrent_per_provider,
            "r": strategy.max_concurrent_per_region,
            "t": None,
        }
        self.strategy = strategy
        self.freezes = freezes
        self.out = {each.route_id for each in in_service if each.status is RouteStatus.FAULTED}
        self.out_at_first = self.counts(self.out)
        self.under_way: list[str] = []

    def counts(self, routes):
        return Counter(place for route_id in routes for place in places(self.routes[route_id]))

    def may_start(self, route_id, now):
        each = self.routes[route_id]
        out, under_way = self.counts(self.out), self.counts(self.under_way)
        return (
            len(self.under_way) < self.strategy.max_concurrent
            and thaws_at(freezes_of(each, self.freezes), now) is None
            and all(
                under_way[place] < (self.caps[place[0]] or len(self.routes))
                for place in places(each)
            )
            and (
                route_id in self.out
                or all(
                    out[place] < self.limits.get(place, len(self.routes)) for place in places(each)
                )
            )
        )

    def start(self, waiting, now):
        started = []
        for route_id in list(waiting):
            if self.may_start(route_id, now):
                waiting.remove(route_id)
                self.under_way.append(route_id)
                self.out.add(route_id)
                started.append(route_id)
        return tuple(started)

    def finish(self, route_id, *, proven):
        self.under_way.remove(route_id)
        if proven:
            self.out.remove(route_id)

    def check(self):
        for place, count in self.counts(self.out).items():
            limit = self.limits.get(place, count)
            # What was out before anything started is not of this rollout's making.
            assert count <= max(limit, self.out_at_first[place])
        assert len(self.under_way) <= self.strategy.max_concurrent


@given(fleets, strategies, freezes, st.integers(0, 2**32), st.sampled_from([0.0, 0.2, 1.0]))
def test_no_budget_is_exceeded_at_any_step_of_any_interleaving(
    fleet, strategy, freezes, seed, failing
):
    lots = Random(seed)
    census = take_census(fleet)
    window, watcher = Admission(census, strategy, freezes), Watcher(fleet, strategy, freezes)
    coming = [each.route_id for each in fleet if each.machine]
    lots.shuffle(coming)
    waiting: list[str] = []
    now, events = NOW, 0
    while coming or watcher.under_way or events < 10:
        events += 1
        wave, coming = coming[:7], coming[7:]
        window.enter(wave)
        waiting += wave
        expected = watcher.start(waiting, now)
        assert window.start(now) == expected
        assert window.in_flight == tuple(watcher.under_way)
        assert window.waiting == len(waiting)
        watcher.check()
        if watcher.under_way:
            ended, proven = lots.choice(watcher.under_way), lots.random() >= failing
            window.finish(ended, proven=proven)
            watcher.finish(ended, proven=proven)
        now += lots.choice([0, 0, 0, 1]) * HOUR / 2


@given(fleets, strategies)
def test_when_nothing_fails_and_nothing_is_out_every_route_has_its_turn(fleet, strategy):
    serving = [each for each in fleet if each.status is RouteStatus.SERVING]
    window = Admission(take_census(serving), strategy)
    window.enter(each.route_id for each in serving)
    turns: list[str] = []
    while started := window.start(NOW):
        turns += started
        for route_id in started:
            window.finish(route_id, proven=True)
    assert sorted(turns) == sorted(each.route_id for each in serving)


@given(fleets, strategies, freezes, st.randoms())
def test_a_window_in_mid_rollout_is_the_same_as_one_made_anew(fleet, strategy, freezes, random):
    routes = [each.route_id for each in fleet if each.machine]
    census = take_census(fleet)
    window = Admission(census, strategy, freezes)
    window.enter(routes)
    started = window.start(NOW)
    ended = [route_id for route_id in started if random.random() < 0.5]
    for route_id in ended:
        window.finish(route_id, proven=True)
    mended = [
        each.model_copy(update={"status": RouteStatus.SERVING}) if each.route_id in ended else each
        for each in fleet
    ]
    remaining = [route_id for route_id in routes if route_id not in started]
    in_flight = [route_id for route_id in started if route_id not in ended]
    anew = next_starts(remaining, in_flight, take_census(mended), strategy, freezes, NOW)
    assert window.start(NOW) == anew


@pytest.mark.parametrize(
    ("size", "routes", "out"),
    [("10%", 100, 10), ("10%", 99, 9), ("10%", 3, 1), ("100%", 7, 7), ("3", 100, 3), ("3", 1, 3)],
)
def test_a_share_is_rounded_down_but_one_route_may_always_go(size, routes, out):
    assert may_be_out(size, routes) == out


def test_who_waits_for_a_full_region_does_not_stand_in_the_way_of_the_next():
    fleet = [*many(3, "e", region="east"), *many(3, "w", region="west")]
    strategy = Strategy(disruption_budget=DisruptionBudget(region="1"))
    starts = next_starts(
        [each.route_id for each in fleet], (), take_census(fleet), strategy, (), NOW
    )
    assert starts == ("e00000", "w00000")


def test_a_region_is_its_providers_own():
    fleet = [route("a", provider="linode"), route("b", provider="oci")]
    strategy = Strategy(disruption_budget=DisruptionBudget(region="1"))
    assert next_starts(["a", "b"], (), take_census(fleet), strategy, (), NOW) == ("a", "b")


def test_a_route_that_is_out_already_fills_the_budget_and_may_itself_be_changed():
    fleet = [route("a"), route("b", status=RouteStatus.FAULTED)]
    window = Admission(take_census(fleet), Strategy(disruption_budget=DisruptionBudget(track="1")))
    window.enter(["a", "b"])
    assert window.start(NOW) == ("b",)
    assert window.held_up_by == ("track stable: 1 are out, 1 may be",)
    window.finish("b", proven=True)
    assert window.start(NOW) == ("a",)


def test_a_route_that_failed_stays_out_until_it_is_brought_back():
    fleet = [route("a"), route("b")]
    window = Admission(take_census(fleet), Strategy(disruption_budget=DisruptionBudget(track="1")))
    window.enter(["a", "b"])
    assert window.start(NOW) == ("a",)
    window.finish("a", proven=False)
    assert window.start(NOW) == ()
    assert (window.waiting, window.in_flight) == (1, ())
    window.bring_back("a")
    assert window.start(NOW) == ("b",)


def test_routes_that_never_served_are_neither_out_nor_counted_on():
    fleet = [*many(10), route("new", architecture=None, status=RouteStatus.PROVISIONING)]
    census = take_census(fleet)
    assert census.in_service[Group(GroupKind.TRACK, "stable")] == 10
    assert census.out == frozenset()


def test_a_cap_holds_those_under_way_and_not_those_that_are_out():
    fleet = [*many(2), *many(2, "f", status=RouteStatus.FAULTED)]
    strategy = Strategy(max_concurrent_per_provider=1)
    window = Admission(take_census(fleet), strategy)
    window.enter(each.route_id for each in fleet)
    assert window.start(NOW) == ("r00000",)
    assert window.held_up_by == ("provider linode: 1 are under way, 1 may be",)


def test_a_frozen_route_waits_and_says_until_when():
    fleet = [route("a", track="beta"), route("b")]
    window = Admission(
        take_census(fleet), Strategy(), [freeze(-HOUR, HOUR, Selector(track="beta"))]
    )
    window.enter(["a", "b"])
    assert window.start(NOW) == ("b",)
    assert window.thaws_at == NOW + HOUR
    assert window.start(NOW + HOUR) == ("a",)
    assert window.thaws_at is None


def test_a_freeze_that_begins_on_the_way_holds_what_has_not_started():
    fleet = many(2)
    window = Admission(take_census(fleet), Strategy(max_concurrent=1), [freeze(HOUR, 2 * HOUR)])
    window.enter(each.route_id for each in fleet)
    assert window.start(NOW) == ("r00000",)
    window.finish("r00000", proven=True)
    assert window.start(NOW + HOUR) == ()
    assert window.start(NOW + 2 * HOUR) == ("r00001",)
