"""Binomial tails and bounds, against what is added up by hand in whole numbers."""

from fractions import Fraction
from math import comb, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.rollout.binomial import (
    at_least,
    at_most,
    lower_bound,
    trials_needed,
    upper_bound,
)

seen = st.integers(0, 150).flatmap(
    lambda trials: st.tuples(st.integers(0, trials), st.just(trials))
)
rates = st.floats(0.001, 0.999)
confidences = st.floats(0.5, 0.999)


def added_up(counts: range, trials: int, rate: float) -> float:
    """Add the probabilities of these numbers of failures up, without any rounding."""
    exact = Fraction(rate)
    return float(
        sum((comb(trials, k) * exact**k * (1 - exact) ** (trials - k) for k in counts), Fraction(0))
    )


@given(seen, rates)
def test_tails_are_what_is_added_up_without_rounding(seen, rate):
    failures, trials = seen
    below = added_up(range(failures + 1), trials, rate)
    above = added_up(range(failures, trials + 1), trials, rate)
    assert at_most(failures, trials, rate) == pytest.approx(below, rel=1e-9, abs=1e-12)
    assert at_least(failures, trials, rate) == pytest.approx(above, rel=1e-9, abs=1e-12)


@given(seen, confidences)
def test_at_a_bound_what_was_seen_is_just_as_improbable_as_the_confidence_says(seen, confidence):
    failures, trials = seen
    lower, upper = (bound(failures, trials, confidence) for bound in (lower_bound, upper_bound))
    assert 0 <= lower <= upper <= 1
    if failures < trials:
        assert at_most(failures, trials, upper) == pytest.approx(1 - confidence, abs=1e-6)
    if failures > 0:
        assert at_least(failures, trials, lower) == pytest.approx(1 - confidence, abs=1e-6)


@given(st.integers(0, 20), confidences, st.floats(0.01, 0.9))
def test_the_trials_needed_are_enough_and_one_less_is_not(failures, confidence, tolerated):
    enough = trials_needed(failures, confidence, tolerated)
    assert at_most(failures, enough, tolerated) <= 1 - confidence
    assert at_most(failures, enough - 1, tolerated) > 1 - confidence


@given(st.integers(1, 500), confidences)
def test_without_a_failure_the_bound_is_the_root_that_textbooks_give(trials, confidence):
    root = (1 - confidence) ** (1 / trials)
    assert upper_bound(0, trials, confidence) == pytest.approx(1 - root, abs=1e-9)


def test_ten_thousand_routes_are_no_trouble():
    assert at_most(500, 10_000, 0.05) == pytest.approx(0.5, abs=0.02)
    assert at_least(9_000, 10_000, 0.05) == 0
    assert upper_bound(0, 10_000, 0.95) == pytest.approx(-log(0.05) / 10_000, rel=1e-3)


@pytest.mark.parametrize("tolerated", [0.0, 1.0])
def test_no_number_of_trials_proves_what_cannot_be_proven(tolerated):
    with pytest.raises(ValueError, match="no number of trials"):
        trials_needed(0, 0.95, tolerated)
