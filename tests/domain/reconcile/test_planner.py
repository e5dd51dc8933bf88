"""What a reconcile run does, by example."""

from collections import Counter
from dataclasses import replace

import pytest

from relight.domain.breaker.breaker import (
    Destruction,
)
from relight.domain.disruption import DisruptionBudget
from relight.domain.drift import Declarations
from relight.domain.hold import Selector
from relight.domain.pool.pool import (
    PoolMachine,
    PoolStatus,
    PoolStep,
    PoolTarget,
)
from relight.domain.reconcile.plan import ActionKind, ReconcilePolicy
from relight.domain.reconcile.planner import plan_reconcile
from relight.domain.rollout.rollout import RolloutPhase
from relight.domain.rollout.strategy import Strategy
from relight.domain.route import RouteStatus
from relight.domain.route_history import ObservedFault, RouteHistory
from relight.domain.sweep.sweep import SweepPlan
from relight.domain.track import Track
from tests.domain.fleets import (
    HOUR,
    NOW,
    exclusion,
    freeze,
    many,
    route,
)
from tests.domain.reconcile.views import (
    INCIDENT,
    MINUTE,
    OLD_TAG,
    OPEN,
    POLICY,
    TAG,
    act,
    at,
    breaker_of,
    dead,
    destroy,
    faulted,
    ill,
    left,
    rollout,
    sound,
    view,
)

FREELY = ReconcilePolicy(strategy=Strategy(max_concurrent=100), drift="100%")


def test_a_fleet_as_declared_needs_no_action():
    plan = plan_reconcile(view(sound(5)), POLICY, NOW)
    assert (plan.actions, plan.left_alone, plan.left_alone_count) == ((), (), 0)


def test_a_changed_default_starts_one_rollout():
    assert act(view(sound(20), tag="v0.0.75")) == [(ActionKind.START_ROLLOUT, "fleet")]


def test_a_changed_override_starts_a_rollout_of_its_track():
    routes = [*sound(5), *sound(5, prefix="b", track="beta")]
    fleet = view(routes, tracks=[Track(name="beta", release_override="v0.0.75")])
    assert act(fleet) == [(ActionKind.START_ROLLOUT, "track:beta")]


def test_a_few_drifted_routes_are_swapped_within_the_budget():
    routes = [*sound(60), *(at(OLD_TAG, each) for each in many(3, prefix="z"))]
    assert act(view(routes)) == [(ActionKind.SWAP, f"z0000{each}") for each in range(3)]
    strict = POLICY.model_copy(
        update={"strategy": Strategy(disruption_budget=DisruptionBudget(region="1"))}
    )
    assert act(view(routes), strict) == [(ActionKind.SWAP, "z00000")]
    assert "1 are out, 1 may be" in left(view(routes), strict)["route z00001"]


def test_hosts_with_other_settings_are_repaired_within_the_budget_after_those_that_fail():
    """As after an upgrade of the control plane: each host has the program of before."""
    routes = [*sound(60), faulted("z")]
    settings = [ill(each.route_id, "host-settings-differ", 1) for each in routes[:60]]
    fleet = view(routes, *settings, ill("z", "stale-process", 1))
    strict = POLICY.model_copy(
        update={"strategy": Strategy(disruption_budget=DisruptionBudget(region="3"))}
    )
    assert act(fleet, strict) == [
        (ActionKind.REPAIR, "z"),
        (ActionKind.REPAIR, "r00000"),
        (ActionKind.REPAIR, "r00001"),
    ]
    assert "3 are out, 3 may be" in left(fleet, strict)["route r00002"]
    assert len(act(fleet)) <= POLICY.max_swaps


def test_busy_routes_count_as_out_and_are_not_changed():
    routes = [*sound(60), *(at(OLD_TAG, each) for each in many(3, prefix="z"))]
    strict = POLICY.model_copy(
        update={"strategy": Strategy(disruption_budget=DisruptionBudget(region="2"))}
    )
    assert act(view(routes, busy={"r00000"}), strict) == [(ActionKind.SWAP, "z00000")]
    assert act(view(routes, busy={"z00000"}), strict) == [(ActionKind.SWAP, "z00001")]


def test_a_scope_with_an_open_rollout_is_left_alone():
    fleet = view(sound(20), tag="v0.0.75", rollouts=[rollout(RolloutPhase.RUNNING, "v0.0.75")])
    assert act(fleet) == []
    assert "the rollout of v0.0.75 holds the scope" in left(fleet)["scope fleet"]


@pytest.mark.parametrize("phase", [RolloutPhase.STOPPED, RolloutPhase.ABORTED])
def test_a_stopped_rollout_is_neither_restarted_nor_undone(phase):
    routes = [*sound(60), *(at("v0.0.75", each) for each in many(2, prefix="z"))]
    ended = [rollout(phase, "v0.0.75")]
    for tag in ("v0.0.75", TAG):
        fleet = view(routes, tag=tag, rollouts=ended)
        assert act(fleet) == []
        assert "a person has to decide" in left(fleet)["scope fleet"]
    later = Declarations(
        tracks=(), fleet_default="v0.0.75", rollouts=ended, declared_at={"fleet": NOW + MINUTE}
    )
    redeclared = replace(view(routes), declarations=later)
    assert act(redeclared) == [(ActionKind.START_ROLLOUT, "fleet")]


def test_a_rollout_that_was_stopped_while_a_clock_was_ahead_does_not_block_those_after_it():
    stopped = rollout(RolloutPhase.STOPPED, "v0.0.75")
    ahead = {"opened_at": NOW + 7000 * HOUR, "closed_at": NOW + 7000 * HOUR}
    recorded = [stopped.model_copy(update=ahead), rollout(RolloutPhase.CONVERGED, TAG)]
    routes = [*sound(60), *(at(OLD_TAG, each) for each in many(2, prefix="z"))]
    assert act(view(routes, rollouts=recorded)) == [
        (ActionKind.SWAP, "z00000"),
        (ActionKind.SWAP, "z00001"),
    ]


def test_without_a_declaration_nothing_is_swapped():
    fleet = view(sound(5), tag=None)
    assert act(fleet) == []
    assert "no release is declared" in left(fleet)["scope fleet"]


def test_excluded_and_pinned_routes_do_not_count_as_behind():
    routes = [*sound(60), at(OLD_TAG, route("z"))]
    for pin in (None, OLD_TAG):
        held = exclusion(Selector(route_id="z"), pinned_to=pin)
        assert act(view(routes, exclusions=[held])) == []


def test_a_freeze_prevents_swaps_but_not_the_replacement_of_a_faulted_route():
    frozen = [freeze(-HOUR, HOUR)]
    behind = view([*sound(60), at(OLD_TAG, route("z"))], freezes=frozen)
    assert act(behind) == []
    assert "a freeze until" in left(behind)["route z"]
    assert act(view(sound(20), tag="v0.0.75", freezes=frozen)) == []
    gone = view([*sound(20), faulted()], dead("f"), freezes=frozen)
    assert act(gone) == [(ActionKind.REPLACE, "f")]


def test_an_unreachable_machine_is_replaced_at_its_routes_target():
    (action,) = plan_reconcile(view([*sound(20), faulted()], dead("f")), POLICY, NOW).actions
    assert (action.kind, action.route_id, action.release_tag) == (ActionKind.REPLACE, "f", TAG)
    assert action.unreachable


def test_a_pinned_route_is_replaced_at_its_pin_and_an_excluded_one_is_not_replaced():
    fleet = [*sound(20), faulted()]
    pin = exclusion(Selector(route_id="f"), pinned_to=OLD_TAG)
    (action,) = plan_reconcile(view(fleet, dead("f"), exclusions=[pin]), POLICY, NOW).actions
    assert (action.kind, action.release_tag) == (ActionKind.REPLACE, OLD_TAG)
    held = view(fleet, dead("f"), exclusions=[pin, exclusion(Selector(route_id="f"))])
    assert (ActionKind.REPLACE, "f") not in act(held)
    requested = view(
        fleet,
        dead("f", replacement_requested_by="ann"),
        exclusions=[exclusion(Selector(route_id="f"))],
    )
    assert (ActionKind.REPLACE, "f") in act(requested)


def test_a_repairable_fault_is_repaired():
    fleet = view([*sound(20), faulted()], ill("f", "stale-process", 30))
    assert act(fleet) == [(ActionKind.REPAIR, "f")]


def test_a_route_that_was_unreachable_once_is_verified():
    fleet = view([*sound(20), faulted()], ill("f", "host-unreachable", 5))
    assert act(fleet) == [(ActionKind.VERIFY, "f")]


def test_a_route_that_needs_a_person_is_reported():
    fleet = view([*sound(20), faulted()], ill("f", "disk-full", 5))
    assert act(fleet) == []
    assert "a person has to decide" in left(fleet)["route f"]


def test_a_route_replaced_too_often_is_quarantined_once():
    replaced = {"replacements": tuple(NOW - hours * HOUR for hours in (3, 2, 1))}
    fleet = [*sound(20), faulted()]
    assert act(view(fleet, dead("f", **replaced))) == [(ActionKind.QUARANTINE, "f")]
    held = view(fleet, dead("f", quarantined=True))
    assert act(held) == []
    assert "quarantine" in left(held)["route f"]


def test_old_proofs_are_verified_oldest_first():
    stale = [at(TAG, each, (25 + at_) * HOUR) for at_, each in enumerate(many(4, prefix="s"))]
    few = POLICY.model_copy(update={"max_verifications": 2})
    assert act(view([*sound(9), *stale]), few) == [
        (ActionKind.VERIFY, "s00003"),
        (ActionKind.VERIFY, "s00002"),
    ]


def test_while_the_breaker_is_open_a_run_only_verifies():
    routes = [
        *sound(20),
        faulted(),
        faulted("m"),
        at(OLD_TAG, route("z")),
        at(TAG, route("s"), 30 * HOUR),
    ]
    target = PoolTarget(provider="linode", region="east", size=2, release_tag=TAG)
    fleet = view(
        routes,
        dead("f"),
        ill("m", "stale-process", 5),
        breaker=OPEN,
        pools=[(target, ())],
        sweep=SweepPlan(actions=(destroy("x-g1"),)),
    )
    plan = plan_reconcile(fleet, FREELY, NOW)
    assert {each.kind for each in plan.actions} == {ActionKind.VERIFY}
    assert {"f", "s"} <= {each.route_id for each in plan.actions}
    assert plan.incident == INCIDENT
    assert "east is down" in {each.about: each.reason for each in plan.left_alone}["machine x-g1"]


def test_replacements_pools_and_sweeps_share_the_hourly_limits():
    target = PoolTarget(provider="linode", region="east", size=1, release_tag=TAG)
    aged = PoolMachine(
        key="pool-linode-east-1",
        provider="linode",
        region="east",
        status=PoolStatus.FAULTED,
        since=NOW,
        created_at=NOW - HOUR,
    )
    done = Destruction(at=NOW - HOUR / 2, provider="linode", region="east")
    fleet = view(
        [*sound(20), faulted()],
        dead("f"),
        destructions=[done],
        pools=[(target, [aged])],
        sweep=SweepPlan(actions=(destroy("x-g1"), destroy("y-g1", "west"))),
    )
    plan = plan_reconcile(fleet, POLICY, NOW)
    kinds = [(each.kind, each.pool.step if each.pool else None) for each in plan.actions]
    assert kinds == [
        (ActionKind.REPLACE, None),
        (ActionKind.POOL, PoolStep.CREATE),
        (ActionKind.SWEEP, None),
    ]
    assert plan.actions[-1].sweep == destroy("y-g1", "west")


def test_each_destruction_of_a_sweep_counts_for_the_next():
    sweep = SweepPlan(actions=tuple(destroy(f"{name}-g1") for name in "xyz"))
    plan = plan_reconcile(view(sound(5), sweep=sweep), POLICY, NOW)
    assert [each.sweep.key for each in plan.actions if each.sweep] == ["x-g1", "y-g1"]
    assert "2 destroyed within an hour" in plan.left_alone[0].reason


def test_replacements_and_swaps_share_the_budget():
    requested = RouteHistory(
        route_id="r00000", machine_key="r00000-g1", replacement_requested_by="ann"
    )
    strict = POLICY.model_copy(
        update={"strategy": Strategy(disruption_budget=DisruptionBudget(region="1"))}
    )
    fleet = view([*sound(60), at(OLD_TAG, route("z"))], requested)
    assert act(fleet, strict) == [(ActionKind.REPLACE, "r00000")]


def test_a_run_only_changes_routes_of_its_page():
    routes = [at(TAG, each, 30 * HOUR) for each in many(5)]
    assert act(view(routes, page={"r00003"})) == [(ActionKind.VERIFY, "r00003")]


def test_neighbours_are_verified_before_a_machine_is_destroyed():
    routes = [at(TAG, each, 2 * HOUR) for each in many(30)] + [faulted()]
    fleet = view(routes, dead("f"))
    fleet = replace(fleet, breaker=breaker_of(fleet))
    assert fleet.breaker.unknown
    kinds = Counter(kind for kind, _ in act(fleet))
    assert kinds == {ActionKind.VERIFY: 5}
    observed = [at(TAG, each, MINUTE) for each in routes[:4]] + routes[4:]
    after = view(observed, dead("f"))
    assert (ActionKind.REPLACE, "f") in act(replace(after, breaker=breaker_of(after)))


def test_of_many_silent_routes_those_without_a_login_for_longest_are_verified_first():
    routes = sound(40, region="east")
    silent = [
        RouteHistory(route_id=each.route_id, machine_key=None, silent_since=NOW - MINUTE)
        for each in routes
    ]
    policy = POLICY.model_copy(update={"max_verifications": 10})
    # The first ones were verified a few minutes ago, and have to be again.
    for number in range(20):
        fault = ObservedFault(
            at=NOW - (5 + number) * MINUTE,
            kind="host-unreachable",
            machine_key=f"{routes[number].route_id}-g1",
        )
        routes[number] = routes[number].model_copy(update={"status": RouteStatus.FAULTED})
        silent[number] = silent[number].model_copy(
            update={"faults": (fault,), "silent_since": NOW - 30 * MINUTE}
        )
    verified = [route_id for _, route_id in act(view(routes, *silent, breaker=OPEN), policy)]
    assert verified == [each.route_id for each in routes[20:30]]
