"""Binomial tails and bounds, compared with exact sums of whole numbers."""

from fractions import Fraction
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.rollout.binomial import (
    lower_bound,
    probability_at_least,
    probability_at_most,
    trials_needed,
    upper_bound,
)

results = st.integers(0, 150).flatmap(
    lambda trials: st.tuples(st.integers(0, trials), st.just(trials))
)
rates = st.floats(0.001, 0.999)
confidences = st.floats(0.5, 0.999)


def exact_tails(failures: int, trials: int, rate: float) -> tuple[float, float]:
    """Return the probabilities of at most and of at least `failures`, summed without rounding.

    All terms have the same denominator, so only their numerators are computed, each one from the
    term before it.
    """
    fails, whole = Fraction(rate).as_integer_ratio()
    succeeds = whole - fails
    terms = [succeeds**trials]
    for k in range(trials):
        terms.append(terms[-1] * (trials - k) * fails // ((k + 1) * succeeds))
    below, above = sum(terms[: failures + 1]), sum(terms[failures:])
    return float(Fraction(below, whole**trials)), float(Fraction(above, whole**trials))


@given(results, rates)
def test_tails_equal_exact_sums(result, rate):
    failures, trials = result
    below, above = exact_tails(failures, trials, rate)
    assert probability_at_most(failures, trials, rate) == pytest.approx(below, rel=1e-9, abs=1e-12)
    assert probability_at_least(failures, trials, rate) == pytest.approx(above, rel=1e-9, abs=1e-12)


@given(results, confidences)
def test_at_a_bound_the_result_has_the_probability_that_the_confidence_leaves(result, confidence):
    failures, trials = result
    lower, upper = (bound(failures, trials, confidence) for bound in (lower_bound, upper_bound))
    assert 0 <= lower <= upper <= 1
    if failures < trials:
        assert probability_at_most(failures, trials, upper) == pytest.approx(
            1 - confidence, abs=1e-6
        )
    if failures > 0:
        assert probability_at_least(failures, trials, lower) == pytest.approx(
            1 - confidence, abs=1e-6
        )


@given(st.integers(0, 20), confidences, st.floats(0.01, 0.9))
def test_the_needed_trials_are_enough_and_one_less_is_not(failures, confidence, tolerated):
    enough = trials_needed(failures, confidence, tolerated)
    assert probability_at_most(failures, enough, tolerated) <= 1 - confidence
    assert probability_at_most(failures, enough - 1, tolerated) > 1 - confidence


@given(st.integers(1, 500), confidences)
def test_without_a_failure_the_bound_is_the_textbook_root(trials, confidence):
    root = (1 - confidence) ** (1 / trials)
    assert upper_bound(0, trials, confidence) == pytest.approx(1 - root, abs=1e-9)


def test_large_numbers_of_trials_are_supported():
    assert probability_at_most(500, 10_000, 0.05) == pytest.approx(0.5, abs=0.02)
    assert probability_at_least(9_000, 10_000, 0.05) == 0
    assert upper_bound(0, 10_000, 0.95) == pytest.approx(-log(0.05) / 10_000, rel=1e-3)


@pytest.mark.parametrize("tolerated", [0.0, 1.0])
def test_a_rate_of_zero_or_one_is_refused(tolerated):
    with pytest.raises(ValueError, match="no number of trials"):
        trials_needed(0, 0.95, tolerated)
