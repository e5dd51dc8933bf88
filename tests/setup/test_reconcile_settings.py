"""How much a reconcile run does, as an installation sets it."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from relight.domain.base import Origin
from relight.domain.reconcile.run import RECONCILE_WORKFLOW_ID, ReconcileFleetInput
from relight.settings import load_settings
from starter.schedules import reconcile_input, table

ORIGIN = Origin(requested_by="ann", reason="to see")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RELIGHT_HOME", str(tmp_path))


def test_what_is_not_said_is_the_models_own() -> None:
    assert reconcile_input(load_settings(), ORIGIN) == ReconcileFleetInput(origin=ORIGIN)


def test_a_run_by_hand_and_one_by_schedule_get_the_same_input(monkeypatch) -> None:
    for name, value in {
        "RECONCILE__PROOF_LASTS": "PT6H",
        "RECONCILE__STRATEGY__DISRUPTION_BUDGET__REGION": "2",
        "RECONCILE__REPLACEMENT__UNREACHABLE_FOR": "PT20M",
        "BREAKER__OPEN_SHARE": "0.3",
        "SWEEP_GRACE": "PT30M",
        "RECONCILE_EVERY": "PT10M",
    }.items():
        monkeypatch.setenv(f"RELIGHT_{name}", value)
    settings = load_settings()
    by_hand = reconcile_input(settings, ORIGIN)
    entry = next(each for each in table(settings) if each.workflow_id == RECONCILE_WORKFLOW_ID)
    assert by_hand == entry.input.model_copy(update={"origin": ORIGIN})
    assert by_hand.policy.proof_lasts == timedelta(hours=6)
    budget = by_hand.policy.strategy.disruption_budget
    assert (budget.provider, budget.region, budget.track) == ("10%", "2", "10%")
    assert by_hand.policy.replacement.unreachable_for == timedelta(minutes=20)
    assert by_hand.policy.replacement.unreachable_observations == 3
    assert by_hand.limits.open_share == 0.3
    assert by_hand.grace == timedelta(minutes=30)
    assert entry.every == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("RECONCILE__PROOF_LASTS", "PT0S", r"reconcile\.proof_lasts"),
        (
            "RECONCILE__REPLACEMENT__UNREACHABLE_OBSERVATIONS",
            "1",
            r"reconcile\.replacement\.unreachable_observations",
        ),
        ("RECONCILE__MAX_VERIFICATIONS", "2001", "max_verifications is 2001: .*2000 hosts at most"),
        ("BREAKER__OPEN_SHARE", "1.5", r"breaker\.open_share"),
        ("BREAKER__OPEN_SHARE", "0.05", "closes at a share no larger"),
        ("SWEEP_GRACE", "PT0S", "sweep_grace"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(monkeypatch, name, value, named) -> None:
    monkeypatch.setenv(f"RELIGHT_{name}", value)
    with pytest.raises(ValidationError, match=named):
        load_settings()
