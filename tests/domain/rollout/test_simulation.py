"""Simulations follow the plan, the budgets and the gates of a real rollout."""

from datetime import timedelta
from random import Random
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.domain.disruption import DisruptionBudget
from relight.domain.hold import Selector
from relight.domain.rollout.planner import plan_rollout
from relight.domain.rollout.simulation import FleetModel, simulate
from relight.domain.rollout.strategy import CanaryRule, Inconclusive, Strategy
from relight.domain.route import Route, RouteStatus
from tests.domain.fleets import (
    HOUR,
    NOW,
    exclusion,
    exclusions,
    fleets,
    freeze,
    freezes,
    growing_sizes,
    many,
    route,
)

MINUTE = timedelta(minutes=1)
SECONDS = [timedelta(seconds=seconds) for seconds in (8, 9, 11, 30)]
strategies = st.builds(
    Strategy,
    waves=growing_sizes,
    canary=st.just(CanaryRule.STRATA),
    max_concurrent=st.integers(1, 12),
    inconclusive=st.sampled_from([Inconclusive.WIDEN, Inconclusive.PROCEED]),
    tolerated_failure_rate=st.none() | st.just(0.1),
)


@settings(max_examples=50)
@given(fleets, strategies, exclusions, freezes)
def test_a_good_release_converges_and_changes_every_route_of_the_plan(
    fleet, strategy, exclusions, freezes
):
    model = FleetModel(fleet, SECONDS, NOW, exclusions, freezes)
    played = simulate(model, strategy, [0.0], runs=2)
    [forecast] = played.releases
    planned = sum(map(len, played.plan.waves))
    assert (forecast.converged, forecast.touched_median, forecast.touched_most) == (
        2,
        planned,
        planned,
    )


@settings(max_examples=50)
@given(fleets, strategies, freezes)
def test_a_release_that_fails_everywhere_is_stopped_within_the_canary(fleet, strategy, freezes):
    played = simulate(FleetModel(fleet, SECONDS, NOW, (), freezes), strategy, [1.0], runs=2)
    [forecast] = played.releases
    canary = len(played.plan.waves[0]) if played.plan.waves else 0
    assert forecast.aborted == (2 if canary else 0)
    assert min(1, canary) <= forecast.touched_most <= canary


@settings(max_examples=50)
@given(fleets, st.integers(1, 100), st.sampled_from([0.0, 0.3]))
def test_no_region_falls_below_its_budget(fleet, share, probability):
    strategy = Strategy(
        max_concurrent=100,
        failure_budget=100,
        disruption_budget=DisruptionBudget(region=f"{share}%"),
    )
    serving = [each for each in fleet if each.status is RouteStatus.SERVING]
    played = simulate(FleetModel(serving, SECONDS, NOW), strategy, [probability], runs=2)
    for region, lowest in played.releases[0].lowest_capacity.items():
        routes = sum(f"{each.provider}/{each.region}" == region for each in serving)
        assert round((1 - lowest) * routes) <= max(1, routes * share // 100)


def test_the_same_seed_gives_the_same_result():
    model = FleetModel(many(100), SECONDS, NOW)
    strategy = Strategy(failure_budget=3)
    assert simulate(model, strategy, seed=7) == simulate(model, strategy, seed=7)
    assert simulate(model, strategy, seed=7) != simulate(model, strategy, seed=8)


def test_the_simulation_follows_the_plan_of_the_rollout():
    fleet, held = many(20), exclusion(Selector(route_id="r00003"))
    model = FleetModel(fleet, SECONDS, NOW, [held])
    strategy = Strategy(canary=CanaryRule.STRATA)
    assert simulate(model, strategy).plan == plan_rollout(fleet, strategy, [held], (), NOW)


def test_the_duration_is_the_swaps_and_a_soak_after_each_wave():
    model = FleetModel(many(10), [MINUTE], NOW)
    strategy = Strategy(waves=("1", "5"), max_concurrent=2, soak=HOUR)
    [forecast] = simulate(model, strategy, [0.0]).releases
    # Waves of 1, 4 and 5 routes, two at once.
    assert forecast.took_median == forecast.took_p90 == (1 + 2 + 3) * MINUTE + 3 * HOUR


def test_a_budget_divides_a_wave_into_steps():
    model = FleetModel(many(10), [MINUTE], NOW)
    strategy = Strategy(waves=("100%",), disruption_budget=DisruptionBudget(region="20%"))
    played = simulate(model, strategy, [0.0])
    assert [(wave.routes, wave.concurrency) for wave in played.waves] == [(10, 2)]
    assert played.releases[0].took_median == 5 * MINUTE
    assert played.releases[0].lowest_capacity == {"linode/east": pytest.approx(0.8)}


def test_routes_outside_of_the_scope_count_in_the_budget():
    outside = [route(f"o{number}", track="beta", status=RouteStatus.FAULTED) for number in range(2)]
    strategy = Strategy(disruption_budget=DisruptionBudget(provider="2"))
    model = FleetModel(many(4), [MINUTE], NOW, elsewhere=outside)
    [forecast] = simulate(model, strategy, [0.0]).releases
    assert (forecast.held, forecast.touched_most) == (10, 0)


def test_a_frozen_wave_waits_for_its_thaw():
    model = FleetModel(many(2), [MINUTE], NOW, freezes=[freeze(-HOUR, HOUR)])
    [forecast] = simulate(model, Strategy(), [0.0]).releases
    assert forecast.took_median == HOUR + 2 * MINUTE


def test_too_little_evidence_holds_the_rollout_after_its_canary():
    strategy = Strategy(waves=("5",), tolerated_failure_rate=0.1)
    [forecast] = simulate(FleetModel(many(100), SECONDS, NOW), strategy, [0.0]).releases
    assert (forecast.held, forecast.touched_median) == (10, 5)


def test_widening_finds_a_bad_release_with_fewer_routes_than_the_next_wave():
    proceeding = Strategy(
        waves=("5",), max_concurrent=500, failure_budget=500, tolerated_failure_rate=0.05
    )
    widening = proceeding.model_copy(update={"inconclusive": Inconclusive.WIDEN})
    proceeding = proceeding.model_copy(update={"inconclusive": Inconclusive.PROCEED})
    model = FleetModel(many(1000), SECONDS, NOW)
    fast, slow = (simulate(model, each, [0.2]).releases[0] for each in (proceeding, widening))
    assert slow.touched_median < fast.touched_median / 3


def test_a_simulation_without_recorded_durations_is_refused():
    with pytest.raises(ValueError, match="at least one recorded duration"):
        simulate(FleetModel(many(1), [], NOW), Strategy())


def test_an_invalid_probability_is_refused():
    with pytest.raises(ValueError, match=r"0 to 1, not 1\.5"):
        simulate(FleetModel(many(1), SECONDS, NOW), Strategy(), [1.5])


def big_fleet(count: int) -> list[Route]:
    random = Random(1)
    regions = {"linode": 20, "oci": 8, "alicloud": 6, "gcore": 2}
    fleet = []
    for number in range(count):
        provider = random.choice(sorted(regions))
        fleet.append(
            route(
                f"r{number}",
                provider=provider,
                region=f"region-{random.randrange(regions[provider])}",
                track=random.choice(["stable", "beta", "edge"]),
                architecture=random.choice(["amd64", "arm64"]),
                status=random.choice([RouteStatus.SERVING] * 99 + [RouteStatus.FAULTED]),
            )
        )
    return fleet


def test_ten_thousand_routes_are_simulated_in_seconds():
    strategy = Strategy(
        waves=("1", "5%", "25%"),
        canary=CanaryRule.STRATA,
        max_concurrent=200,
        failure_budget=500,
        disruption_budget=DisruptionBudget(provider="10%", region="10%", track="10%"),
        soak=5 * MINUTE,
        tolerated_failure_rate=0.1,
        inconclusive=Inconclusive.WIDEN,
    )
    model = FleetModel(big_fleet(10_000), SECONDS, NOW)
    began = process_time()
    played = simulate(model, strategy, runs=2)
    # CPU time of this process, which also grows while other processes use the same cores.
    assert process_time() - began < 4
    assert [len(played.releases), played.releases[0].touched_median] == [5, 10_000]
