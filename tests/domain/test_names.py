"""A machine's key says what its machine is tagged with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.domain.names import key_number, machine_key
from relight.domain.pool.pool import pool_machine_key

NUMBERS = st.integers(min_value=1, max_value=10**9)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(NAMES, NUMBERS)
def test_a_routes_machine_bears_its_generation(route_id, generation):
    assert key_number(machine_key(route_id, generation)) == generation


@given(NAMES, NAMES, NUMBERS)
def test_a_pools_machine_bears_its_number(provider, region, number):
    assert key_number(pool_machine_key(provider, region, number)) == number


@pytest.mark.parametrize("key", ["", "r-1-g", "r-1-g0", "r-g01", "7", "g7", "-g7x", "r-1-h2"])
def test_what_ends_otherwise_has_none(key):
    assert key_number(key) == 0
