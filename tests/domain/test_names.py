"""The number at the end of a machine's key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.names import key_number, machine_key
from relight.domain.pool.pool import pool_machine_key

NUMBERS = st.integers(min_value=1, max_value=10**9)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(NAMES, NUMBERS)
def test_the_key_of_a_routes_machine_ends_with_its_generation(route_id, generation):
    assert key_number(machine_key(route_id, generation)) == generation


@given(NAMES, NAMES, NUMBERS)
def test_the_key_of_a_pool_machine_ends_with_its_number(provider, region, number):
    assert key_number(pool_machine_key(provider, region, number)) == number


@pytest.mark.parametrize("key", ["", "r-1-g", "r-1-g0", "r-g01", "7", "g7", "-g7x", "r-1-h2"])
def test_other_keys_have_no_number(key):
    assert key_number(key) == 0
