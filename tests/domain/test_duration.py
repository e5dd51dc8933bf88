"""Durations, as people write them in options and in variables."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from relight.domain.duration import duration_of, span
from relight.settings import load_settings

HALF_AN_HOUR = timedelta(minutes=30)


@pytest.mark.parametrize("text", ["30m", "30min", "30 min", "1800s", "PT30M", "PT0.5H", " 30m "])
def test_one_duration_has_many_forms(text):
    assert duration_of(text) == HALF_AN_HOUR


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1h 30min", timedelta(hours=1.5)), ("2d", timedelta(days=2)), ("1w", timedelta(weeks=1))],
)
def test_parts_are_added(text, expected):
    assert duration_of(text) == expected


@pytest.mark.parametrize("text", ["", "30", "m", "30x", "1h 30", "P", "PT", "PT30", "-5m", "30m m"])
def test_what_is_malformed_is_refused_with_examples(text):
    with pytest.raises(ValueError, match="as in 90s, 30m, 4h, 1h30m, 2d, 1w or PT30M"):
        duration_of(text)


@pytest.mark.parametrize("text", ["30m", "PT30M"])
@pytest.mark.parametrize(
    ("variable", "path"),
    [
        ("RELIGHT_STABILITY_WINDOW", "stability_window"),
        ("RELIGHT_SWEEP_GRACE", "sweep_grace"),
        ("RELIGHT_RECONCILE__PROOF_LASTS", "reconcile.proof_lasts"),
        (
            "RELIGHT_RECONCILE__REPLACEMENT__UNREACHABLE_FOR",
            "reconcile.replacement.unreachable_for",
        ),
        ("RELIGHT_BREAKER__SPARED_FOR", "breaker.spared_for"),
        ("RELIGHT_POOL__RETRY_AFTER", "pool.retry_after"),
        ("RELIGHT_SERVICE__CHANGE_DEADLINE", "service.change_deadline"),
        ("RELIGHT_LIVENESS__EVERY", "liveness.every"),
    ],
)
def test_a_variable_takes_what_an_option_takes(monkeypatch, variable, path, text):
    monkeypatch.setenv(variable, text)
    value = load_settings()
    for name in path.split("."):
        value = getattr(value, name)
    assert value == HALF_AN_HOUR


def test_a_variable_that_is_no_duration_is_refused_with_examples(monkeypatch):
    monkeypatch.setenv("RELIGHT_SWEEP_GRACE", "soon")
    with pytest.raises(ValidationError, match="is not a duration, as in 90s"):
        load_settings()


@pytest.mark.parametrize(
    ("duration", "shown"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=-3), "0 s"),
        (timedelta(seconds=0.25), "0.2 s"),
        (timedelta(seconds=3), "3 s"),
        (timedelta(seconds=13.4), "13 s"),
        (timedelta(seconds=780), "13 min"),
        (timedelta(seconds=59.6), "1 min"),
        (timedelta(minutes=12, seconds=30), "12 min 30 s"),
        (timedelta(hours=3, minutes=5, seconds=7), "3 h 5 min"),
        (timedelta(hours=3, seconds=7), "3 h"),
        (timedelta(days=29, hours=16, minutes=1), "29 d 16 h"),
    ],
)
def test_a_duration_has_at_most_two_units(duration, shown):
    assert span(duration) == shown
