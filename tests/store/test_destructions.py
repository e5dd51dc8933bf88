"""Destructions: each machine counts once, from when it was replaced or else from its end."""

from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.breaker.breaker import Destruction
from relight.domain.route import RouteStatus
from tests.domain.destructions import machine as at_provider
from tests.store.fleets import (
    MANUAL,
    machine,
    replace_machine,
    route_of,
    run_on,
    serve,
)
from tests.store.pools import PROOF, claim, made_ready

AN_HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)


@pytest.mark.parametrize("unreachable", [True, False])
def test_a_replaced_machine_counts_once_from_when_it_was_replaced(store, unreachable):
    serve(store)
    replace_machine(store, unreachable=unreachable)
    attached = store.events.list(kind="machine-attached")[0].at
    expected = [
        Destruction(
            at=attached,
            key="r-1-g1",
            provider="lab",
            region="east",
            track="stable",
            unreachable=unreachable,
        )
    ]
    assert store.destructions.list(AN_HOUR_AGO) == expected
    store.destructions.record("r-1-g1", MANUAL, reason="replaced", unreachable=unreachable)
    assert store.destructions.list(AN_HOUR_AGO) == expected
    assert store.destructions.list(datetime.now(UTC)) == []


def test_a_pool_machine_counts_in_no_track(store):
    key = made_ready(store)
    store.destructions.record(key, MANUAL, reason="too old")
    [destroyed] = store.destructions.list(AN_HOUR_AGO)
    assert (destroyed.region, destroyed.track) == ("east", None)
    assert store.machines.get(key).status == "destroyed"


def test_a_route_whose_machine_is_destroyed_is_failed(store):
    serve(store)
    store.destructions.record("r-1-g1", MANUAL, reason="by an operator")
    route = route_of(store)
    assert (route.status, route.machine, route.current_release_tag) == (
        RouteStatus.FAILED,
        None,
        None,
    )
    assert route.fault is not None
    [fault] = store.remediations.histories(AN_HOUR_AGO)["r-1"].faults
    assert (fault.kind, fault.machine_key) == ("machine-failed", "r-1-g1")
    assert store.replacements.plan("r-1", run_on().activity()).machine_key == "r-1-g2"


def ahead_of(store, key) -> int:
    """Return how many destructions come before that of a machine."""
    seen: list[int] = []
    store.destructions.check(at_provider(key), lambda _, ahead, *__: seen.append(len(ahead)))
    return seen[0]


def test_only_earlier_destructions_are_ahead_of_a_machines_own(store):
    for route_id in ("r-1", "r-2"):
        serve(store, route_id)
        key, run = made_ready(store), run_on(route_id)
        claim(store, route_id, run.activity())
        store.replacements.attach(route_id, machine(key), PROOF, run.activity())
    assert ahead_of(store, "r-1-g1") == 0
    assert ahead_of(store, "r-2-g1") == 1
    assert ahead_of(store, "unknown") == 2
    store.destructions.record("r-1-g1", MANUAL, reason="too old")
    assert ahead_of(store, "r-2-g1") == 1
