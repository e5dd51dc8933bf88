"""The routes of a rollout are claimed once, also where nobody heard of it."""

from collections.abc import Sequence

from fleet.rollout_routes import Chosen, FleetSeen
from fleet.store import Store
from messages.names import RouteId
from messages.rollout import RouteOutcome, RouteProgress, Strategy
from messages.wave import AdvanceWaveInput, WaveAdvanced, WaveWork
from tests.fleet.fleets import Run, rollout_run, serve
from tests.fleet.test_rollouts import claiming

ROUTES = ("r-1", "r-2", "r-3", "r-4")
AT_MOST = 2


def some(waiting: Sequence[RouteId], seen: FleetSeen) -> Chosen:
    """As many as may be under way at once."""
    return Chosen(waiting[: max(0, AT_MOST - len(seen.under_way))])


def advancing(
    store: Store, run: Run, in_flight: tuple[str, ...] = (), ended: tuple[RouteOutcome, ...] = ()
) -> WaveAdvanced:
    asked = AdvanceWaveInput(
        rollout_run_id=run.run_id,
        release_tag="v0.0.74",
        work=WaveWork.SWAP,
        number=1,
        strategy=Strategy(),
        in_flight=in_flight,
        ended=ended,
        at_most=AT_MOST,
    )
    return store.rollout_routes.advance(asked, some, restrained=True)


def planned(store: Store) -> Run:
    run = rollout_run()
    store.rollouts.open(claiming(), run.activity())
    for route_id in ROUTES:
        serve(store, route_id)
    store.rollout_routes.plan(run.run_id, [ROUTES], dict.fromkeys(ROUTES, "v0.0.73"))
    return run


def started(advanced: WaveAdvanced) -> list[str]:
    return [outcome.route_id for outcome in advanced.starts]


def test_a_claim_whose_reply_was_lost_is_told_again_and_no_other_is_made(store):
    run = planned(store)
    assert started(advancing(store, run)) == ["r-1", "r-2"]
    again = advancing(store, run)
    assert started(again) == ["r-1", "r-2"]
    assert again.counts == {RouteProgress.SWAPPING: 2, RouteProgress.WAITING: 2}


def test_what_ended_is_written_down_once_and_makes_room_for_as_many(store):
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
