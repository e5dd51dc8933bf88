"""Limits that every reconcile run keeps, for any fleet, and that runs converge."""

from collections import Counter
from dataclasses import replace
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from relight.domain.breaker.breaker import (
    Breaker,
    Destruction,
)
from relight.domain.disruption import DisruptionBudget, groups_of, max_out
from relight.domain.hold import Selector
from relight.domain.names import REVISION_LENGTH
from relight.domain.reconcile.builder import FleetView
from relight.domain.reconcile.plan import MAX_VERIFICATIONS, ActionKind, ReconcilePolicy
from relight.domain.reconcile.planner import plan_reconcile
from relight.domain.reconcile.run import FleetObserved, ReconcileRun
from relight.domain.rollout.rollout import RolloutPhase
from relight.domain.rollout.strategy import Strategy
from relight.domain.route import Route, RouteStatus
from relight.domain.track import Track
from tests.domain.fleets import (
    HOUR,
    IDS,
    KINDS,
    NOW,
    PROVIDERS,
    REGIONS,
    budget_sizes,
    exclusion,
    exclusions,
    fleets_of,
    freezes,
    many,
    route,
    shuffled,
)
from tests.domain.reconcile.views import (
    MINUTE,
    OLD_TAG,
    OPEN,
    POLICY,
    TAG,
    at,
    breaker_of,
    ill,
    rollout,
    view,
)

MAX_PAYLOAD_BYTES = 2 * 2**20
"""Temporal's limit of a message: a larger one fails a workflow's task for ever."""

TAKE_OUT = {ActionKind.SWAP, ActionKind.REPAIR, ActionKind.REPLACE}

# Each route with its history is three choices from tables: that is fast to draw.
route_states = st.tuples(
    st.sampled_from(KINDS),
    st.sampled_from(list(product([TAG, TAG, OLD_TAG], [TAG, OLD_TAG], range(51)))),
    st.sampled_from(
        list(
            product(
                ["host-unreachable", "stale-process", "disk-full", "unit-failed"],
                [(), (5,), (30,), (20, 8), (45, 40), (90, 30, 2), (30, 20, 10), (12, 4, 1, 0)],
                [None] * 8 + ["ann"],
                [True] * 9 + [False],
            )
        )
    ),
)


def any_view(states, busy, override, **fields) -> FleetView:
    """Return a view of routes in these states. All faulty routes and few others have a history."""
    routes, histories = [], []
    for number, (kind, (tag, target, hours), history) in enumerate(states):
        each = at(tag, route(IDS[number], *kind), hours * HOUR, target=target)
        routes.append(each)
        fault_kind, minutes, person, is_healthy = history
        if each.status is RouteStatus.FAULTED or not is_healthy:
            fault = ill(each.route_id, fault_kind, *minutes, replacement_requested_by=person)
            histories.append(fault)
    return view(
        routes,
        *histories,
        tracks=[Track(name="beta", release_override=override)],
        busy={IDS[number % len(routes)] for number in busy},
        **fields,
    )


views = st.builds(
    any_view,
    st.lists(route_states, min_size=1, max_size=50),
    busy=st.lists(st.integers(0, 49), max_size=5),
    override=st.sampled_from([None, TAG, "v0.0.75"]),
    tag=st.sampled_from([TAG, "v0.0.75", None]),
    rollouts=st.lists(st.builds(rollout, st.sampled_from(RolloutPhase)), max_size=1),
    exclusions=exclusions,
    freezes=freezes,
    breaker=st.sampled_from([Breaker(), Breaker(), Breaker(), OPEN]),
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


@given(views, policies)
def test_a_run_keeps_the_disruption_budgets(fleet, policy):
    plan = plan_reconcile(fleet, policy, NOW)
    counted = {RouteStatus.SERVING, RouteStatus.FAULTED}
    in_service = [each for each in fleet.routes if each.status in counted]
    started = {each.route_id for each in plan.actions if each.kind in TAKE_OUT}
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
    for group, after in count(out_before | started).items():
        size = sizes[group.kind]
        if size is not None:
            assert after <= max(max_out(size, members[group]), before[group])
    if started:
        assert len(started) + len(fleet.busy) <= policy.strategy.max_concurrent


@given(views, policies)
def test_a_run_is_bounded_and_has_at_most_one_action_per_idle_route(fleet, policy):
    plan = plan_reconcile(fleet, policy, NOW)
    kinds = Counter(each.kind for each in plan.actions)
    assert kinds[ActionKind.SWAP] + kinds[ActionKind.REPAIR] <= policy.max_swaps
    assert kinds[ActionKind.REPLACE] <= policy.max_replacements
    assert kinds[ActionKind.VERIFY] <= policy.max_verifications
    assert kinds[ActionKind.START_ROLLOUT] <= policy.max_rollouts
    routes = [each.route_id for each in plan.actions if each.route_id]
    assert len(routes) == len(set(routes))
    assert not set(routes) & set(fleet.busy)
    assert all(action.reason for action in plan.actions)
    assert all(each.reason for each in plan.left_alone)
    assert len(plan.left_alone) == min(plan.left_alone_count, policy.max_reported)


@given(views, policies)
def test_an_open_breaker_allows_only_verification(fleet, policy):
    plan = plan_reconcile(replace(fleet, breaker=OPEN), policy, NOW)
    assert {each.kind for each in plan.actions} <= {ActionKind.VERIFY}


@given(views, policies, st.randoms())
def test_the_plan_does_not_depend_on_the_order_of_the_input(fleet, policy, random):
    again = replace(
        fleet,
        routes=shuffled(fleet.routes, random),
        exclusions=shuffled(fleet.exclusions, random),
        freezes=shuffled(fleet.freezes, random),
        histories=dict(shuffled(fleet.histories.items(), random)),
    )
    assert plan_reconcile(again, policy, NOW) == plan_reconcile(fleet, policy, NOW)


@given(views, policies)
def test_no_action_is_started_twice(fleet, policy):
    first = plan_reconcile(fleet, policy, NOW)
    started = {each.route_id for each in first.actions if each.route_id}
    second = plan_reconcile(replace(fleet, busy=set(fleet.busy) | started), policy, NOW)
    assert not started & {each.route_id for each in second.actions}


@given(views, policies)
def test_excluded_routes_are_only_verified_unless_a_person_requests_more(fleet, policy):
    held = exclusion(Selector(track="beta"))
    plan = plan_reconcile(replace(fleet, exclusions=[held]), policy, NOW)
    requested = {
        each for each, history in fleet.histories.items() if history.replacement_requested_by
    }
    beta = {each.route_id for each in fleet.routes if each.track == "beta"} - requested
    changed = {each.route_id for each in plan.actions if each.kind in TAKE_OUT}
    assert not changed & beta


@settings(deadline=None)  # up to 200 runs
@given(
    fleets_of(
        list(
            product(
                PROVIDERS,
                REGIONS,
                ("stable",),
                ("amd64",),
                [RouteStatus.SERVING] * 9 + [RouteStatus.FAULTED],
            )
        ),
        max_size=40,
    ),
    st.data(),
)
def test_if_every_action_succeeds_the_fleet_converges(routes, data):
    """Every action succeeds before the next run, and serving machines are reachable.

    Only one host is unreachable: two could open the breaker, which then stays open until an
    operator acts.
    """
    faulty = [each.route_id for each in routes if each.status is RouteStatus.FAULTED]
    histories = {route_id: ill(route_id, "stale-process", 30) for route_id in faulty}
    if faulty:
        lost = data.draw(st.sampled_from(faulty))
        histories[lost] = ill(lost, "host-unreachable", 30)
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
    """Return the fleet after every action succeeded. An unreachable host stays unreachable."""
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
            action.kind is ActionKind.VERIFY
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


def test_the_plan_of_a_large_fleet_is_no_larger_than_a_message_of_the_engine() -> None:
    """With the longest names, and a policy from a schedule that was made without a limit."""
    tag = f"v{'1' * 40}@{'a' * REVISION_LENGTH}"
    stale = [at(tag, each, 25 * HOUR) for each in many(6000, prefix="r" * 43)]
    policy = POLICY.model_copy(update={"max_verifications": 10_000})
    plan = plan_reconcile(view(stale, tag=tag), policy, NOW)
    verified = [each for each in plan.actions if each.kind is ActionKind.VERIFY]
    assert len(verified) == MAX_VERIFICATIONS
    observed = FleetObserved(at=NOW, plan=plan, breaker=Breaker())
    # As activities return it, and as the run returns it once more.
    run = ReconcileRun(observed=observed, started={ActionKind.VERIFY: len(verified)})
    assert len(run.model_dump_json()) < MAX_PAYLOAD_BYTES * 3 / 4
