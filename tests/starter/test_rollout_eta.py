"""The ETA of a rollout: what is left, played within the budgets."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from relight.domain.rollout.rollout import RolloutPace, RolloutPhase, RouteProgress
from relight.domain.rollout.simulation import FleetModel, simulate
from relight.domain.rollout.strategy import Strategy
from relight.domain.route import RouteStatus
from starter.cli.rollout_eta import ends_at, eta_text
from starter.cli.swap_durations import ASSUMED_DURATIONS, SwapDurations
from tests.domain.fleets import route
from tests.starter.test_rollout_view import (
    NOW,
    PACE,
    SWAPS,
    eta,
    followed,
    left_of,
    of_27_routes,
    outcome,
)


@pytest.mark.parametrize(
    ("phase", "pace", "durations", "text"),
    [
        (RolloutPhase.PAUSED, PACE, SWAPS, "no ETA while it is paused"),
        (RolloutPhase.PREPARING, PACE, SWAPS, "no ETA before it is planned"),
        (RolloutPhase.RUNNING, PACE, ASSUMED_DURATIONS, "no ETA: no swap is recorded yet"),
        (RolloutPhase.RUNNING, None, SWAPS, "no ETA: no worker answers"),
    ],
)
def test_without_what_an_eta_needs_it_says_so(phase, pace, durations, text):
    rollout = of_27_routes()
    rollout = replace(rollout, status=rollout.status.model_copy(update={"phase": phase}))
    assert eta(rollout, pace, durations) == f"elapsed 4 min 30 s; {text}"


@pytest.mark.parametrize(
    ("progress", "kind", "text"),
    [
        (RouteProgress.SWAPPING, None, "about 5 min left"),
        (RouteProgress.SWAPPING, "repository-unreachable", "no ETA while it waits"),
        (RouteProgress.WAITING, None, "no ETA while it waits"),
    ],
    ids=["a budget", "an incident", "nothing in progress"],
)
def test_a_rollout_that_waits_has_an_eta_only_if_it_goes_on_within_a_budget(progress, kind, text):
    listed = [outcome(1, progress, kind=kind), outcome(2, RouteProgress.WAITING)]
    waves = {2: Counter(each.progress for each in listed)}
    swaps = SwapDurations([timedelta(minutes=5)], "recorded")
    assert text in eta(followed(waves, listed, phase=RolloutPhase.HOLDING), durations=swaps)


def test_the_eta_has_the_soak_of_each_wave_that_is_left():
    soaks = RolloutPace(
        max_concurrent=100, soak=timedelta(minutes=30), soaks_until=NOW + timedelta(minutes=5)
    )
    assert "about 1 h 6 min left" in eta(of_27_routes(), soaks)


def test_a_rollback_takes_as_long_as_its_routes():
    waves = {1: {RouteProgress.TO_ROLL_BACK: 25, RouteProgress.WAITING: 500}}
    back = followed(waves, [], phase=RolloutPhase.ROLLING_BACK)
    assert "about 1 min 15 s left" in eta(back)


@pytest.mark.parametrize(
    ("limits", "swaps"),
    [
        ({}, 2),
        ({"disruption_budget": {"region": "2"}}, 10),
        ({"disruption_budget": {"provider": "10%"}}, 10),
        ({"disruption_budget": {"track": "5"}}, 4),
        ({"max_concurrent_per_region": 1}, 20),
    ],
)
def test_the_eta_is_within_the_budgets_and_is_that_of_the_simulation(limits, swaps):
    rollout = of_27_routes()
    pace = RolloutPace(max_concurrent=10, soak=timedelta(0), **limits)
    left = left_of(rollout)
    end = ends_at(left, pace, SWAPS.median, NOW)
    assert end == NOW + swaps * SWAPS.median
    strategy = Strategy(waves=("10", "100%"), max_concurrent=10, **limits)
    [forecast] = simulate(FleetModel(left.fleet, SWAPS.each, NOW), strategy, [0.0]).releases
    assert forecast.took_median == swaps * SWAPS.median


def test_a_budget_that_is_filled_by_what_is_out_leaves_no_eta():
    rollout = of_27_routes()
    left = left_of(rollout)
    out = route("out", status=RouteStatus.FAULTED)
    pace = RolloutPace(max_concurrent=10, soak=timedelta(0), disruption_budget={"region": "1"})
    end = ends_at(replace(left, fleet=[*left.fleet, out]), pace, SWAPS.median, NOW)
    assert end is None
    assert "no ETA: what is out of service fills a budget" in eta_text(
        rollout, pace, SWAPS, end, NOW
    )
