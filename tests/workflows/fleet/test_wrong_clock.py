"""A clock that was ahead for a day, and is right again."""

from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.clock import WRONG
from relight.domain.route import RouteStatus

pytestmark = pytest.mark.attack("a clock that jumps")

AHEAD = timedelta(days=1)


def prove_in_the_future(reconciler, route_ids):
    ids = ", ".join(f"'{each}'" for each in route_ids)
    at = f"{datetime.now(UTC) + AHEAD:%Y-%m-%d %H:%M:%S.%f}"
    reconciler.execute_sql(f"UPDATE routes SET proven_at = '{at}' WHERE route_id IN ({ids})")


async def test_a_machine_that_is_off_is_found_although_it_was_proven_in_the_future(
    harness, reconciler, route_ids
):
    route_id = route_ids[0]
    prove_in_the_future(reconciler, route_ids)
    harness.hosts.unreachable = {f"{route_id}-g1"}
    done = await reconciler.run()
    assert (done.proven, done.faulted) == (3, 1)
    assert [each.kind for each in done.observed.plan.faults] == [WRONG]
    assert [each.kind for each in harness.store.incidents.list()] == [WRONG]
    assert harness.route(route_id).status is RouteStatus.FAULTED
    now = datetime.now(UTC)
    assert all(harness.route(each).proven_at <= now for each in route_ids[1:])
    # The others have proofs of today, and the one that is off keeps the incident.
    assert WRONG in [each.kind for each in (await reconciler.run()).observed.plan.faults]
    harness.hosts.unreachable = set()
    for _ in range(2):
        done = await reconciler.run()
    assert done.observed.plan.faults == ()
    assert harness.store.incidents.list() == []
    assert len(harness.events(kind="incident-opened")) == 1


async def test_nothing_is_destroyed_while_all_proofs_are_of_the_future(
    harness, reconciler, route_ids
):
    prove_in_the_future(reconciler, route_ids)
    machines = await harness.machine_keys()
    for _ in range(3):
        done = await reconciler.run()
    assert done.observed.plan.faults == ()
    assert await harness.machine_keys() == machines
    assert {harness.route(each).status for each in route_ids} == {RouteStatus.SERVING}
