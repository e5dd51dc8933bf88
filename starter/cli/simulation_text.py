"""The simulation of a rollout, for people."""

import math
from collections.abc import Sequence

from relight.domain.duration import span
from relight.domain.names import ReleaseTag, ScopeName
from relight.domain.rollout.simulation import ReleaseForecast, Simulation
from starter.cli.output import print_line, print_table
from starter.cli.plan_text import counted_waves
from starter.cli.rollout_text import counted
from starter.cli.swap_durations import SwapDurations

_MAX_REGIONS = 12


def print_simulation(
    simulation: Simulation,
    tag: ReleaseTag,
    scope: ScopeName,
    durations: SwapDurations,
    source: str,
) -> None:
    """Print the waves, the forecast for each probability, and the capacity of the regions.

    Args:
        simulation: the simulation.
        tag: its release.
        scope: its scope.
        durations: the durations that its swaps were drawn from.
        source: the source of the fleet, `store` or `generated`.
    """
    routes = sum(map(len, simulation.plan.waves))
    over = f"{scope} ({'from the store' if source == 'store' else 'generated'})"
    print_line(f"{tag} over {over}: {counted(routes, 'route')} in {counted_waves(simulation.plan)}")
    print_line(durations.text)
    _print_waves(simulation)
    _print_forecasts(simulation)
    _print_regions(simulation.releases)
    print_line(
        f"{counted(simulation.runs, 'run')} each, seed {simulation.seed}; nothing was started"
    )


def _print_waves(simulation: Simulation) -> None:
    print_line("")
    print_table(
        ("wave", "routes", "max concurrency"),
        ((n, wave.routes, wave.concurrency) for n, wave in enumerate(simulation.waves, start=1)),
    )


def _print_forecasts(simulation: Simulation) -> None:
    print_line("")
    print_table(
        ("failure rate", "ends", "reached: median", "p90", "max", "takes: median", "p90"),
        (
            (
                percent(each.failure_probability),
                _ends(each),
                each.touched_median,
                each.touched_p90,
                each.touched_most,
                span(each.took_median),
                span(each.took_p90),
            )
            for each in simulation.releases
        ),
    )


def _ends(forecast: ReleaseForecast) -> str:
    counts = {
        "converged": forecast.converged,
        "stopped": forecast.aborted,
        "held": forecast.held,
    }
    return ", ".join(f"{count} {end}" for end, count in counts.items() if count)


def _print_regions(forecasts: Sequence[ReleaseForecast]) -> None:
    """Print the lowest capacity of each region at any instant of any run, lowest first."""
    regions = sorted(
        forecasts[0].lowest_capacity,
        key=lambda region: (min(each.lowest_capacity[region] for each in forecasts), region),
    )
    print_line("")
    print_table(
        ("lowest capacity", *(percent(each.failure_probability) for each in forecasts)),
        (
            (region, *(_at_least(each.lowest_capacity[region]) for each in forecasts))
            for region in regions[:_MAX_REGIONS]
        ),
    )
    if (more := len(regions) - _MAX_REGIONS) > 0:
        print_line(f"{more} more regions with higher capacity: --json shows them all")


def _at_least(share: float) -> str:
    """Return a share rounded down, so that it is a lower bound."""
    return f"{math.floor(round(1000 * share, 6)) / 10:g} %"


def percent(share: float) -> str:
    """Return a share of 1 as a percentage: `5 %`, `0.1 %`."""
    return f"{100 * share:.3g} %"
