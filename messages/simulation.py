"""What a rollout is likely to do to a fleet, told before it runs."""

from datetime import timedelta

from messages.base import Message
from messages.plan import PlannedRollout


class WaveForecast(Message):
    """A wave as the budgets let it be taken.

    Attributes:
        routes: how many it has.
        at_once: how many of them can start together when nothing else is out than is now.
    """

    routes: int
    at_once: int


class ReleaseForecast(Message):
    """What happens, run after run, if each route fails with a given probability.

    Attributes:
        failure_probability: of each route, 0 to 1.
        converged, aborted, held: how many runs ended so.
        touched_median, touched_p90, touched_most: routes that the release reached before the run
            ended.
        failed_median, failed_p90: routes of these that failed.
        took_median, took_p90: from the first start to the end of the run, soak included.
        lowest_capacity: the smallest share of each region's routes that served at any instant of
            any run, 0 to 1, by `PROVIDER/REGION`.
    """

    failure_probability: float
    converged: int
    aborted: int
    held: int
    touched_median: int
    touched_p90: int
    touched_most: int
    failed_median: int
    failed_p90: int
    took_median: timedelta
    took_p90: timedelta
    lowest_capacity: dict[str, float]


class Simulation(Message):
    """A rollout, rehearsed.

    Attributes:
        plan: the very plan that the rollout would follow.
        waves: how each of its waves can be taken.
        releases: a forecast for each failure probability that was asked for.
        runs: how often each was played.
        seed: gives the same simulation again.
    """

    plan: PlannedRollout
    waves: tuple[WaveForecast, ...]
    releases: tuple[ReleaseForecast, ...]
    runs: int
    seed: int
