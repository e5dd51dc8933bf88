"""A clock that was ahead for a day, and is right again."""

from datetime import UTC, datetime, timedelta

import pytest

from relight.breaker_evaluation import BreakerEvaluation
from relight.domain.breaker.breaker import BreakerLimits, ConnectivityResult
from relight.domain.clock import WRONG
from relight.domain.route import RouteStatus
from tests.workflows.pools import keep_pool

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


async def test_a_pool_machine_that_was_proven_in_the_future_is_proven_now(
    harness, reconciler, route_ids
):
    """Its pool plans by the same record as the run that finds the time of the future."""
    key = await harness.pool_machine()
    await keep_pool(harness, 1)
    at = f"{datetime.now(UTC) + AHEAD:%Y-%m-%d %H:%M:%S.%f}"
    reconciler.execute_sql(f"UPDATE pool_machines SET proven_at = '{at}'")
    done = await reconciler.run()
    assert [each.kind for each in done.observed.plan.faults] == [WRONG]
    done = await reconciler.run()
    assert done.observed.plan.faults == ()
    assert harness.store.incidents.list() == []
    [waiting] = harness.store.pool.list()
    assert waiting.key == key
    assert waiting.proven_at <= datetime.now(UTC)


async def test_the_breaker_is_evaluated_without_times_of_the_future(harness, reconciler, route_ids):
    evaluation = BreakerEvaluation(harness.store, BreakerLimits(), timedelta(days=2))
    ahead = ConnectivityResult(name="up", observed_at=datetime.now(UTC) + AHEAD, reached=True)
    harness.store.breaker.record_connectivity([ahead])
    # No check was made lately: that says nothing about the control plane's own network.
    assert not evaluation.evaluate(None).is_open
    harness.hosts.unreachable = {f"{each}-g1" for each in route_ids[:2]}
    prove_in_the_future(reconciler, route_ids)
    done = await reconciler.run()
    assert done.faulted == 2
    prove_in_the_future(reconciler, route_ids)
    # Two machines cannot be reached since, whatever the clock said before.
    assert evaluation.evaluate(None).is_open


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
