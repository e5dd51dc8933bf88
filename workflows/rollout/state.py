"""The state of a rollout: the answer of its status query, and its page in the Temporal UI."""

from collections.abc import Iterable, Mapping

from temporalio import workflow

from relight.domain.names import RouteId, scope_track
from relight.domain.rollout.rollout import (
    MAX_LISTED_ROUTES,
    RolloutPhase,
    RolloutPlan,
    RolloutReleaseInput,
    RolloutStatus,
    RouteOutcome,
    RouteProgress,
)

MAX_SHOWN_FAULTS = 50

_LEFT_BY_UNDO = (RouteProgress.WAITING, RouteProgress.FAILED)

_NOT_REACHED = {
    RouteProgress.WAITING: RouteProgress.UNTOUCHED,
    RouteProgress.TO_ROLL_BACK: RouteProgress.NOT_ROLLED_BACK,
}
"""What routes that still wait are when the rollout ends."""


class RolloutState:
    """Counts and routes of a rollout. A large rollout lists only some of its failed routes.

    Attributes:
        wave: the number of the running wave, from 1; 0 before the first.
        waves: the number of waves.
        phase: the phase of the rollout.
        counts: the number of routes in each progress.
        is_named: whether every route is listed.
    """

    def __init__(self, input: RolloutReleaseInput) -> None:
        self._input = input
        self._outcomes: dict[RouteId, RouteOutcome] = {}
        self._since = workflow.now()
        self._to_do = ""
        self._detail = "resolving the release and the routes in scope"
        self.counts: dict[RouteProgress, int] = {}
        self.waves = 0
        self.wave = 0
        self.phase = RolloutPhase.PREPARING
        self.is_named = True

    def set_plan(self, plan: RolloutPlan) -> None:
        """Add the routes of the plan, all waiting."""
        self.waves = len(plan.sizes)
        self.counts = {RouteProgress.WAITING: sum(plan.sizes)}
        self.is_named = sum(map(len, plan.waves)) == sum(plan.sizes)
        if not self.is_named:
            return
        for number, wave in enumerate(plan.waves, start=1):
            for route_id in wave:
                self._outcomes[route_id] = RouteOutcome(
                    route_id=route_id, wave=number, progress=RouteProgress.WAITING
                )

    def set_phase(self, phase: RolloutPhase, detail: str, to_do: str = "") -> None:
        """Set the phase, its reason, and what an operator can do about it."""
        if (phase, detail) != (self.phase, self._detail):
            self._since = workflow.now()
        self.phase, self._detail, self._to_do = phase, detail, to_do

    def record_progress(
        self, counts: Mapping[RouteProgress, int], moved: Iterable[RouteOutcome]
    ) -> None:
        """Update the counts and the routes whose progress changed."""
        self.counts = dict(counts)
        for outcome in moved:
            listed = outcome.route_id in self._outcomes
            if outcome.fault is None and not self.is_named:
                self._outcomes.pop(outcome.route_id, None)
            elif listed or len(self._outcomes) < MAX_LISTED_ROUTES:
                self._outcomes[outcome.route_id] = outcome

    def begin_roll_back(self, routes: Iterable[RouteId]) -> None:
        """Show the routes that wait for their rollback. The wave reports their counts."""
        waits = {"progress": RouteProgress.TO_ROLL_BACK}
        for route_id in routes:
            if (outcome := self._outcomes.get(route_id)) is not None:
                self._outcomes[route_id] = outcome.model_copy(update=waits)

    @property
    def left_to_do(self) -> str:
        """What a person has to do when the rollout ends; empty if nothing."""
        if self._input.undo:
            count = sum(self.counts.get(each, 0) for each in _LEFT_BY_UNDO)
            track = scope_track(self._input.scope)
            option = f" --track {track}" if track else ""
            command = f"relight rollout undo {self._input.release_tag}{option}"
            return f"{command}, for {count} not brought back" if count else ""
        left = (RouteProgress.TO_ROLL_BACK, RouteProgress.NOT_ROLLED_BACK)
        count = sum(self.counts.get(each, 0) for each in left)
        return f"relight route rollback ROUTE for {count} not rolled back" if count else ""

    def finish(self) -> RolloutStatus:
        """Mark the routes that still wait as not reached, and return the final status."""
        for waiting, ended in _NOT_REACHED.items():
            if count := self.counts.pop(waiting, 0):
                self.counts[ended] = self.counts.get(ended, 0) + count
        for route_id, outcome in self._outcomes.items():
            progress = _NOT_REACHED.get(outcome.progress, outcome.progress)
            self._outcomes[route_id] = outcome.model_copy(update={"progress": progress})
        return self.status()

    def status(self) -> RolloutStatus:
        """Return the state as a message."""
        return RolloutStatus(
            release_tag=self._input.release_tag,
            scope=self._input.scope,
            phase=self.phase,
            wave=self.wave,
            waves=self.waves,
            routes=tuple(self._outcomes.values()),
            detail=self._detail,
            since=self._since,
            to_do=self._to_do,
            counts=self.counts,
            undo=self._input.undo,
        )

    def why(self) -> str:
        """Return the phase, since when, its reason, and what an operator can do."""
        to_do = f"; to do: {self._to_do}" if self._to_do else ""
        return f"{self.phase} since {self._since:%Y-%m-%d %H:%M:%S} UTC: {self._detail}{to_do}"

    def details(self) -> str:
        """Return the state as Markdown, for the page in the Temporal UI."""
        counts = ", ".join(
            f"{self.counts[progress]} {progress}"
            for progress in RouteProgress
            if self.counts.get(progress)
        )
        rows = [
            ("wave", f"{self.wave} of {self.waves}"),
            ("routes", counts or "none yet"),
            ("reason", self._detail),
            ("since", f"{self._since:%Y-%m-%d %H:%M:%S} UTC"),
            ("to do", self._to_do or "nothing"),
        ]
        undo = "undo of " if self._input.undo else ""
        lines = [
            f"{undo}**{self._input.release_tag}** over **{self._input.scope}**: {self.phase}",
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {_cell(text)} |" for name, text in rows),
        ]
        failed = [outcome for outcome in self._outcomes.values() if outcome.fault is not None]
        if failed:
            lines += [
                "",
                "| route | machine | host | fault | summary |",
                "|---|---|---|---|---|",
            ]
        for outcome in failed[:MAX_SHOWN_FAULTS]:
            if (fault := outcome.fault) is not None:
                lines.append(
                    f"| {outcome.route_id} | {fault.machine_key} | {fault.host} | {fault.kind} "
                    f"({fault.fault_class}) | {_cell(fault.summary)} |"
                )
        if len(failed) > MAX_SHOWN_FAULTS:
            lines.append(f"| and {len(failed) - MAX_SHOWN_FAULTS} more | | | | |")
        return "\n".join(lines)


def _cell(text: str) -> str:
    """Escape a text for a cell of a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())
