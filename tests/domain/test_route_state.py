"""What a route is known to run now, and since when."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from relight.domain.fault.table import fault
from relight.domain.reconcile.plan import ReconcilePolicy
from relight.domain.route import Route, RouteStatus
from relight.domain.route_state import (
    NOT_KNOWN,
    KnownState,
    RouteEvidence,
    RouteState,
    known_state,
)
from tests.domain.fleets import NOW

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
POLICY = ReconcilePolicy()
PROVEN_AT = NOW - HOUR


def route(status: RouteStatus = RouteStatus.SERVING, **changes: Any) -> Route:
    values = {
        "current_release_tag": "v0.0.74",
        "target_release_tag": "v0.0.74",
        "proven_at": PROVEN_AT,
        **changes,
    }
    return Route(
        route_id="a", track="stable", provider="lab", region="east", status=status, **values
    )


def known(found: Route, **evidence: datetime) -> KnownState:
    return known_state(found, RouteEvidence(**evidence), POLICY, NOW)


def test_a_proof_that_counts_says_what_a_route_runs_and_since_when():
    assert known(route()) == (RouteState.PROVEN, PROVEN_AT, "v0.0.74")


def test_a_proof_counts_up_to_its_limit_and_is_stale_after_it():
    limit = POLICY.proof_lasts
    assert known(route(proven_at=NOW - limit))[0] is RouteState.PROVEN
    old = NOW - limit - MINUTE
    assert known(route(proven_at=old)) == (RouteState.STALE, NOW - MINUTE, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"proven_at": None},
        {"proven_at": NOW + HOUR},
        {"current_release_tag": None},
        {"newer_version": "0.0.75"},
    ],
    ids=["no proof", "a proof of the future", "no release", "another version observed"],
)
def test_without_a_proof_that_can_be_true_it_is_unknown(changes: dict[str, Any]):
    assert known(route(**changes)) == (RouteState.UNKNOWN, None, None)


def test_a_machine_that_fell_silent_after_the_proof_is_unreachable():
    since = NOW - MINUTE
    assert known(route(), silent_since=since) == (RouteState.UNREACHABLE, since, None)
    assert known(route(), silent_since=PROVEN_AT - MINUTE)[0] is RouteState.PROVEN


def test_a_machine_that_listings_have_lacked_for_long_enough_is_gone():
    since = NOW - 6 * MINUTE
    silent = {"silent_since": NOW - 7 * MINUTE}
    assert known(route(), gone_since=since, **silent) == (RouteState.GONE, since, None)
    assert known(route(), gone_since=NOW - MINUTE)[0] is RouteState.PROVEN
    assert known(route(), gone_since=PROVEN_AT - MINUTE)[0] is RouteState.PROVEN


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("unit-failed", RouteState.FAULTED),
        ("host-unreachable", RouteState.UNREACHABLE),
        ("login-refused", RouteState.UNREACHABLE),
    ],
)
def test_a_failed_operation_leaves_a_route_faulted_or_unreachable(kind: str, state: RouteState):
    faulted = route(RouteStatus.FAULTED, fault=fault(kind, "why"))
    since = NOW - MINUTE
    assert known(faulted, faulted_since=since) == (state, since, None)
    silent_since = NOW - 2 * MINUTE
    found = known(faulted, faulted_since=since, silent_since=silent_since)
    assert found == (RouteState.UNREACHABLE, silent_since, None)


@pytest.mark.parametrize(
    "status", [RouteStatus.PROVISIONING, RouteStatus.FAILED, RouteStatus.RETIRED]
)
def test_a_route_without_a_machine_is_what_is_recorded(status: RouteStatus):
    since = NOW - MINUTE
    silent_since = since
    found = known(route(status), faulted_since=since, silent_since=silent_since)
    assert found == (RouteState(status.value), since, None)


def test_only_a_proven_route_is_known_to_run_a_release():
    assert RouteState.PROVEN not in NOT_KNOWN
    for state in NOT_KNOWN:
        assert state not in {RouteState.FAULTED, RouteState.FAILED, RouteState.RETIRED}
