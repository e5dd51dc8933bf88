"""What a strategy may say, and what one says that was written down before it could say more."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from relight.domain.disruption import DisruptionBudget
from relight.domain.rollout.rollout import (
    CanaryRule,
    RolloutPlan,
    Strategy,
)


def test_a_strategy_that_was_written_down_before_means_what_it_meant():
    kept = '{"waves":["1","25%"],"max_concurrent":10,"failure_budget":0,"roll_back":true}'
    strategy = Strategy.model_validate_json(kept)
    assert strategy == Strategy(waves=("1", "25%"), roll_back=True)
    assert strategy.canary is CanaryRule.SIZE
    assert strategy.disruption_budget == DisruptionBudget()
    assert (strategy.soak, strategy.tolerated_failure_rate) == (timedelta(0), None)


def test_a_plan_that_was_written_down_before_left_nothing_out():
    kept = '{"release_tag":"v0.0.74","scope":"fleet","version":"0.0.74","waves":[["a"],["b"]]}'
    plan = RolloutPlan.model_validate_json(kept)
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
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        Strategy.model_validate(wrong)


def test_a_budget_that_lets_nothing_out_is_told_what_to_use_instead():
    with pytest.raises(ValidationError, match="use a freeze window"):
        DisruptionBudget(track="0")
