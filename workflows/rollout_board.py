"""Where a rollout stands: what its status query answers and its page in the Temporal UI shows."""

from messages.faults import Fault
from messages.names import RouteId
from messages.rollout import (
    RolloutPhase,
    RolloutPlan,
    RolloutReleaseInput,
    RolloutStatus,
    RouteOutcome,
    RouteProgress,
)
from messages.route import Route


class RolloutBoard:
    """The rollout's routes, each with its wave, its progress and its fault."""

    def __init__(self, input: RolloutReleaseInput) -> None:
        self._input = input
        self._outcomes: dict[RouteId, RouteOutcome] = {}
        self._waves = 0
        self.wave = 0
        self.phase = RolloutPhase.PREPARING
        self.detail = "resolving the release and the routes in scope"

    def take(self, plan: RolloutPlan, routes: tuple[Route, ...]) -> None:
        """Put the plan's routes on the board, all waiting."""
        previous = {route.route_id: route.current_release_tag for route in routes}
        self._waves = len(plan.waves)
        for number, wave in enumerate(plan.waves, start=1):
            for route_id in wave:
                self._outcomes[route_id] = RouteOutcome(
                    route_id=route_id,
                    wave=number,
                    progress=RouteProgress.WAITING,
                    previous_release_tag=previous[route_id],
                )

    def move(self, route_id: RouteId, progress: RouteProgress, fault: Fault | None = None) -> None:
        """Say where a route is now."""
        outcome = self._outcomes[route_id]
        self._outcomes[route_id] = outcome.model_copy(update={"progress": progress, "fault": fault})

    def end(self, phase: RolloutPhase, detail: str) -> RolloutStatus:
        """End the rollout: what was not reached was not touched."""
        self.phase, self.detail = phase, detail
        for route_id, outcome in self._outcomes.items():
            if outcome.progress is RouteProgress.WAITING:
                self.move(route_id, RouteProgress.UNTOUCHED)
        return self.status()

    @property
    def failed(self) -> list[RouteOutcome]:
        """The routes that failed, as they stand."""
        return [
            outcome
            for outcome in self._outcomes.values()
            if outcome.progress is RouteProgress.FAILED
        ]

    @property
    def faults(self) -> list[Fault]:
        """The faults of the routes that failed."""
        return [outcome.fault for outcome in self._outcomes.values() if outcome.fault is not None]

    def status(self) -> RolloutStatus:
        """Return the board as a message."""
        return RolloutStatus(
            release_tag=self._input.release_tag,
            scope=self._input.scope,
            phase=self.phase,
            wave=self.wave,
            waves=self._waves,
            routes=tuple(self._outcomes.values()),
            detail=self.detail,
        )

    def details(self) -> str:
        """Return the board as Markdown, for the workflow's page in the Temporal UI."""
        status = self.status()
        counts = ", ".join(
            f"{status.count(progress)} {progress}"
            for progress in RouteProgress
            if status.count(progress)
        )
        lines = [
            f"**{status.release_tag}** over **{status.scope}**: {status.phase}",
            f"- wave {status.wave} of {status.waves}",
            f"- routes: {counts or 'none yet'}",
            f"- {status.detail}",
        ]
        failed = [outcome for outcome in status.routes if outcome.fault is not None]
        if failed:
            lines += [
                "",
                "| route | machine | host | fault | what was seen |",
                "|---|---|---|---|---|",
            ]
        for outcome in failed:
            if (fault := outcome.fault) is not None:
                lines.append(
                    f"| {outcome.route_id} | {fault.machine_key} | {fault.host} | {fault.kind} "
                    f"({fault.fault_class}) | {_cell(fault.summary)} |"
                )
        return "\n".join(lines)


def _cell(text: str) -> str:
    """Keep a text inside its cell of a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())
