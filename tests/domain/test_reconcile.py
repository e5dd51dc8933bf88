"""What a pass of reconciliation does, and that it heals a fleet without harming it."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerIncident,
    BreakerLimits,
    ConnectivityResult,
    Destruction,
)
from relight.domain.breaker.decisions import count_reach, turn
from relight.domain.disruption import DisruptionBudget, groups_of, may_be_out
from relight.domain.drift import Declarations
from relight.domain.event import Track
from relight.domain.hold import Selector
from relight.domain.machine import MachineStatus
from relight.domain.pool.pool import (
    PoolMachine,
    PoolStatus,
    PoolStep,
    PoolTarget,
)
from relight.domain.reconcile.builder import FleetView, observations_of
from relight.domain.reconcile.plan import ActionKind, ReconcilePolicy
from relight.domain.reconcile.planner import plan_reconcile
from relight.domain.remediation import ObservedFault, RouteHistory
from relight.domain.rollout.rollout import (
    Rollout,
    RolloutPhase,
    Strategy,
)
from relight.domain.route import Route, RouteStatus
from relight.domain.sweep.sweep import (
    MachineAtProvider,
    SweepAction,
    SweepPlan,
    SweepStep,
)
from tests.domain.fleets import (
    HOUR,
    NOW,
    budget_sizes,
    exclusion,
    exclusions,
    fleets,
    freeze,
    freezes,
    many,
    route,
)

OLD_TAG, TAG = "v0.0.73", "v0.0.74"
MINUTE = timedelta(minutes=1)
LIMITS = BreakerLimits()
POLICY = ReconcilePolicy()
FREELY = ReconcilePolicy(strategy=Strategy(max_concurrent=100), drift="100%")
WITNESS = ConnectivityResult(name="mirror", observed_at=NOW, reached=True)
INCIDENT = BreakerIncident(opened_at=NOW, last_observed_at=NOW, summary="east is dark")
OPEN = Breaker(incident=INCIDENT)


def at(tag: str | None, each: Route, proven_ago: timedelta | None = HOUR, target=TAG) -> Route:
    """Return the route, proven at a release some time ago."""
    proven_at = None if proven_ago is None or each.machine is None else NOW - proven_ago
    facts = {"current_release_tag": tag, "target_release_tag": target, "proven_at": proven_at}
    return each.model_copy(update=facts)


def sound(count: int, **what) -> list[Route]:
    return [at(TAG, each) for each in many(count, **what)]


def faulted(name: str = "f", **what) -> Route:
    return at(TAG, route(name, status=RouteStatus.FAULTED, **what), 2 * HOUR)


def ill(route_id: str, kind: str, *ago: float, **what) -> RouteHistory:
    """Return what happened to a route: a fault so many minutes ago, each by a new connection."""
    faults = tuple(
        ObservedFault(at=NOW - each * MINUTE, kind=kind, machine_key=f"{route_id}-g1")
        for each in ago
    )
    return RouteHistory(route_id=route_id, machine_key=f"{route_id}-g1", faults=faults, **what)


def dead(route_id: str, **what) -> RouteHistory:
    return ill(route_id, "host-unreachable", 30, 20, 10, **what)


def view(routes, *histories, tag=TAG, tracks=(), rollouts=(), **what) -> FleetView:
    facts = {"breaker": Breaker(), **what}
    return FleetView(
        routes=routes,
        declarations=Declarations(tracks=tracks, fleet_default=tag, rollouts=rollouts),
        histories={each.route_id: each for each in histories},
        **facts,
    )


def act(fleet: FleetView, policy: ReconcilePolicy = POLICY):
    return [
        (each.kind, each.route_id or each.scope)
        for each in plan_reconcile(fleet, policy, NOW).actions
    ]


def left(fleet: FleetView, policy: ReconcilePolicy = POLICY) -> dict[str, str]:
    return {each.about: each.reason for each in plan_reconcile(fleet, policy, NOW).left_alone}


def rollout(phase: RolloutPhase, tag: str = TAG, scope: str = "fleet") -> Rollout:
    ended = phase is not RolloutPhase.RUNNING
    return Rollout(
        workflow_id=f"rollout/{tag}/{scope}",
        run_id="r",
        release_tag=tag,
        scope=scope,
        phase=phase,
        detail="",
        opened_at=NOW - HOUR,
        closed_at=NOW if ended else None,
    )


def test_a_fleet_that_is_as_declared_is_left_alone():
    plan = plan_reconcile(view(sound(5)), POLICY, NOW)
    assert (plan.actions, plan.left_alone, plan.left_alone_count) == ((), (), 0)


def test_a_changed_default_is_a_rollout_and_no_stampede():
    assert act(view(sound(20), tag="v0.0.75")) == [(ActionKind.START_ROLLOUT, "fleet")]


def test_an_override_that_changed_is_a_rollout_of_its_track():
    routes = [*sound(5), *sound(5, prefix="b", track="beta")]
    fleet = view(routes, tracks=[Track(name="beta", release_override="v0.0.75")])
    assert act(fleet) == [(ActionKind.START_ROLLOUT, "track:beta")]


def test_a_few_that_are_behind_are_swapped_within_the_budget():
    routes = [*sound(60), *(at(OLD_TAG, each) for each in many(3, prefix="z"))]
    assert act(view(routes)) == [(ActionKind.SWAP, f"z0000{each}") for each in range(3)]
    strict = POLICY.model_copy(
        update={"strategy": Strategy(disruption_budget=DisruptionBudget(region="1"))}
    )
    assert act(view(routes), strict) == [(ActionKind.SWAP, "z00000")]
    assert "1 are out, 1 may be" in left(view(routes), strict)["route z00001"]


def test_what_is_busy_is_counted_as_out_and_not_touched():
    routes = [*sound(60), *(at(OLD_TAG, each) for each in many(3, prefix="z"))]
    strict = POLICY.model_copy(
        update={"strategy": Strategy(disruption_budget=DisruptionBudget(region="2"))}
    )
    assert act(view(routes, busy={"r00000"}), strict) == [(ActionKind.SWAP, "z00000")]
    assert act(view(routes, busy={"z00000"}), strict) == [(ActionKind.SWAP, "z00001")]


def test_a_scope_that_a_rollout_has_is_left_to_it():
    fleet = view(sound(20), tag="v0.0.75", rollouts=[rollout(RolloutPhase.RUNNING, "v0.0.75")])
    assert act(fleet) == []
    assert "the rollout of v0.0.75 has the scope" in left(fleet)["scope fleet"]


@pytest.mark.parametrize("phase", [RolloutPhase.STOPPED, RolloutPhase.ABORTED])
def test_a_rollout_that_was_stopped_is_not_begun_again_nor_taken_back(phase):
    routes = [*sound(60), *(at("v0.0.75", each) for each in many(2, prefix="z"))]
    ended = [rollout(phase, "v0.0.75")]
    for tag in ("v0.0.75", TAG):
        fleet = view(routes, tag=tag, rollouts=ended)
        assert act(fleet) == []
        assert "a person has to decide" in left(fleet)["scope fleet"]
    later = Declarations(
        tracks=(), fleet_default="v0.0.75", rollouts=ended, declared_at={"fleet": NOW + MINUTE}
    )
    again = replace(view(routes), declarations=later)
    assert act(again) == [(ActionKind.START_ROLLOUT, "fleet")]


def test_without_a_declaration_nothing_is_brought_anywhere():
    fleet = view(sound(5), tag=None)
    assert act(fleet) == []
    assert "no release is declared" in left(fleet)["scope fleet"]


def test_excluded_and_pinned_routes_are_not_behind():
    routes = [*sound(60), at(OLD_TAG, route("z"))]
    for pin in (None, OLD_TAG):
        held = exclusion(Selector(route_id="z"), pinned_to=pin)
        assert act(view(routes, exclusions=[held])) == []


def test_a_freeze_keeps_a_route_from_a_swap_and_not_a_dead_one_from_another_machine():
    frozen = [freeze(-HOUR, HOUR)]
    behind = view([*sound(60), at(OLD_TAG, route("z"))], freezes=frozen)
    assert act(behind) == []
    assert "a freeze until" in left(behind)["route z"]
    assert act(view(sound(20), tag="v0.0.75", freezes=frozen)) == []
    gone = view([*sound(20), faulted()], dead("f"), freezes=frozen)
    assert act(gone) == [(ActionKind.REPLACE, "f")]


def test_a_dead_machine_is_replaced_at_its_routes_own_target():
    (action,) = plan_reconcile(view([*sound(20), faulted()], dead("f")), POLICY, NOW).actions
    assert (action.kind, action.route_id, action.release_tag) == (ActionKind.REPLACE, "f", TAG)
    assert action.unreachable


def test_a_pinned_route_is_replaced_at_its_pin_and_an_excluded_one_is_not():
    fleet = [*sound(20), faulted()]
    pin = exclusion(Selector(route_id="f"), pinned_to=OLD_TAG)
    (action,) = plan_reconcile(view(fleet, dead("f"), exclusions=[pin]), POLICY, NOW).actions
    assert (action.kind, action.release_tag) == (ActionKind.REPLACE, OLD_TAG)
    held = view(fleet, dead("f"), exclusions=[pin, exclusion(Selector(route_id="f"))])
    assert (ActionKind.REPLACE, "f") not in act(held)
    asked = view(fleet, dead("f", asked_by="ann"), exclusions=[exclusion(Selector(route_id="f"))])
    assert (ActionKind.REPLACE, "f") in act(asked)


def test_a_fault_that_repair_mends_is_swapped_again():
    fleet = view([*sound(20), faulted()], ill("f", "stale-process", 30))
    assert act(fleet) == [(ActionKind.REPAIR, "f")]


def test_a_route_that_was_not_reached_once_is_looked_at_again():
    fleet = view([*sound(20), faulted()], ill("f", "host-unreachable", 5))
    assert act(fleet) == [(ActionKind.PROVE, "f")]


def test_a_route_that_a_person_has_to_see_to_is_told_of():
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


def test_stale_proofs_are_proven_again_the_oldest_first():
    stale = [at(TAG, each, (25 + at_) * HOUR) for at_, each in enumerate(many(4, prefix="s"))]
    few = POLICY.model_copy(update={"max_verifications": 2})
    assert act(view([*sound(9), *stale]), few) == [
        (ActionKind.PROVE, "s00003"),
        (ActionKind.PROVE, "s00002"),
    ]


def test_while_the_breaker_is_open_a_pass_only_looks():
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
    assert {each.kind for each in plan.actions} == {ActionKind.PROVE}
    assert {"f", "s"} <= {each.route_id for each in plan.actions}
    assert plan.incident == INCIDENT
    assert "east is dark" in {each.about: each.reason for each in plan.left_alone}["machine x-g1"]


def destroy(key: str, region: str = "east") -> SweepAction:
    machine = MachineAtProvider(
        key=key,
        provider="linode",
        provider_id=key,
        region=region,
        architecture="amd64",
        status=MachineStatus.RUNNING,
    )
    return SweepAction(step=SweepStep.DESTROY, reason="left over", key=key, machine=machine)


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


def test_what_one_sweep_destroys_counts_for_the_next_machine_of_it():
    sweep = SweepPlan(actions=tuple(destroy(f"{name}-g1") for name in "xyz"))
    plan = plan_reconcile(view(sound(5), sweep=sweep), POLICY, NOW)
    assert [each.sweep.key for each in plan.actions if each.sweep] == ["x-g1", "y-g1"]
    assert "2 destroyed within an hour" in plan.left_alone[0].reason


def test_a_route_that_is_being_replaced_uses_the_budget_of_the_swaps():
    asked = RouteHistory(route_id="r00000", machine_key="r00000-g1", asked_by="ann")
    strict = POLICY.model_copy(
        update={"strategy": Strategy(disruption_budget=DisruptionBudget(region="1"))}
    )
    fleet = view([*sound(60), at(OLD_TAG, route("z"))], asked)
    assert act(fleet, strict) == [(ActionKind.REPLACE, "r00000")]


def test_a_pass_is_about_its_page_alone():
    routes = [at(TAG, each, 30 * HOUR) for each in many(5)]
    assert act(view(routes, page={"r00003"})) == [(ActionKind.PROVE, "r00003")]


def test_neighbours_are_looked_at_before_a_machine_is_destroyed():
    routes = [at(TAG, each, 2 * HOUR) for each in many(30)] + [faulted()]
    fleet = view(routes, dead("f"))
    fleet = replace(fleet, breaker=breaker_of(fleet))
    assert fleet.breaker.unknown
    kinds = Counter(kind for kind, _ in act(fleet))
    assert kinds == {ActionKind.PROVE: 5}
    looked = [at(TAG, each, MINUTE) for each in routes[:4]] + routes[4:]
    after = view(looked, dead("f"))
    assert (ActionKind.REPLACE, "f") in act(replace(after, breaker=breaker_of(after)))


def breaker_of(fleet: FleetView, before: Breaker | None = None, now=NOW) -> Breaker:
    reach = count_reach(observations_of(fleet), fleet.destructions, LIMITS, now)
    check = WITNESS.model_copy(update={"observed_at": now})
    return turn(before or Breaker(), reach, [check], LIMITS, now)


@st.composite
def views(draw):
    routes = [
        at(
            draw(st.sampled_from([TAG, TAG, OLD_TAG])),
            each,
            draw(st.integers(0, 50)) * HOUR,
            target=draw(st.sampled_from([TAG, OLD_TAG])),
        )
        for each in draw(fleets)
    ]
    kinds = st.sampled_from(["host-unreachable", "stale-process", "disk-full", "unit-failed"])
    histories = [
        ill(
            each.route_id,
            draw(kinds),
            *draw(st.lists(st.integers(0, 90), max_size=4)),
            asked_by=draw(st.sampled_from([None] * 8 + ["ann"])),
        )
        for each in routes
        if each.status is RouteStatus.FAULTED or draw(st.integers(0, 9)) == 0
    ]
    ids = [each.route_id for each in routes]
    return view(
        routes,
        *histories,
        tag=draw(st.sampled_from([TAG, "v0.0.75", None])),
        tracks=[Track(name="beta", release_override=draw(st.sampled_from([None, TAG, "v0.0.75"])))],
        rollouts=draw(st.lists(st.builds(rollout, st.sampled_from(RolloutPhase)), max_size=1)),
        busy=set(draw(st.lists(st.sampled_from(ids), max_size=5))),
        exclusions=draw(exclusions),
        freezes=draw(freezes),
        breaker=draw(st.sampled_from([Breaker(), Breaker(), Breaker(), OPEN])),
    )


policies = st.builds(
    ReconcilePolicy,
    strategy=st.builds(
        Strategy,
        max_concurrent=st.integers(1, 12),
        disruption_budget=st.builds(
            DisruptionBudget, provider=budget_sizes, region=budget_sizes, track=budget_sizes
        ),
    ),
    drift=st.sampled_from(["5%", "3", "100%"]),
    max_swaps=st.integers(0, 5),
    max_replacements=st.integers(0, 3),
    max_verifications=st.integers(0, 5),
    max_rollouts=st.integers(0, 2),
)

TAKE_OUT = {ActionKind.SWAP, ActionKind.REPAIR, ActionKind.REPLACE}


@given(views(), policies)
def test_a_pass_takes_no_more_out_than_the_budgets_let(fleet, policy):
    plan = plan_reconcile(fleet, policy, NOW)
    counted = {RouteStatus.SERVING, RouteStatus.FAULTED}
    in_service = [each for each in fleet.routes if each.status in counted]
    begun = {each.route_id for each in plan.actions if each.kind in TAKE_OUT}
    out_before = {
        each.route_id
        for each in in_service
        if each.status is RouteStatus.FAULTED or each.route_id in fleet.busy
    }
    budget = policy.strategy.disruption_budget
    sizes = {"provider": budget.provider, "region": budget.region, "track": budget.track}

    def count(ids):
        return Counter(
            group for each in in_service if each.route_id in ids for group in groups_of(each)
        )

    members, before = count({each.route_id for each in in_service}), count(out_before)
    for group, after in count(out_before | begun).items():
        size = sizes[group.kind]
        if size is not None:
            assert after <= max(may_be_out(size, members[group]), before[group])
    if begun:
        assert len(begun) + len(fleet.busy) <= policy.strategy.max_concurrent


@given(views(), policies)
def test_a_pass_is_bounded_and_touches_no_route_twice_nor_one_that_is_busy(fleet, policy):
    plan = plan_reconcile(fleet, policy, NOW)
    kinds = Counter(each.kind for each in plan.actions)
    assert kinds[ActionKind.SWAP] + kinds[ActionKind.REPAIR] <= policy.max_swaps
    assert kinds[ActionKind.REPLACE] <= policy.max_replacements
    assert kinds[ActionKind.PROVE] <= policy.max_verifications
    assert kinds[ActionKind.START_ROLLOUT] <= policy.max_rollouts
    routes = [each.route_id for each in plan.actions if each.route_id]
    assert len(routes) == len(set(routes))
    assert not set(routes) & set(fleet.busy)
    assert all(action.reason for action in plan.actions)
    assert all(each.reason for each in plan.left_alone)
    assert len(plan.left_alone) == min(plan.left_alone_count, policy.max_reported)


@given(views(), policies)
def test_an_open_breaker_lets_a_pass_look_and_nothing_else(fleet, policy):
    plan = plan_reconcile(replace(fleet, breaker=OPEN), policy, NOW)
    assert {each.kind for each in plan.actions} <= {ActionKind.PROVE}


@given(views(), policies, st.randoms())
def test_the_same_fleet_in_another_order_gives_the_same_plan(fleet, policy, random):
    def mixed(things):
        shuffled = list(things)
        random.shuffle(shuffled)
        return shuffled

    again = replace(
        fleet,
        routes=mixed(fleet.routes),
        exclusions=mixed(fleet.exclusions),
        freezes=mixed(fleet.freezes),
        histories=dict(mixed(fleet.histories.items())),
    )
    assert plan_reconcile(again, policy, NOW) == plan_reconcile(fleet, policy, NOW)


@given(views(), policies)
def test_nothing_is_begun_twice(fleet, policy):
    first = plan_reconcile(fleet, policy, NOW)
    begun = {each.route_id for each in first.actions if each.route_id}
    second = plan_reconcile(replace(fleet, busy=set(fleet.busy) | begun), policy, NOW)
    assert not begun & {each.route_id for each in second.actions}


@given(views(), policies)
def test_excluded_routes_are_looked_at_only_unless_a_person_asks(fleet, policy):
    held = exclusion(Selector(track="beta"))
    plan = plan_reconcile(replace(fleet, exclusions=[held]), policy, NOW)
    asked = {each for each, history in fleet.histories.items() if history.asked_by}
    beta = {each.route_id for each in fleet.routes if each.track == "beta"} - asked
    changed = {each.route_id for each in plan.actions if each.kind in TAKE_OUT}
    assert not changed & beta


@settings(deadline=None)  # it plays up to 200 passes
@given(
    st.lists(
        st.builds(
            route,
            st.from_regex(r"[a-z]{1,6}", fullmatch=True),
            provider=st.sampled_from(["linode", "oci"]),
            region=st.sampled_from(["east", "west"]),
            status=st.sampled_from([RouteStatus.SERVING] * 9 + [RouteStatus.FAULTED]),
        ),
        min_size=1,
        max_size=40,
        unique_by=lambda each: each.route_id,
    ),
    st.data(),
)
def test_where_everything_succeeds_a_fleet_is_healed_and_then_left_alone(routes, data):
    """Each pass's actions succeed before the next one, and machines that serve are reached.

    One host is dead: two may open the breaker, which then stays open until somebody comes.
    """
    ill_ones = [each.route_id for each in routes if each.status is RouteStatus.FAULTED]
    histories = {route_id: ill(route_id, "stale-process", 30) for route_id in ill_ones}
    if ill_ones:
        dead_one = data.draw(st.sampled_from(ill_ones))
        histories[dead_one] = ill(dead_one, "host-unreachable", 30)
    tags = st.sampled_from([TAG, TAG, TAG, OLD_TAG])
    fleet = view([at(data.draw(tags), each, 2 * HOUR) for each in routes])
    fleet = replace(fleet, histories=histories)
    breaker, now = Breaker(), NOW
    for _ in range(200):
        now += 6 * MINUTE
        breaker = breaker_of(fleet, breaker, now)
        fleet = replace(fleet, breaker=breaker)
        plan = plan_reconcile(fleet, POLICY, now)
        if not plan.actions and not breaker.is_open:
            break
        fleet = done(fleet, plan, now)
    assert not breaker.is_open
    assert all(each.status is RouteStatus.SERVING for each in fleet.routes)
    assert all(each.current_release_tag == TAG for each in fleet.routes)


def done(fleet: FleetView, plan, now) -> FleetView:
    """Return the fleet after every action succeeded; a dead host stays dead for whoever looks."""
    routes = {each.route_id: each for each in fleet.routes}
    histories = dict(fleet.histories)
    destructions = list(fleet.destructions)
    for action in plan.actions:
        if action.kind is ActionKind.START_ROLLOUT:
            for each in fleet.routes:
                if each.status is RouteStatus.SERVING:
                    routes[each.route_id] = proven(each, action.release_tag, now)
            continue
        each = routes[action.route_id]
        history = histories.get(each.route_id)
        if (
            action.kind is ActionKind.PROVE
            and history is not None
            and history.faults[-1].kind == "host-unreachable"
        ):
            again = history.faults[-1].model_copy(update={"at": now})
            histories[each.route_id] = history.model_copy(
                update={"faults": (*history.faults, again)}
            )
            continue
        if action.kind is ActionKind.REPLACE:
            destructions.append(
                Destruction(
                    at=now,
                    provider=each.provider,
                    region=each.region,
                    track=each.track,
                    unreachable=action.unreachable,
                )
            )
        histories.pop(each.route_id, None)
        routes[each.route_id] = proven(each, action.release_tag, now)
    return replace(
        fleet, routes=list(routes.values()), histories=histories, destructions=destructions
    )


def proven(each: Route, tag: str | None, now) -> Route:
    return each.model_copy(
        update={
            "status": RouteStatus.SERVING,
            "current_release_tag": tag,
            "target_release_tag": tag,
            "proven_at": now,
        }
    )
