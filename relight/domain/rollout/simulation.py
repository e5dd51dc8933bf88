"""Simulation: a rollout played on a model of the fleet, to forecast its effects.

Plan, waves, starts and verdicts come from the same code as in a real rollout. Only the duration of
each swap, and whether it fails, are random. Failures occur only at the swap: a soak takes its time
and finds nothing. Failed routes are not rolled back.
"""

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
from relight.domain.hold import Hold
from relight.domain.names import RouteId
from relight.domain.rollout.admission import Admission, next_starts
from relight.domain.rollout.gate import Decision, evaluate_gate, stop_reason
from relight.domain.rollout.plan import PlannedRollout
from relight.domain.rollout.planner import plan_rollout, widen
from relight.domain.rollout.rollout import RolloutPhase
from relight.domain.rollout.strategy import Strategy
from relight.domain.route import Route


class WaveForecast(Message):
    """A wave within the disruption budgets.

    Attributes:
        routes: number of its routes.
        concurrency: how many of them can start at once if no further route is out than now.
    """

    routes: int
    concurrency: int


class ReleaseForecast(Message):
    """The results of all runs with one failure probability.

    Attributes:
        failure_probability: of each route, 0 to 1.
        converged, aborted, held: number of runs by their end.
        touched_median, touched_p90, touched_most: number of routes that were changed.
        failed_median, failed_p90: number of routes that failed.
        took_median, took_p90: from the first start to the end of the run, soak included.
        lowest_capacity: the lowest share of serving routes at any time of any run, 0 to 1, by
            `PROVIDER/REGION`.
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
    """The result of a simulation.

    Attributes:
        plan: the plan that the real rollout would follow.
        waves: a forecast for each wave.
        releases: a forecast for each failure probability.
        runs: number of runs for each probability.
        seed: reproduces the simulation.
    """

    plan: PlannedRollout
    waves: tuple[WaveForecast, ...]
    releases: tuple[ReleaseForecast, ...]
    runs: int
    seed: int


Number = TypeVar("Number", int, float)

PROBABILITIES = (0.0, 0.01, 0.05, 0.25, 1.0)
"""Default failure probabilities, from a good release to one that fails everywhere."""


@dataclass(frozen=True)
class FleetModel:
    """The fleet of a simulation.

    Attributes:
        routes: the routes of the rollout's scope.
        durations: measured durations of swaps, at least one; each simulated swap takes one of them.
        starts_at: when the rollout would start, with its time zone.
        exclusions: exclusions and pins.
        freezes: freeze windows.
        elsewhere: routes outside of the scope, which also count in the budgets.
    """

    routes: Sequence[Route]
    durations: Sequence[timedelta]
    starts_at: datetime
    exclusions: Sequence[Hold] = ()
    freezes: Sequence[Hold] = ()
    elsewhere: Sequence[Route] = ()


def simulate(
    model: FleetModel,
    strategy: Strategy,
    probabilities: Sequence[float] = PROBABILITIES,
    *,
    seed: int = 0,
    runs: int = 10,
) -> Simulation:
    """Play a rollout several times for each failure probability.

    Args:
        model: the fleet and the durations of its swaps.
        strategy: the rollout's.
        probabilities: failure probabilities of a route, 0 to 1.
        seed: seed of all random choices; the same seed gives the same result.
        runs: number of runs for each probability, 1 or more.

    Raises:
        ValueError: there are no durations, no runs, or a probability is not between 0 and 1.
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
            # The same random numbers for each probability, so that only the probability differs.
            random = Random(f"{seed}/{run}")  # noqa: S311 - not for a secret
            played.append(_Run(model, strategy, plan.waves, census, probability, random).play())
        releases.append(_forecast(probability, played))
    waves = tuple(
        WaveForecast(
            routes=len(wave),
            concurrency=len(next_starts(wave, (), census, strategy, (), model.starts_at)),
        )
        for wave in plan.waves
    )
    return Simulation(plan=plan, waves=waves, releases=tuple(releases), runs=runs, seed=seed)


def time_for(
    waves: Sequence[Sequence[RouteId]], model: FleetModel, strategy: Strategy
) -> timedelta | None:
    """Return how long waves take, with their soaks, if no swap fails.

    Args:
        waves: the routes to change, wave by wave; each is one of the fleet's.
        model: the fleet; its exclusions do not count.
        strategy: its limits, budget and soak apply; its wave sizes do not.

    Returns:
        None if a limit or a budget, as it is used now, never lets one of them start.
    """
    census = take_census([*model.routes, *model.elsewhere])
    random = Random(0)  # noqa: S311 - not for a secret
    played = _Run(model, strategy, waves, census, 0.0, random).play()
    return timedelta(seconds=played.seconds) if played.phase is RolloutPhase.CONVERGED else None


@dataclass(frozen=True)
class _Played:
    """The result of one run.

    Attributes:
        phase: converged, stopped, or paused if it holds.
        seconds: from its start to its end.
        capacity: the lowest share of serving routes, by region.
    """

    phase: RolloutPhase
    touched: int
    failed: int
    seconds: float
    capacity: dict[str, float]


class _Run:
    """One simulated rollout."""

    def __init__(
        self,
        model: FleetModel,
        strategy: Strategy,
        waves: Sequence[Sequence[RouteId]],
        census: Census,
        probability: float,
        random: Random,
    ) -> None:
        self._strategy = strategy
        self._starts_at = model.starts_at
        self._waves = tuple(tuple(wave) for wave in waves)
        self._census = census
        self._probability = probability
        self._random = random
        self._durations = [duration.total_seconds() for duration in model.durations]
        self._admission = Admission(census, strategy, model.freezes)
        self._seconds = 0.0
        self._successes = 0
        self._failures = 0
        self._ends: list[tuple[float, str, bool]] = []
        self._max_out = {
            group: self._admission.usage.count(group)
            for group in census.in_service
            if group.kind is GroupKind.REGION
        }

    def play(self) -> _Played:
        """Take wave after wave, as the gates decide."""
        taken = 0
        phase = RolloutPhase.CONVERGED
        while taken < len(self._waves) and phase is RolloutPhase.CONVERGED:
            self._admission.enter(self._waves[taken])
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
                for group, out in self._max_out.items()
            },
        )

    def _judge(self, taken: int) -> RolloutPhase:
        self._seconds += self._strategy.soak.total_seconds()
        gate = evaluate_gate(self._strategy, self._successes, self._failures)
        if gate.decision is Decision.ABORT:
            return RolloutPhase.STOPPED
        if gate.decision is Decision.HOLD and taken < len(self._waves):
            return RolloutPhase.PAUSED
        if gate.decision is Decision.WIDEN:
            self._waves = widen(self._waves, taken, gate.widen_by)
        return RolloutPhase.CONVERGED

    def _take_wave(self) -> RolloutPhase:
        """Change the routes of the wave. After a stop nothing starts, but started swaps finish."""
        stopped = False
        self._start()
        while self._ends:
            self._seconds, route_id, fails = heapq.heappop(self._ends)
            self._admission.finish(route_id, proven=not fails)
            if fails:
                self._failures += 1
                stopped = stopped or bool(
                    stop_reason(self._strategy, self._successes, self._failures)
                )
            else:
                self._successes += 1
            if not stopped:
                self._start()
        if stopped:
            return RolloutPhase.STOPPED
        # Routes that still wait can never start: failed routes stay out and fill the budget.
        return RolloutPhase.PAUSED if self._admission.waiting else RolloutPhase.CONVERGED

    def _start(self) -> None:
        """Start the routes that may start; with none in flight, skip to the end of a freeze."""
        started = self._admission.start(self._now())
        while not started and not self._ends and (thaw := self._admission.thaws_at):
            self._seconds = (thaw - self._starts_at).total_seconds()
            started = self._admission.start(thaw)
        for route_id in started:
            ends_at = self._seconds + self._random.choice(self._durations)
            fails = self._random.random() < self._probability
            heapq.heappush(self._ends, (ends_at, route_id, fails))
            self._record_out(self._census.groups[route_id])

    def _now(self) -> datetime:
        return self._starts_at + timedelta(seconds=self._seconds)

    def _record_out(self, groups: Sequence[Group]) -> None:
        for group in groups:
            if group in self._max_out:
                out = self._admission.usage.count(group)
                self._max_out[group] = max(self._max_out[group], out)


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
    """Return the smallest value that at least `share` of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
