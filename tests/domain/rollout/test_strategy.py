"""Valid strategies, and strategies and plans that an older version stored."""

import re
from datetime import timedelta

import pytest
from pydantic import ValidationError

from relight.domain.disruption import DisruptionBudget
from relight.domain.rollout.rollout import RolloutPlan
from relight.domain.rollout.strategy import CanaryRule, Strategy, why_not_growing


def test_a_strategy_stored_by_an_older_version_keeps_its_meaning():
    stored = '{"waves":["1","25%"],"max_concurrent":10,"failure_budget":0,"roll_back":false}'
    strategy = Strategy.model_validate_json(stored)
    assert strategy == Strategy(waves=("1", "25%"), roll_back=False)
    assert strategy.canary is CanaryRule.SIZE
    assert strategy.disruption_budget == DisruptionBudget()
    assert (strategy.soak, strategy.tolerated_failure_rate) == (timedelta(0), None)


def test_a_plan_stored_by_an_older_version_leaves_nothing_out():
    stored = '{"release_tag":"v0.0.74","scope":"fleet","version":"0.0.74","waves":[["a"],["b"]]}'
    plan = RolloutPlan.model_validate_json(stored)
    assert (plan.waves, plan.left_out, plan.frozen) == ((("a",), ("b",)), (), ())


@pytest.mark.parametrize(
    "wrong",
    [
        {"tolerated_failure_rate": 0},
        {"tolerated_failure_rate": 1},
        {"confidence": 1},
        {"confidence": 0.4},
        {"soak": timedelta(seconds=-1)},
        {"max_concurrent_per_region": 0},
        {"disruption_budget": {"region": "0"}},
        {"disruption_budget": {"region": "0%"}},
        {"disruption_budget": {"track": "101%"}},
        {"disruption_budget": {"provider": "some"}},
    ],
)
def test_invalid_values_are_refused(wrong):
    with pytest.raises(ValidationError):
        Strategy.model_validate(wrong)


def test_the_refusal_of_a_zero_budget_names_the_alternative():
    with pytest.raises(ValidationError, match="use a freeze window"):
        DisruptionBudget(track="0")


@pytest.mark.parametrize(
    ("sizes", "routes"),
    [
        (("1", "25%", "100%"), None),
        (("1", "25%", "100%"), 3),
        (("1", "2", "10%", "50%"), 30),
        (("10%", "50"), 100),
        (("50",), 3),
        ((), None),
    ],
)
def test_waves_that_grow_are_accepted(sizes: tuple[str, ...], routes: int | None):
    assert why_not_growing(sizes, routes) is None


@pytest.mark.parametrize(
    ("sizes", "routes", "why"),
    [
        (("2", "1"), None, "wave 2 (1) is not larger than wave 1 (2)"),
        (("2", "2"), None, "wave 2 (2) is not larger than wave 1 (2)"),
        (("1", "50%", "50%"), None, "wave 3 (50%) is not larger than wave 2 (50%)"),
        (("5", "10%", "3"), None, "wave 3 (3) is not larger than wave 1 (5)"),
        (("50", "10%"), 27, "of 27 routes they reach 3 and 27"),
        (("50%", "10"), 20, "of 20 routes they reach 10 and 10"),
    ],
)
def test_a_wave_that_does_not_grow_is_named(sizes: tuple[str, ...], routes: int | None, why: str):
    assert why in (why_not_growing(sizes, routes) or "")
    if routes is None:
        with pytest.raises(ValidationError, match=re.escape(why)):
            Strategy(waves=sizes)
