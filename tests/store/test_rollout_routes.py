"""The routes of a rollout are claimed once, even if the reply was lost."""

from collections.abc import Sequence

from relight.domain.names import RouteId
from relight.domain.rollout.rollout import RouteOutcome, RouteProgress
from relight.domain.rollout.strategy import Strategy
from relight.domain.rollout.wave import (
    AdvanceWaveInput,
    JoinLateInput,
    WaveAdvanced,
    WaveWork,
)
from relight.store.fleet_snapshot import FleetSnapshot
from relight.store.rollout_choice import Chosen
from relight.store.store import Store
from tests.store.fleets import (
    FAULT,
    Run,
    begin_swap,
    closing_rollout,
    plan_rollout,
    proving,
    rollout_run,
    run_on,
    serve,
)

ROUTES = ("r-1", "r-2", "r-3", "r-4")
MAX_IN_FLIGHT = 2


def advancing(
    store: Store,
    run: Run,
    in_flight: tuple[str, ...] = (),
    ended: tuple[RouteOutcome, ...] = (),
    max_in_flight: int = MAX_IN_FLIGHT,
) -> WaveAdvanced:
    def choose(waiting: Sequence[RouteId], snapshot: FleetSnapshot) -> Chosen:
        """As many as may be under way at once."""
        return Chosen(waiting[: max(0, max_in_flight - len(snapshot.under_way))])

    state = AdvanceWaveInput(
        rollout_run_id=run.run_id,
        release_tag="v0.0.74",
        work=WaveWork.SWAP,
        number=1,
        strategy=Strategy(),
        in_flight=in_flight,
        ended=ended,
        max_in_flight=max_in_flight,
    )
    return store.rollout_routes.advance(state, choose, constrained=True)


def planned(store: Store) -> Run:
    for route_id in ROUTES:
        serve(store, route_id)
    return plan_rollout(store, ROUTES)


def started(advanced: WaveAdvanced) -> list[str]:
    return [outcome.route_id for outcome in advanced.starts]


def test_claims_whose_reply_was_lost_are_returned_again(store):
    run = planned(store)
    assert started(advancing(store, run)) == ["r-1", "r-2"]
    again = advancing(store, run)
    assert started(again) == ["r-1", "r-2"]
    assert again.counts == {RouteProgress.SWAPPING: 2, RouteProgress.WAITING: 2}


def test_an_outcome_is_recorded_once_and_frees_one_claim(store):
    run = planned(store)
    first, second = advancing(store, run).starts
    done = first.model_copy(update={"progress": RouteProgress.CONVERGED})
    for _ in range(2):  # the first reply is lost
        advanced = advancing(store, run, (second.route_id,), (done,))
        assert started(advanced) == ["r-3"]
    assert advanced.counts == {
        RouteProgress.CONVERGED: 1,
        RouteProgress.SWAPPING: 2,
        RouteProgress.WAITING: 1,
    }


def test_a_plan_is_recorded_once_with_the_current_releases(store):
    run = rollout_run()
    for route_id in ROUTES:
        serve(store, route_id)
    store.routes.record_proof(proving("r-2", "v0.0.72"), run_on("r-2").activity())
    assert store.rollout_routes.plan(run.run_id, [ROUTES[:1], ROUTES[1:3]]) == 3
    assert store.rollout_routes.plan(run.run_id, [ROUTES]) == 3
    kept = [
        (each.route_id, each.wave, each.progress, each.previous_release_tag)
        for each in store.rollout_routes.list(run.run_id)
    ]
    assert kept == [
        ("r-1", 1, RouteProgress.WAITING, "v0.0.73"),
        ("r-2", 2, RouteProgress.WAITING, "v0.0.72"),
        ("r-3", 2, RouteProgress.WAITING, "v0.0.73"),
    ]


def test_a_claim_keeps_the_release_that_the_route_runs_then_and_not_at_the_plan(store):
    run = planned(store)
    store.routes.record_proof(proving("r-1", "v0.0.72"), run_on("r-1").activity())
    first, second = advancing(store, run).starts
    assert (first.previous_release_tag, second.previous_release_tag) == ("v0.0.72", "v0.0.73")


def test_a_route_that_is_claimed_again_keeps_the_release_from_before_the_first_claim(store):
    run = planned(store)
    first, _ = advancing(store, run).starts
    store.routes.record_proof(proving(first.route_id, "v0.0.74"), run_on("r-1").activity())
    failed = first.model_copy(update={"progress": RouteProgress.FAILED, "fault": FAULT})
    advancing(store, run, ("r-2",), (failed,), max_in_flight=0)
    assert store.rollout_routes.retry_failed(run.run_id, 1) == 1
    again = advancing(store, run, ("r-2",)).starts[0]
    assert (again.route_id, again.previous_release_tag) == ("r-1", "v0.0.73")


def test_only_routes_that_the_rollout_changed_wait_for_a_rollback(store):
    ended = {
        "r-1": ("v0.0.74", RouteProgress.CONVERGED),
        "r-2": ("v0.0.74", RouteProgress.FAILED),
        "r-3": ("v0.0.79", RouteProgress.CONVERGED),  # An operator has brought it elsewhere since.
        "r-4": ("v0.0.73", RouteProgress.FAILED),  # Its swap failed before it began.
        "r-5": ("v0.0.74", RouteProgress.CONVERGED),  # It ran the release before.
    }
    for route_id in (*ended, "r-6"):
        serve(store, route_id)
    store.routes.record_proof(proving("r-5", "v0.0.74"), run_on("r-5").activity())
    run = rollout_run()
    store.rollout_routes.plan(run.run_id, [[*ended], ["r-6"]])
    starts = advancing(store, run, max_in_flight=5).starts
    for route_id, (tag, _) in ended.items():
        begin_swap(store, route_id, tag)
    outcomes = [each.model_copy(update={"progress": ended[each.route_id][1]}) for each in starts]
    advancing(store, run, ended=tuple(outcomes))
    for _ in range(2):  # the first reply is lost
        assert store.rollout_routes.begin_roll_back(run.run_id, "v0.0.74") == 2
    waiting = store.rollout_routes.list(run.run_id, RouteProgress.TO_ROLL_BACK)
    assert [each.route_id for each in waiting] == ["r-1", "r-2"]


def test_a_closed_rollout_rolls_nothing_back(store):
    serve(store, "r-1")
    run = plan_rollout(store, ["r-1"])
    [started] = advancing(store, run).starts
    begin_swap(store, "r-1", "v0.0.74")
    converged = started.model_copy(update={"progress": RouteProgress.CONVERGED})
    advancing(store, run, ended=(converged,))
    store.rollouts.close(closing_rollout(), run.activity())
    assert store.rollout_routes.begin_roll_back(run.run_id, "v0.0.74") == 0
    assert store.rollout_routes.counts(run.run_id) == {RouteProgress.CONVERGED: 1}


def test_newcomers_are_in_no_earlier_wave_and_not_at_the_release(store):
    run = rollout_run()
    for route_id in (*ROUTES, "r-5"):
        serve(store, route_id)
    serve(store, "p-1", track="pinned")
    store.rollout_routes.plan(run.run_id, [ROUTES[:2]])
    store.rollout_routes.plan(rollout_run("v0.0.73").run_id, [ROUTES])  # another rollout
    store.routes.record_proof(proving("r-4", "v0.0.74"), run_on("r-4").activity())

    def newcomers(scope: str = "fleet") -> list[RouteId]:
        late = JoinLateInput(
            rollout_run_id=run.run_id, release_tag="v0.0.74", scope=scope, number=2
        )
        return sorted(route.route_id for route in store.routes.newcomers(late))

    assert newcomers() == ["r-3", "r-5"]
    assert newcomers("track:pinned") == ["p-1"]
    store.rollout_routes.plan(run.run_id, [["r-3", "r-5"]], first=2)
    assert newcomers() == ["r-3", "r-5"]  # a retry must get the result of the first attempt
