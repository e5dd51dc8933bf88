"""The disruption ledger: rollouts and all other operations together stay within the budget."""

import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

import pytest

from relight.domain.disruption import (
    Census,
    DisruptionBudget,
    Group,
    groups_named,
    groups_of,
)
from relight.domain.names import RouteId
from relight.domain.rollout.admission import Admission
from relight.domain.rollout.rollout import RolloutPhase, RouteProgress
from relight.domain.rollout.strategy import Strategy
from relight.domain.rollout.wave import AdvanceWaveInput, WaveWork
from relight.store.errors import UnknownRouteError
from relight.store.fleet_snapshot import FleetSnapshot
from relight.store.rollout_choice import Chosen
from tests.store.concurrency import run_concurrently
from tests.store.fleets import (
    MANUAL,
    Run,
    begin_swap,
    closing_rollout,
    failing,
    plan_rollout,
    proving,
    run_on,
    serve,
)

BUDGET = 2
STRATEGY = Strategy(disruption_budget=DisruptionBudget(region=str(BUDGET)), max_concurrent=100)
ROUTES = tuple(f"r-{number}" for number in range(1, 9))
FEW_ROUTES = ROUTES[:4]


def choose(waiting: Sequence[RouteId], snapshot: FleetSnapshot) -> Chosen:
    """As the activities do, by the admission of rollouts."""
    in_service: Counter[Group] = Counter()
    for location, routes in snapshot.in_service.items():
        in_service.update(dict.fromkeys(groups_named(*location), routes))
    census = Census(
        routes={route.route_id: route for route in snapshot.routes},
        groups={route.route_id: groups_of(route) for route in snapshot.routes},
        in_service=in_service,
        out=snapshot.out,
    )
    admission = Admission(census, STRATEGY, (), snapshot.under_way)
    admission.enter(waiting)
    starts = admission.start(datetime.now(UTC))
    return Chosen(starts, (), admission.limited_by, admission.thaws_at)


def take(store, route_id: str, run: Run | None = None, reason: str = "dead"):
    return store.disruptions.take(route_id, reason, (run or run_on(route_id)).activity(), choose)


def fleet(store, routes: Sequence[str] = FEW_ROUTES) -> None:
    for route_id in routes:
        serve(store, route_id)


def advance(store, run: Run, in_flight=(), ended=()):
    state = AdvanceWaveInput(
        rollout_run_id=run.run_id,
        release_tag="v0.0.74",
        work=WaveWork.SWAP,
        number=1,
        strategy=STRATEGY,
        in_flight=tuple(in_flight),
        ended=tuple(ended),
        max_in_flight=100,
    )
    return store.rollout_routes.advance(state, choose, constrained=True)


def out_of(store) -> set[str]:
    held = {each.route_id for each in store.disruptions.list()}
    return held | {route.route_id for route in store.routes.list() if route.status == "faulted"}


def test_a_route_is_held_until_it_is_released(store):
    fleet(store)
    run = run_on("r-1")
    assert take(store, "r-1", run) is None
    [held] = store.disruptions.list()
    assert (held.route_id, held.workflow_id, held.run_id) == ("r-1", run.workflow_id, run.run_id)
    assert held.reason == "dead"
    assert store.disruptions.release("r-1", run.activity())
    assert not store.disruptions.release("r-1", run.activity())
    assert store.disruptions.list() == []


def test_a_run_may_claim_twice_and_retries_write_once(store):
    fleet(store)
    run = run_on("r-1")
    activity, freeing = run.activity(), run.activity()
    for _ in range(2):
        assert store.disruptions.take("r-1", "dead", activity, choose) is None
    assert take(store, "r-1", run) is None
    assert len(store.disruptions.list()) == 1
    for _ in range(2):
        assert store.disruptions.release("r-1", freeing)
    # A late attempt that timed out does not claim it again.
    assert store.disruptions.take("r-1", "dead", activity, choose) is None
    assert store.disruptions.list() == []


def test_another_run_is_refused_and_the_run_with_the_lock_takes_over(store):
    fleet(store)
    reconcile, other, route = Run("reconcile"), Run("another"), run_on("r-1")
    assert take(store, "r-1", reconcile, reason="it drifted") is None
    assert "reconcile has it since" in take(store, "r-1", other)
    assert not store.disruptions.release("r-1", other.activity())
    assert take(store, "r-1", route) is None
    assert not store.disruptions.release("r-1", reconcile.activity())
    assert store.disruptions.release("r-1", route.activity())


def test_abandoning_releases_only_the_claim_of_the_given_run(store):
    fleet(store)
    take(store, "r-1")
    [gone] = store.disruptions.list()
    take(store, "r-1")  # the next run of the same id
    assert not store.disruptions.abandon(gone, MANUAL)
    [held] = store.disruptions.list()
    assert store.disruptions.abandon(held, MANUAL)
    assert store.disruptions.list() == []


def test_an_exhausted_budget_is_named(store):
    fleet(store)
    assert [take(store, route_id) for route_id in ("r-1", "r-2")] == [None, None]
    assert take(store, "r-3") == "region lab/east: 2 are out, 2 may be"
    with pytest.raises(UnknownRouteError, match="r-99"):
        take(store, "r-99")


def test_a_route_that_is_already_out_needs_no_budget(store):
    fleet(store)
    for route_id in ("r-1", "r-2"):
        store.routes.record_fault(failing(route_id), run_on(route_id).activity())
    assert take(store, "r-3") is not None
    assert take(store, "r-1") is None


def test_claims_of_operations_and_rollouts_count_for_each_other(store):
    fleet(store)
    take(store, "r-4")
    run = plan_rollout(store, FEW_ROUTES)
    advanced = advance(store, run)
    assert [outcome.route_id for outcome in advanced.starts][:1] == ["r-1"]
    assert out_of(store) == {"r-1", "r-4"}
    assert advanced.limited_by == ("region lab/east: 2 are out, 2 may be",)
    assert take(store, "r-3") == "region lab/east: 2 are out, 2 may be"
    assert take(store, "r-1") == f"a rollout works on it: {run.workflow_id}"


def target(store, run: Run, route_id: str) -> None:
    begin_swap(store, route_id, "v0.0.74", run.activity())


def test_an_operation_of_a_closed_rollout_has_its_route_out_until_it_ends(store):
    fleet(store)
    run, children = plan_rollout(store, FEW_ROUTES), [run_on("r-1"), run_on("r-2")]
    advance(store, run)
    for child, route_id in zip(children, ("r-1", "r-2"), strict=True):
        target(store, child, route_id)
    store.rollouts.close(closing_rollout(phase=RolloutPhase.ABORTED, promote=False), run.activity())
    assert take(store, "r-3") == "region lab/east: 2 are out, 2 may be"
    store.routes.record_proof(proving("r-1", "v0.0.74"), children[0].activity())
    assert out_of(store) == {"r-2"}
    store.routes.record_fault(failing("r-2"), children[1].activity())
    assert store.disruptions.list() == []
    assert take(store, "r-3") is None


def test_a_route_that_a_rollout_is_changing_is_not_moved(store):
    fleet(store)
    advance(store, plan_rollout(store, FEW_ROUTES))
    before = store.routes.get("r-1")
    refusal = store.routes.move("r-1", "pinned", MANUAL)
    assert refusal == "an operation is changing route r-1: move it when it is done"
    assert store.routes.get("r-1") == before
    assert store.routes.move("r-4", "pinned", MANUAL) is None
    assert store.routes.get("r-4").track == "pinned"


def test_claims_of_a_closed_rollout_on_which_nothing_has_begun_do_not_count(store):
    fleet(store)
    run = plan_rollout(store, FEW_ROUTES)
    advance(store, run)
    assert take(store, "r-3") is not None
    store.rollouts.close(closing_rollout(phase=RolloutPhase.ABORTED, promote=False), run.activity())
    assert take(store, "r-3") is None


def test_what_an_operator_swaps_counts_for_everyone(store):
    fleet(store)
    operators = run_on("r-4")
    target(store, operators, "r-4")
    assert out_of(store) == {"r-4"}
    run = plan_rollout(store, FEW_ROUTES)
    assert [outcome.route_id for outcome in advance(store, run).starts][:1] == ["r-1"]
    assert out_of(store) == {"r-1", "r-4"}
    assert take(store, "r-3") == "region lab/east: 2 are out, 2 may be"


def test_a_route_that_has_ended_in_its_rollout_is_not_out(store):
    fleet(store)
    run = plan_rollout(store, FEW_ROUTES)
    first, *_ = advance(store, run).starts
    done = first.model_copy(update={"progress": RouteProgress.CONVERGED})
    advanced = advance(store, run, ["r-2"], [done])
    assert [outcome.route_id for outcome in advanced.starts] == ["r-3"]
    assert out_of(store) == {"r-2", "r-3"}


@pytest.mark.parametrize("seed", range(3))
def test_the_budget_holds_for_any_order_of_operations(store, seed):
    fleet(store, ROUTES)
    run, chance = plan_rollout(store, ROUTES), random.Random(seed)
    runs: dict[str, Run] = {}
    for _ in range(40):
        claims = store.rollout_routes.list(run.run_id, RouteProgress.SWAPPING)
        in_flight = [outcome.route_id for outcome in claims]
        match chance.choice(("advance", "end", "take", "take", "release")):
            case "advance":
                advance(store, run, in_flight)
            case "end" if claims:
                done = claims[0].model_copy(update={"progress": RouteProgress.CONVERGED})
                advance(store, run, in_flight[1:], [done])
            case "take":
                route_id = chance.choice(ROUTES)
                taker = run_on(route_id)
                if take(store, route_id, taker) is None:
                    runs[route_id] = taker
            case "release" if runs:
                route_id = chance.choice(sorted(runs))
                store.disruptions.release(route_id, runs.pop(route_id).activity())
            case _:
                pass
        assert len(out_of(store)) <= BUDGET


def test_the_budget_holds_for_concurrent_requests(store):
    fleet(store, ROUTES)
    run = plan_rollout(store, ROUTES)
    run_concurrently(
        [
            partial(advance, store, run),
            *(partial(take, store, route_id) for route_id in reversed(ROUTES)),
        ]
    )
    assert len(out_of(store)) == BUDGET
