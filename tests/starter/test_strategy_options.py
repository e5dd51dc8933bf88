"""The options of a strategy: one for every field, the same for three commands."""

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from relight.domain.disruption import DisruptionBudget
from relight.domain.reconcile.plan import ReconcilePolicy
from relight.domain.rollout.strategy import Approval, CanaryRule, Inconclusive, Strategy
from starter.cli.rollout import app
from starter.cli.strategy_options import strategy_of, takes_strategy

EVERYTHING = (
    *("--wave", "2", "--wave", "25%", "--canary", "strata", "--max-concurrent", "7"),
    *("--provider-cap", "5", "--region-cap", "3", "--failure-budget", "4", "--keep-failed"),
    *("--provider-budget", "20%", "--region-budget", "10%", "--track-budget", "9"),
    *("--soak", "1h30m", "--tolerate", "5%", "--confidence", "0.9"),
    *("--inconclusive", "widen", "--approval", "canary", "--check", "errors", "--check", "smoke"),
    *("--incident-limit", "20m"),
)


def parsed(*words: str) -> Strategy:
    """Return the strategy that a command is called with."""
    probe = typer.Typer()
    received: list[Strategy] = []

    @probe.command()
    @takes_strategy
    def command(*, strategy: Strategy) -> None:
        received.append(strategy)

    ended = CliRunner().invoke(probe, list(words))
    assert ended.exit_code == 0, ended.output
    [strategy] = received
    return strategy


def options(command: str) -> set[str]:
    return {option for each in _command(command).params for option in each.opts}


def _command(name: str):
    return get_command(app).commands[name]  # type: ignore[attr-defined]


def test_without_options_it_is_the_default_strategy_with_the_budget_of_all_operations(monkeypatch):
    budget = ReconcilePolicy().strategy.disruption_budget
    assert parsed() == Strategy(disruption_budget=budget)
    monkeypatch.setenv("RELIGHT_RECONCILE__STRATEGY__DISRUPTION_BUDGET__REGION", "2")
    assert parsed("--track-budget", "3").disruption_budget == DisruptionBudget(
        provider=budget.provider, region="2", track="3"
    )


def test_every_field_has_an_option():
    strategy = parsed(*EVERYTHING)
    assert strategy == Strategy(
        waves=("2", "25%"),
        max_concurrent=7,
        failure_budget=4,
        roll_back=False,
        canary=CanaryRule.STRATA,
        disruption_budget=DisruptionBudget(provider="20%", region="10%", track="9"),
        max_concurrent_per_provider=5,
        max_concurrent_per_region=3,
        soak="PT1H30M",
        tolerated_failure_rate=0.05,
        confidence=0.9,
        inconclusive=Inconclusive.WIDEN,
        approval=Approval.CANARY,
        checks=("errors", "smoke"),
        incident_limit="PT20M",
    )
    # A new field without an option is listed here.
    default = dict(Strategy())
    assert [name for name, value in dict(strategy).items() if value == default[name]] == []


def test_plan_simulate_and_start_take_the_same_options():
    strategy = {f"--{name.replace('_', '-')}" for name in ("wave", "canary", "tolerate", "soak")}
    plan = options("plan") - {"--unchecked"}
    assert strategy < plan < options("simulate")
    assert plan - {"--json"} < options("start")
    assert len(plan) > len(strategy_of.__annotations__)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--wave", "0"), "at least 1 route"),
        (("--region-budget", "0"), "use a freeze window"),
        (("--track-budget", "101%"), "1% to 100%"),
        (("--provider-budget", "some"), "'some'"),
        (("--tolerate", "0"), "more than 0"),
        (("--tolerate", "100%"), "less than 1"),
        (("--tolerate", "few"), "'few'"),
        (("--tolerate", "nan"), "'nan'"),
        (("--confidence", "40%"), "at least 0.5"),
        (("--soak", "long"), "'long'"),
        (("--canary", "bird"), "'bird'"),
        (("--max-concurrent", "0"), "equal to 1"),
        (("--check", "up > 0"), "a check name"),
    ],
    ids=str,
)
@pytest.mark.parametrize("command", ["start", "plan", "simulate"])
def test_an_invalid_value_is_bad_input_and_names_its_option(command, words, text):
    ended = CliRunner(env={"COLUMNS": "200"}).invoke(app, [command, "v0.0.74", *words])
    assert ended.exit_code == 2
    assert words[0] in ended.output
    assert text in ended.output


@pytest.mark.parametrize("command", ["start", "plan", "simulate"])
def test_no_option_is_cut_in_a_help_of_80_columns(command):
    shown = CliRunner(env={"COLUMNS": "80"}).invoke(app, [command, "--help"]).output
    assert "…" not in shown
    for option in options(command):
        assert option in shown
