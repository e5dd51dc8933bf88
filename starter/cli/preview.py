"""Rollouts without effect: planned or simulated, over the store's fleet or a generated one.

Nothing is started. A plan asks the repository for the release, as a rollout does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from relight.domain.hold import Hold
from relight.domain.names import (
    ReleaseTag,
    ScopeName,
    TrackName,
)
from relight.domain.rollout.planner import plan_rollout
from relight.domain.rollout.simulation import PROBABILITIES, FleetModel
from relight.domain.rollout.simulation import simulate as simulate_rollout
from relight.domain.rollout.strategy import Strategy
from relight.domain.route import Route
from relight.store.errors import UnknownTrackError
from starter.cli import plan_text, simulation_text
from starter.cli.dry_runs import last_dry_runs
from starter.cli.errors import BadInputError, RefusedError
from starter.cli.kept_configuration import release_of_scope
from starter.cli.output import print_json
from starter.cli.repository import require_release
from starter.cli.rollout_name import scope_of
from starter.cli.session import fleet_store
from starter.cli.simulated_fleet import TRACKS, generate
from starter.cli.strategy_options import require_growing_waves
from starter.cli.swap_durations import ASSUMED_DURATIONS, swap_durations

if TYPE_CHECKING:  # slow to import
    from relight.store.store import Store

RUNS = 10


@dataclass(frozen=True)
class SimulationOptions:
    """The options of a simulation.

    Attributes:
        generated: how many routes to generate; None for the store's fleet.
        probabilities: of each route's failure, 0 to 1, one per forecast; empty for the default.
        runs: how many runs per forecast.
        seed: determines everything that is random.
    """

    generated: int | None
    probabilities: tuple[float, ...]
    runs: int
    seed: int


@dataclass(frozen=True)
class ScopedFleet:
    """A fleet, seen from a rollout over a scope.

    Attributes:
        routes: the routes of the scope, including those without a machine.
        elsewhere: all other routes, which count in the same disruption budgets.
    """

    routes: Sequence[Route]
    elsewhere: Sequence[Route]
    exclusions: Sequence[Hold] = ()
    freezes: Sequence[Hold] = ()


def plan(
    tag: ReleaseTag,
    track: TrackName | None,
    strategy: Strategy,
    *,
    configuration: str | None = None,
    unchecked: bool = False,
    as_json: bool,
) -> None:
    """Print what a rollout would do with each route.

    Raises:
        UnknownTrackError: there is no such track.
        BadInputError: the repository does not have the release, or a wave does not grow.
        RefusedError: the scope has no routes, or the repository cannot be asked.
    """
    scope = scope_of(track)
    with fleet_store(reads_only=True) as store:
        tag = release_of_scope(store, tag, scope, configuration)
        fleet = _stored(store, track)
        _require_routes(fleet, scope)
        require_growing_waves(strategy.waves, _changeable(fleet))
        require_release(store, tag, store.routes.architectures(scope), unchecked=unchecked)
        dry_runs = last_dry_runs(store, tag, scope)
    now = datetime.now(UTC)
    planned = plan_rollout(
        fleet.routes, strategy, fleet.exclusions, fleet.freezes, now, release_tag=tag
    )
    if as_json:
        print_json(
            {
                "release_tag": tag,
                "scope": scope,
                "checks": strategy.checks,
                **dict(planned),
                "dry_runs": dry_runs,
            }
        )
    else:
        plan_text.print_plan(planned, tag, scope, fleet.routes, strategy.checks, dry_runs)


def simulate(
    tag: ReleaseTag,
    track: TrackName | None,
    strategy: Strategy,
    options: SimulationOptions,
    *,
    configuration: str | None = None,
    as_json: bool,
) -> None:
    """Print the forecasts of a rollout.

    Raises:
        UnknownTrackError: there is no such track.
        BadInputError: the generated fleet has no such track, or a wave does not grow.
        RefusedError: the scope has no routes.
    """
    scope = scope_of(track)
    if options.generated is None:
        with fleet_store(reads_only=True) as store:
            tag = release_of_scope(store, tag, scope, configuration)
            fleet, durations = _stored(store, track), swap_durations(store)
    else:
        fleet, durations = _generated(options.generated, options.seed, track), ASSUMED_DURATIONS
    _require_routes(fleet, scope)
    require_growing_waves(strategy.waves, _changeable(fleet))
    simulation = simulate_rollout(
        FleetModel(
            routes=fleet.routes,
            durations=durations.each,
            starts_at=datetime.now(UTC),
            # The model knows no tag, and a pin to this release does not exclude a route.
            exclusions=[each for each in fleet.exclusions if each.pinned_to != tag],
            freezes=fleet.freezes,
            elsewhere=fleet.elsewhere,
        ),
        strategy,
        options.probabilities or PROBABILITIES,
        seed=options.seed,
        runs=options.runs,
    )
    source = "store" if options.generated is None else "generated"
    if as_json:
        print_json(
            {
                "release_tag": tag,
                "scope": scope,
                "fleet": {"source": source, "routes": len(fleet.routes)},
                "durations": durations.summary,
                **dict(simulation),
            }
        )
    else:
        simulation_text.print_simulation(simulation, tag, scope, durations, source)


def _stored(store: "Store", track: TrackName | None) -> ScopedFleet:
    """Return the store's fleet; the scope `fleet` has no tracks with an override."""
    tracks = store.tracks.list()
    if track is not None and track not in {each.name for each in tracks}:
        raise UnknownTrackError(f"there is no track {track}")
    governed = {each.name for each in tracks if each.release_override is None}
    return _scoped(
        store.routes.list(),
        governed if track is None else {track},
        store.exclusions.list(),
        store.freezes.list(),
    )


def _generated(count: int, seed: int, track: TrackName | None) -> ScopedFleet:
    if track is not None and track not in TRACKS:
        msg = f"the generated fleet has no track {track}; it has {', '.join(TRACKS)}"
        raise BadInputError(msg)
    return _scoped(generate(count, seed), set(TRACKS) if track is None else {track})


def _scoped(
    routes: Sequence[Route],
    tracks: set[TrackName],
    exclusions: Sequence[Hold] = (),
    freezes: Sequence[Hold] = (),
) -> ScopedFleet:
    return ScopedFleet(
        routes=[route for route in routes if route.track in tracks],
        elsewhere=[route for route in routes if route.track not in tracks],
        exclusions=exclusions,
        freezes=freezes,
    )


def _changeable(fleet: ScopedFleet) -> int:
    """Return how many routes have a machine to change."""
    return sum(route.machine is not None for route in fleet.routes)


def _require_routes(fleet: ScopedFleet, scope: ScopeName) -> None:
    if not fleet.routes:
        msg = f"there are no routes in the scope {scope}"
        raise RefusedError(msg)
