"""What a run does about a fleet that is newer than its records: nothing, and it says so once."""

import pytest

from relight.domain.breaker.breaker import Breaker
from relight.domain.disruption import DisruptionBudget
from relight.domain.doubt import OUTDATED
from relight.domain.pool.pool import PoolMachine, PoolStatus, PoolTarget
from relight.domain.reconcile.plan import ActionKind, ReconcilePolicy
from relight.domain.reconcile.planner import plan_reconcile
from relight.domain.rollout.strategy import Strategy
from relight.domain.route import RouteStatus
from relight.domain.route_history import ObservedFault, RouteHistory
from relight.domain.sweep.sweep import SweepAction, SweepPlan, SweepStep
from tests.domain.fleets import HOUR, NOW
from tests.domain.reconcile.views import (
    MINUTE,
    POLICY,
    TAG,
    act,
    dead,
    destroy,
    faulted,
    ill,
    left,
    sound,
    view,
)

pytestmark = pytest.mark.attack("a store from an old backup")

CHANGES = {*ActionKind} - {ActionKind.VERIFY}
NEWER = SweepAction(
    step=SweepStep.DOUBT, reason="machine r00000-g7 is not on record", key="r00000-g7"
)


def newer(route):
    """Return a route whose host runs a release that its record has never named."""
    return route.model_copy(update={"newer_version": "0.0.99"})


def changed(fleet, policy=POLICY):
    return [each for each in plan_reconcile(fleet, policy, NOW).actions if each.kind in CHANGES]


def drifted(route_id: str) -> RouteHistory:
    """Return the history of a route whose host runs another release than it was proven at."""
    found = ObservedFault(
        at=NOW - MINUTE,
        kind="package-version-differs",
        machine_key=f"{route_id}-g1",
        drifted=True,
    )
    return RouteHistory(route_id=route_id, machine_key=f"{route_id}-g1", faults=(found,))


def test_a_route_whose_host_is_newer_is_left_alone_and_the_others_are_not():
    first, *others = sound(30)
    fleet = view([newer(first), *others, faulted("z")], ill("z", "dpkg-interrupted", 1))
    plan = plan_reconcile(fleet, POLICY, NOW)
    assert [(each.kind, each.route_id) for each in plan.actions] == [(ActionKind.REPAIR, "z")]
    assert "our records may be old" in left(fleet)[f"route {first.route_id}"]
    [incident] = plan.faults
    assert incident.kind == OUTDATED
    assert "0.0.99" in incident.summary


@pytest.mark.parametrize("history", [dead, lambda route_id: ill(route_id, "dpkg-interrupted", 1)])
def test_a_route_in_doubt_is_neither_repaired_nor_replaced(history):
    fleet = view([newer(faulted("z")), *sound(30)], history("z"))
    assert changed(fleet) == []


def test_a_newer_machine_at_a_provider_holds_everything():
    """Also what has nothing to do with it: a pool machine may serve a route since the backup."""
    pool = (
        PoolTarget(provider="linode", region="east", size=0, release_tag=TAG),
        [
            PoolMachine(
                key="pool-linode-east-1",
                provider="linode",
                region="east",
                status=PoolStatus.READY,
                since=NOW - HOUR,
                created_at=NOW - HOUR,
                release_tag=TAG,
                proven_at=NOW - MINUTE,
            )
        ],
    )
    routes = [*sound(30), faulted("y"), faulted("z")]
    histories = [dead("y"), ill("z", "dpkg-interrupted", 1)]
    sweep = SweepPlan(actions=(destroy("left-g1", "west"),))
    fleet = view(routes, *histories, pools=[pool], sweep=sweep)
    kinds = {each.kind for each in changed(fleet)}
    assert kinds == {ActionKind.REPLACE, ActionKind.REPAIR, ActionKind.POOL, ActionKind.SWEEP}
    doubted = view(
        routes, *histories, pools=[pool], sweep=sweep.model_copy(update={"left": (NEWER,)})
    )
    assert changed(doubted) == []
    assert "our records may be old" in left(doubted)["route z"]


@pytest.mark.parametrize("tag", ["v0.0.75", "v0.0.70"])
def test_many_newer_hosts_are_one_incident_and_nothing_is_changed(tag):
    routes = [newer(each) for each in sound(12)] + [faulted("z")]
    fleet = view(routes, ill("z", "dpkg-interrupted", 1), tag=tag)
    assert changed(fleet) == []
    assert [each.kind for each in plan_reconcile(fleet, POLICY, NOW).faults] == [OUTDATED]


def test_many_hosts_at_another_release_are_doubt_and_a_few_are_repaired():
    """As after a backup from before a rollback: what they run is older than on record."""
    ids = [f"f{at:02}" for at in range(12)]
    many = view([*map(faulted, ids), *sound(1)], *map(drifted, ids))
    assert changed(many) == []
    few = view([faulted("z"), *sound(30)], drifted("z"))
    assert act(few) == [(ActionKind.REPAIR, "z")]


def test_no_more_routes_are_repaired_at_once_than_the_budget_lets_out():
    """Those that are out already take out no other; but what harms one repair harms them all."""
    ids = [f"f{at:02}" for at in range(12)]
    fleet = view(
        [*map(faulted, ids), *sound(1)], *(ill(each, "dpkg-interrupted", 1) for each in ids)
    )
    assert act(fleet) == [(ActionKind.REPAIR, "f00")]
    assert "1 may be" in left(fleet)["route f01"]
    busy = view(fleet.routes, *fleet.histories.values(), busy={"f00"})
    assert changed(busy) == []
    wide = ReconcilePolicy(strategy=Strategy(disruption_budget=DisruptionBudget(region="5")))
    assert len(changed(fleet, wide)) == 5


def test_hosts_in_doubt_do_not_keep_others_from_being_verified():
    old = [each.model_copy(update={"proven_at": NOW - 48 * HOUR}) for each in sound(4)]
    routes = [newer(old[0]), *old[1:], *sound(40, prefix="s")]
    policy = POLICY.model_copy(update={"max_verifications": 3})
    verified = [route_id for kind, route_id in act(view(routes), policy)]
    assert verified == [each.route_id for each in old[1:]]
    assert routes[0].status is RouteStatus.SERVING
    assert view(routes).breaker == Breaker()
