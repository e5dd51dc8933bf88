"""Durations and ages for people."""

from datetime import timedelta

import pytest

from starter.cli.times import age, span


@pytest.mark.parametrize(
    ("duration", "shown"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=59.6), "1 min"),
        (timedelta(minutes=12, seconds=30), "12 min 30 s"),
        (timedelta(hours=3, minutes=5, seconds=7), "3 h 5 min"),
        (timedelta(hours=3, seconds=7), "3 h"),
        (timedelta(days=29, hours=16, minutes=1), "29 d 16 h"),
    ],
)
def test_a_duration_has_at_most_two_units(duration, shown):
    assert span(duration) == shown


@pytest.mark.parametrize(
    ("past", "shown"),
    [
        (timedelta(seconds=-3), "0 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=23), "23 h"),
        (timedelta(days=40), "40 d"),
    ],
)
def test_an_age_is_in_its_largest_whole_unit(past, shown):
    assert age(past) == shown
