"""Permits are shared among workers, and never exceed the limit."""

from hypothesis import given
from hypothesis import strategies as st

from relight.domain.permit import Granted, Lease, grant


def test_one_worker_gets_what_it_wants_up_to_the_limit():
    assert grant(10, 4, 0, []) == Granted(4, 4)
    assert grant(10, 40, 0, []) == Granted(10, 10)


def test_without_need_elsewhere_a_worker_takes_all_that_is_free():
    assert grant(10, 9, 3, [Lease(2, 2)]) == Granted(8, 8)


def test_once_another_lacks_permits_a_worker_keeps_an_equal_part():
    assert grant(10, 10, 10, [Lease(0, 8)]) == Granted(10, 5)
    assert grant(10, 10, 7, [Lease(0, 8)]) == Granted(7, 5)
    assert grant(10, 10, 5, [Lease(0, 8)]) == Granted(5, 5)


def test_with_more_workers_than_permits_each_keeps_at_most_one():
    assert grant(2, 5, 2, [Lease(0, 3), Lease(0, 3)]) == Granted(2, 1)


@given(st.data())
def test_all_leases_together_never_exceed_the_limit(data):
    limit = data.draw(st.integers(1, 20))
    leases = [Lease(0, 0)] * data.draw(st.integers(1, 5))
    for _ in range(20):
        at = data.draw(st.integers(0, len(leases) - 1))
        used = data.draw(st.integers(0, leases[at].count))
        wanted = data.draw(st.integers(used, 30))
        others = leases[:at] + leases[at + 1 :]
        granted = grant(limit, wanted, used, others)
        assert used <= granted.count
        assert granted.allowed <= granted.count
        leases[at] = Lease(granted.count, wanted)
        assert sum(lease.count for lease in leases) <= limit
