"""Which routes may start, at each step of any sequence of events."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.disruption import (
    DisruptionBudget,
    Group,
    GroupKind,
    max_out,
    take_census,
)
from relight.domain.hold import Selector, freezes_of, thaws_at
from relight.domain.rollout.admission import Admission, next_starts
from relight.domain.rollout.strategy import Strategy
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


def groups(each: Route) -> tuple[str, str, str]:
    return f"p {each.provider}", f"r {each.provider} {each.region}", f"t {each.track}"


class Oracle:
    """A simple second implementation: it scans all waiting routes each time."""

    def __init__(self, fleet, strategy, freezes):
        self.routes = {each.route_id: each for each in fleet}
        in_service = [each for each in fleet if each.machine]
        sizes = Counter(group for each in in_service for group in groups(each))
        budget = strategy.disruption_budget
        by_kind = {"p": budget.provider, "r": budget.region, "t": budget.track}
        self.limits = {
            group: max_out(size, count)
            for group, count in sizes.items()
            if (size := by_kind[group[0]])
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
        return Counter(group for route_id in routes for group in groups(self.routes[route_id]))

    def may_start(self, route_id, now):
        each = self.routes[route_id]
        out, under_way = self.counts(self.out), self.counts(self.under_way)
        return (
            len(self.under_way) < self.strategy.max_concurrent
            and thaws_at(freezes_of(each, self.freezes), now) is None
            and all(
                under_way[group] < (self.caps[group[0]] or len(self.routes))
                for group in groups(each)
            )
            and (
                route_id in self.out
                or all(
                    out[group] < self.limits.get(group, len(self.routes)) for group in groups(each)
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
        for group, count in self.counts(self.out).items():
            limit = self.limits.get(group, count)
            # Routes may have been out already before the rollout.
            assert count <= max(limit, self.out_at_first[group])
        assert len(self.under_way) <= self.strategy.max_concurrent


@given(fleets, strategies, freezes, st.integers(0, 2**32), st.sampled_from([0.0, 0.2, 1.0]))
def test_no_limit_is_exceeded_at_any_step_of_any_interleaving(
    fleet, strategy, freezes, seed, failing
):
    random = Random(seed)
    census = take_census(fleet)
    admission, oracle = Admission(census, strategy, freezes), Oracle(fleet, strategy, freezes)
    coming = [each.route_id for each in fleet if each.machine]
    random.shuffle(coming)
    waiting: list[str] = []
    now, events = NOW, 0
    while coming or oracle.under_way or events < 10:
        events += 1
        wave, coming = coming[:7], coming[7:]
        admission.enter(wave)
        waiting += wave
        expected = oracle.start(waiting, now)
        assert admission.start(now) == expected
        assert admission.in_flight == tuple(oracle.under_way)
        assert admission.waiting == len(waiting)
        oracle.check()
        if oracle.under_way:
            ended, proven = random.choice(oracle.under_way), random.random() >= failing
            admission.finish(ended, proven=proven)
            oracle.finish(ended, proven=proven)
        now += random.choice([0, 0, 0, 1]) * HOUR / 2


@given(fleets, strategies)
def test_if_nothing_fails_and_nothing_is_out_every_route_starts(fleet, strategy):
    serving = [each for each in fleet if each.status is RouteStatus.SERVING]
    admission = Admission(take_census(serving), strategy)
    admission.enter(each.route_id for each in serving)
    order: list[str] = []
    while started := admission.start(NOW):
        order += started
        for route_id in started:
            admission.finish(route_id, proven=True)
    assert sorted(order) == sorted(each.route_id for each in serving)


@given(fleets, strategies, freezes, st.randoms())
def test_an_admission_in_mid_rollout_equals_a_new_one(fleet, strategy, freezes, random):
    routes = [each.route_id for each in fleet if each.machine]
    census = take_census(fleet)
    admission = Admission(census, strategy, freezes)
    admission.enter(routes)
    started = admission.start(NOW)
    ended = [route_id for route_id in started if random.random() < 0.5]
    for route_id in ended:
        admission.finish(route_id, proven=True)
    serving = [
        each.model_copy(update={"status": RouteStatus.SERVING}) if each.route_id in ended else each
        for each in fleet
    ]
    remaining = [route_id for route_id in routes if route_id not in started]
    in_flight = [route_id for route_id in started if route_id not in ended]
    expected = next_starts(remaining, in_flight, take_census(serving), strategy, freezes, NOW)
    assert admission.start(NOW) == expected


@pytest.mark.parametrize(
    ("size", "routes", "out"),
    [("10%", 100, 10), ("10%", 99, 9), ("10%", 3, 1), ("100%", 7, 7), ("3", 100, 3), ("3", 1, 3)],
)
def test_a_share_is_rounded_down_but_to_no_less_than_one_route(size, routes, out):
    assert max_out(size, routes) == out


def test_routes_of_a_full_region_do_not_block_the_routes_behind_them():
    fleet = [*many(3, "e", region="east"), *many(3, "w", region="west")]
    strategy = Strategy(disruption_budget=DisruptionBudget(region="1"))
    starts = next_starts(
        [each.route_id for each in fleet], (), take_census(fleet), strategy, (), NOW
    )
    assert starts == ("e00000", "w00000")


def test_regions_of_two_providers_with_one_name_are_two_groups():
    fleet = [route("a", provider="linode"), route("b", provider="oci")]
    strategy = Strategy(disruption_budget=DisruptionBudget(region="1"))
    assert next_starts(["a", "b"], (), take_census(fleet), strategy, (), NOW) == ("a", "b")


def test_a_route_that_is_already_out_uses_the_budget_and_may_start():
    fleet = [route("a"), route("b", status=RouteStatus.FAULTED)]
    admission = Admission(
        take_census(fleet), Strategy(disruption_budget=DisruptionBudget(track="1"))
    )
    admission.enter(["a", "b"])
    assert admission.start(NOW) == ("b",)
    assert admission.limited_by == ("track stable: 1 are out, 1 may be",)
    admission.finish("b", proven=True)
    assert admission.start(NOW) == ("a",)


def test_a_route_that_failed_stays_out_until_it_is_brought_back():
    fleet = [route("a"), route("b")]
    admission = Admission(
        take_census(fleet), Strategy(disruption_budget=DisruptionBudget(track="1"))
    )
    admission.enter(["a", "b"])
    assert admission.start(NOW) == ("a",)
    admission.finish("a", proven=False)
    assert admission.start(NOW) == ()
    assert (admission.waiting, admission.in_flight) == (1, ())
    admission.bring_back("a")
    assert admission.start(NOW) == ("b",)


def test_routes_that_never_served_count_neither_as_out_nor_as_capacity():
    fleet = [*many(10), route("new", architecture=None, status=RouteStatus.PROVISIONING)]
    census = take_census(fleet)
    assert census.in_service[Group(GroupKind.TRACK, "stable")] == 10
    assert census.out == frozenset()


def test_a_concurrency_limit_counts_routes_in_flight_and_not_routes_that_are_out():
    fleet = [*many(2), *many(2, "f", status=RouteStatus.FAULTED)]
    strategy = Strategy(max_concurrent_per_provider=1)
    admission = Admission(take_census(fleet), strategy)
    admission.enter(each.route_id for each in fleet)
    assert admission.start(NOW) == ("r00000",)
    assert admission.limited_by == ("provider linode: 1 are under way, 1 may be",)


def test_a_frozen_route_waits_until_its_thaw():
    fleet = [route("a", track="beta"), route("b")]
    admission = Admission(
        take_census(fleet), Strategy(), [freeze(-HOUR, HOUR, Selector(track="beta"))]
    )
    admission.enter(["a", "b"])
    assert admission.start(NOW) == ("b",)
    assert admission.thaws_at == NOW + HOUR
    assert admission.start(NOW + HOUR) == ("a",)
    assert admission.thaws_at is None


def test_a_freeze_that_begins_later_holds_routes_that_have_not_started():
    fleet = many(2)
    admission = Admission(take_census(fleet), Strategy(max_concurrent=1), [freeze(HOUR, 2 * HOUR)])
    admission.enter(each.route_id for each in fleet)
    assert admission.start(NOW) == ("r00000",)
    admission.finish("r00000", proven=True)
    assert admission.start(NOW + HOUR) == ()
    assert admission.start(NOW + 2 * HOUR) == ("r00001",)
