"""One ledger: what rollouts and everybody else have out never exceeds a budget that all keep."""

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
from relight.domain.rollout.rollout import (
    CloseRolloutInput,
    RolloutPhase,
    RouteProgress,
    Strategy,
)
from relight.domain.rollout.wave import AdvanceWaveInput, WaveWork
from relight.store.errors import UnknownRouteError
from relight.store.rollout_routes import Chosen, FleetSnapshot
from tests.store.fleets import (
    HAND,
    ORIGIN,
    Run,
    failing,
    rollout_run,
    run_on,
    serve,
)
from tests.store.test_concurrency import at_once
from tests.store.test_rollouts import claiming

BUDGET = 2
STRATEGY = Strategy(disruption_budget=DisruptionBudget(region=str(BUDGET)), max_concurrent=100)
ROUTES = tuple(f"r-{number}" for number in range(1, 9))


def choose(waiting: Sequence[RouteId], seen: FleetSnapshot) -> Chosen:
    """As the activities choose: by the rollouts' own window."""
    in_service: Counter[Group] = Counter()
    for place, routes in seen.in_service.items():
        in_service.update(dict.fromkeys(groups_named(*place), routes))
    census = Census(
        routes={route.route_id: route for route in seen.routes},
        groups={route.route_id: groups_of(route) for route in seen.routes},
        in_service=in_service,
        out=seen.out,
    )
    window = Admission(census, STRATEGY, (), seen.under_way)
    window.enter(waiting)
    starts = window.start(datetime.now(UTC))
    return Chosen(starts, (), window.held_up_by, window.thaws_at)


def take(store, route_id: str, run: Run | None = None, why: str = "dead"):
    return store.disruptions.take(route_id, why, (run or run_on(route_id)).activity(), choose)


def fleet(store, routes: Sequence[str] = ROUTES) -> None:
    for route_id in routes:
        serve(store, route_id)


def rolling(store, routes: Sequence[str] = ROUTES) -> Run:
    run = rollout_run()
    store.rollouts.open(claiming(), run.activity())
    store.rollout_routes.plan(run.run_id, [routes])
    return run


def advance(store, run: Run, in_flight=(), ended=()):
    asked = AdvanceWaveInput(
        rollout_run_id=run.run_id,
        release_tag="v0.0.74",
        work=WaveWork.SWAP,
        number=1,
        strategy=STRATEGY,
        in_flight=tuple(in_flight),
        ended=tuple(ended),
        at_most=100,
    )
    return store.rollout_routes.advance(asked, choose, held=True)


def out_of(store, run: Run | None = None) -> set[str]:
    held = {each.route_id for each in store.disruptions.list()}
    if run is not None:
        claims = store.rollout_routes.list(run.run_id, RouteProgress.SWAPPING)
        held |= {outcome.route_id for outcome in claims}
    return held | {route.route_id for route in store.routes.list() if route.status == "faulted"}


def test_a_route_is_held_until_it_is_let_go(store):
    fleet(store)
    run = run_on("r-1")
    assert take(store, "r-1", run) is None
    [held] = store.disruptions.list()
    assert (held.route_id, held.workflow_id, held.run_id) == ("r-1", run.workflow_id, run.run_id)
    assert held.reason == "dead"
    assert store.disruptions.release("r-1", run.activity())
    assert not store.disruptions.release("r-1", run.activity())
    assert store.disruptions.list() == []


def test_a_run_holds_what_it_holds_and_says_so_once(store):
    fleet(store)
    run = run_on("r-1")
    activity, freeing = run.activity(), run.activity()
    for _ in range(2):
        assert store.disruptions.take("r-1", "dead", activity, choose) is None
    assert take(store, "r-1", run) is None
    assert len(store.disruptions.list()) == 1
    for _ in range(2):
        assert store.disruptions.release("r-1", freeing)
    # An attempt that was believed dead does not take it again.
    assert store.disruptions.take("r-1", "dead", activity, choose) is None
    assert store.disruptions.list() == []


def test_a_stranger_is_told_who_holds_it_and_the_lock_takes_it_over(store):
    fleet(store)
    passing, other, route = Run("reconcile"), Run("another"), run_on("r-1")
    assert take(store, "r-1", passing, why="it drifted") is None
    assert "reconcile has it since" in take(store, "r-1", other)
    assert not store.disruptions.release("r-1", other.activity())
    assert take(store, "r-1", route) is None
    assert not store.disruptions.release("r-1", passing.activity())
    assert store.disruptions.release("r-1", route.activity())


def test_what_a_run_that_is_gone_held_is_taken_from_it_alone(store):
    fleet(store)
    take(store, "r-1")
    [gone] = store.disruptions.list()
    take(store, "r-1")  # the next run of the same id
    assert not store.disruptions.abandon(gone, HAND)
    [held] = store.disruptions.list()
    assert store.disruptions.abandon(held, HAND)
    assert store.disruptions.list() == []


def test_a_budget_that_is_spent_is_named(store):
    fleet(store)
    assert [take(store, route_id) for route_id in ("r-1", "r-2")] == [None, None]
    assert take(store, "r-3") == "region lab/east: 2 are out, 2 may be"
    with pytest.raises(UnknownRouteError, match="r-99"):
        take(store, "r-99")


def test_a_route_that_is_out_already_takes_nothing_away(store):
    fleet(store)
    for route_id in ("r-1", "r-2"):
        store.routes.record_fault(failing(route_id), run_on(route_id).activity())
    assert take(store, "r-3") is not None
    assert take(store, "r-1") is None


def test_what_is_held_counts_for_a_rollout_and_the_other_way_round(store):
    fleet(store)
    take(store, "r-8")
    run = rolling(store)
    advanced = advance(store, run)
    assert [outcome.route_id for outcome in advanced.starts][:1] == ["r-1"]
    assert out_of(store, run) == {"r-1", "r-8"}
    assert advanced.held_up_by == ("region lab/east: 2 are out, 2 may be",)
    assert take(store, "r-3") == "region lab/east: 2 are out, 2 may be"
    assert take(store, "r-1") == "a rollout has it under way"


def test_what_a_rollout_that_ended_had_under_way_holds_nobody_up(store):
    fleet(store)
    run = rolling(store)
    advance(store, run)
    assert take(store, "r-3") is not None
    store.rollouts.close(
        CloseRolloutInput(
            release_tag="v0.0.74",
            scope="fleet",
            phase=RolloutPhase.ABORTED,
            detail="",
            origin=ORIGIN,
        ),
        run.activity(),
    )
    assert take(store, "r-3") is None


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_in_whatever_order_no_more_are_out_than_may_be(store, seed):
    fleet(store)
    run, chance = rolling(store), random.Random(seed)
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
        assert len(out_of(store, run)) <= BUDGET


def test_of_many_that_ask_at_once_no_more_go_out_than_may_be(store):
    fleet(store)
    run = rolling(store)
    at_once(
        [
            partial(advance, store, run),
            *(partial(take, store, route_id) for route_id in reversed(ROUTES)),
        ]
    )
    assert len(out_of(store, run)) == BUDGET
