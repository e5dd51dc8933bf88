"""Ages for people."""

from datetime import timedelta

import pytest

from starter.cli.times import age


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
