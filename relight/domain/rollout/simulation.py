"""What a rollout is likely to do to a fleet, told before it runs."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import TypeVar

from relight.domain.base import Message
from relight.domain.disruption import (
    Census,
    Group,
    GroupKind,
    take_census,
)
from relight.domain.hold import Exclusion, FreezeWindow
from relight.domain.rollout.admission import Admission, next_starts
from relight.domain.rollout.gate import Decision, weigh, why_stop
from relight.domain.rollout.plan import PlannedRollout
from relight.domain.rollout.planner import plan_rollout, widen
from relight.domain.rollout.rollout import RolloutPhase, Strategy
from relight.domain.route import Route


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


Number = TypeVar("Number", int, float)

PROBABILITIES = (0.0, 0.01, 0.05, 0.25, 1.0)
"""From a good release to one that fails everywhere."""


@dataclass(frozen=True)
class FleetModel:
    """A fleet to rehearse on.

    Attributes:
        routes: those of the rollout's scope.
        durations: how long swaps took, one or more; each route takes one of these.
        starts_at: when the rollout would start, with its time zone.
        exclusions: what keeps routes out of it.
        freezes: what makes routes wait.
        elsewhere: routes outside of the scope, which budgets count as well.
    """

    routes: Sequence[Route]
    durations: Sequence[timedelta]
    starts_at: datetime
    exclusions: Sequence[Exclusion] = ()
    freezes: Sequence[FreezeWindow] = ()
    elsewhere: Sequence[Route] = ()


def simulate(
    model: FleetModel,
    strategy: Strategy,
    probabilities: Sequence[float] = PROBABILITIES,
    *,
    seed: int = 0,
    runs: int = 10,
) -> Simulation:
    """Play a rollout some times for each failure probability. The same seed plays the same.

    Args:
        model: the fleet, and how long its swaps take.
        strategy: the rollout's.
        probabilities: with which each route fails, 0 to 1; a forecast is made for each.
        seed: decides all that is drawn by lot.
        runs: how often it is played for each probability, 1 or more.

    Raises:
        ValueError: there are no durations, no runs, or a probability is not one.
    """
    if not model.durations or runs < 1:
        msg = "a simulation takes at least one recorded duration and one run"
        raise ValueError(msg)
    if wrong := [each for each in probabilities if not 0 <= each <= 1]:
        msg = f"a failure probability is 0 to 1, not {wrong[0]}"
        raise ValueError(msg)
    plan = plan_rollout(
        model.routes, strategy, model.exclusions, model.freezes, now=model.starts_at
    )
    census = take_census([*model.routes, *model.elsewhere])
    releases = []
    for probability in probabilities:
        played = []
        for run in range(runs):
            # For a rehearsal, not for a secret; the same lots for each probability, so that
            # forecasts differ by the probability alone.
            lots = Random(f"{seed}/{run}")  # noqa: S311
            played.append(_Run(model, strategy, plan, census, probability, lots).play())
        releases.append(_forecast(probability, played))
    waves = tuple(
        WaveForecast(
            routes=len(wave),
            at_once=len(next_starts(wave, (), census, strategy, (), model.starts_at)),
        )
        for wave in plan.waves
    )
    return Simulation(plan=plan, waves=waves, releases=tuple(releases), runs=runs, seed=seed)


@dataclass(frozen=True)
class _Played:
    """How one run went.

    Attributes:
        phase: converged, stopped, or paused where it holds.
        seconds: from its start to its end.
        capacity: the smallest share of routes in service, by region.
    """

    phase: RolloutPhase
    touched: int
    failed: int
    seconds: float
    capacity: dict[str, float]


class _Run:
    """One rollout, event by event."""

    def __init__(
        self,
        model: FleetModel,
        strategy: Strategy,
        plan: PlannedRollout,
        census: Census,
        probability: float,
        lots: Random,
    ) -> None:
        self._strategy = strategy
        self._starts_at = model.starts_at
        self._waves = plan.waves
        self._census = census
        self._probability = probability
        self._lots = lots
        self._durations = [duration.total_seconds() for duration in model.durations]
        self._window = Admission(census, strategy, model.freezes)
        self._seconds = 0.0
        self._successes = 0
        self._failures = 0
        self._ends: list[tuple[float, str, bool]] = []
        self._most_out = {
            group: self._window.ledger.count(group)
            for group in census.in_service
            if group.kind is GroupKind.REGION
        }

    def play(self) -> _Played:
        """Take wave after wave, as the gates say."""
        taken = 0
        phase = RolloutPhase.CONVERGED
        while taken < len(self._waves) and phase is RolloutPhase.CONVERGED:
            self._window.enter(self._waves[taken])
            taken += 1
            phase = self._take_wave()
            if phase is RolloutPhase.CONVERGED:
                phase = self._judge(taken)
        return _Played(
            phase=phase,
            touched=self._successes + self._failures,
            failed=self._failures,
            seconds=self._seconds,
            capacity={
                group.name: 1 - out / self._census.in_service[group]
                for group, out in self._most_out.items()
            },
        )

    def _judge(self, taken: int) -> RolloutPhase:
        self._seconds += self._strategy.soak.total_seconds()
        gate = weigh(self._strategy, self._successes, self._failures)
        if gate.decision is Decision.ABORT:
            return RolloutPhase.STOPPED
        if gate.decision is Decision.HOLD and taken < len(self._waves):
            return RolloutPhase.PAUSED
        if gate.decision is Decision.WIDEN:
            self._waves = widen(self._waves, taken, gate.widen_by)
        return RolloutPhase.CONVERGED

    def _take_wave(self) -> RolloutPhase:
        """Change the routes that wait; those under way come to their end whatever happens."""
        stopped = False
        self._start()
        while self._ends:
            self._seconds, route_id, fails = heapq.heappop(self._ends)
            self._window.finish(route_id, proven=not fails)
            if fails:
                self._failures += 1
                stopped = stopped or bool(why_stop(self._strategy, self._successes, self._failures))
            else:
                self._successes += 1
            if not stopped:
                self._start()
        if stopped:
            return RolloutPhase.STOPPED
        # What still waits can never start: others are out for good, and fill the budget.
        return RolloutPhase.PAUSED if self._window.waiting else RolloutPhase.CONVERGED

    def _start(self) -> None:
        """Start what may start; with nothing under way, sleep until a freeze ends."""
        started = self._window.start(self._now())
        while not started and not self._ends and (thaw := self._window.thaws_at):
            self._seconds = (thaw - self._starts_at).total_seconds()
            started = self._window.start(thaw)
        for route_id in started:
            ends_at = self._seconds + self._lots.choice(self._durations)
            heapq.heappush(self._ends, (ends_at, route_id, self._lots.random() < self._probability))
            self._watch(self._census.groups[route_id])

    def _now(self) -> datetime:
        return self._starts_at + timedelta(seconds=self._seconds)

    def _watch(self, groups: Sequence[Group]) -> None:
        for group in groups:
            if group in self._most_out:
                out = self._window.ledger.count(group)
                self._most_out[group] = max(self._most_out[group], out)


def _forecast(probability: float, played: Sequence[_Played]) -> ReleaseForecast:
    touched = [run.touched for run in played]
    failed = [run.failed for run in played]
    seconds = [run.seconds for run in played]
    phases = [run.phase for run in played]
    return ReleaseForecast(
        failure_probability=probability,
        converged=phases.count(RolloutPhase.CONVERGED),
        aborted=phases.count(RolloutPhase.STOPPED),
        held=phases.count(RolloutPhase.PAUSED),
        touched_median=_quantile(touched, 0.5),
        touched_p90=_quantile(touched, 0.9),
        touched_most=max(touched),
        failed_median=_quantile(failed, 0.5),
        failed_p90=_quantile(failed, 0.9),
        took_median=timedelta(seconds=_quantile(seconds, 0.5)),
        took_p90=timedelta(seconds=_quantile(seconds, 0.9)),
        lowest_capacity={
            region: min(run.capacity[region] for run in played)
            for region in sorted(played[0].capacity)
        },
    )


def _quantile(values: Sequence[Number], share: float) -> Number:
    """Return the smallest of the values that is not exceeded by `share` of them."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


# MERGEDOC """A rollout rehearsed: what it is likely to do to a fleet, by the very code that would do it.
#
# Routes, waves, starts and verdicts are planned and decided as in a real rollout; only how long a
# route takes, and whether it fails, is drawn by lot. What fails, fails at its swap: soaking takes
# its time and finds nothing. Routes that failed are not rolled back.
# """
