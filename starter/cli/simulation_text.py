"""A rehearsal, as an operator reads it."""

import math
from collections.abc import Sequence

from relight.domain.names import ReleaseTag, ScopeName
from relight.domain.rollout.simulation import ReleaseForecast, Simulation
from starter.cli.output import print_line, print_table
from starter.cli.plan_text import counted, counted_waves
from starter.cli.swap_durations import SwapDurations
from starter.cli.times import span

_SHOWN_REGIONS = 12


def print_simulation(
    played: Simulation, tag: ReleaseTag, scope: ScopeName, durations: SwapDurations, source: str
) -> None:
    """Print waves, how each release would fare, and what the regions keep.

    Args:
        played: what was rehearsed.
        tag: the release that it was done for.
        scope: what it was over.
        durations: what was drawn from.
        source: where the fleet comes from, `store` or `generated`.
    """
    routes = sum(map(len, played.plan.waves))
    over = f"{scope}, as the store has it" if source == "store" else f"{scope}, made up"
    print_line(f"{tag} over {over}: {counted(routes, 'route')} in {counted_waves(played.plan)}")
    print_line(durations.text)
    _print_waves(played)
    _print_forecasts(played)
    _print_regions(played.releases)
    print_line(f"{counted(played.runs, 'run')} each, seed {played.seed}; nothing was started")


def _print_waves(played: Simulation) -> None:
    print_line("")
    print_table(
        ("wave", "routes", "can start at once"),
        ((n, wave.routes, wave.at_once) for n, wave in enumerate(played.waves, start=1)),
    )


def _print_forecasts(played: Simulation) -> None:
    print_line("")
    print_table(
        ("routes fail", "it ends", "reached: half", "9 of 10", "at most", "takes: half", "9 of 10"),
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
            for each in played.releases
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
    """Print what of each region serves at the worst instant of any run, the worst region first."""
    regions = sorted(
        forecasts[0].lowest_capacity,
        key=lambda region: (min(each.lowest_capacity[region] for each in forecasts), region),
    )
    print_line("")
    print_table(
        ("serves at least", *(percent(each.failure_probability) for each in forecasts)),
        (
            (region, *(_at_least(each.lowest_capacity[region]) for each in forecasts))
            for region in regions[:_SHOWN_REGIONS]
        ),
    )
    if (more := len(regions) - _SHOWN_REGIONS) > 0:
        print_line(f"{more} more regions keep more: --json shows them all")


def _at_least(share: float) -> str:
    """Return a share rounded down, so that what it says is kept is kept."""
    return f"{math.floor(round(1000 * share, 6)) / 10:g} %"


def percent(share: float) -> str:
    """Return a share of 1 for people: `5 %`, `0.1 %`."""
    return f"{100 * share:.3g} %"
