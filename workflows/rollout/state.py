"""Where a rollout stands, as far as its workflow knows."""

from collections.abc import Iterable, Mapping

from temporalio import workflow

from relight.domain.rollout.answer import MAX_FAILED_HOSTS
from relight.domain.rollout.rollout import (
    RolloutPhase,
    RolloutReleaseInput,
    RolloutStanding,
    RolloutStatus,
    RouteOutcome,
    RouteProgress,
)

MAX_HISTORY_EVENTS = 4000
"""Above it, a rollout or a wave continues as new. The server's limit is ten times higher."""


def history_is_long() -> bool:
    """Return whether the running workflow has to continue as new."""
    info = workflow.info()
    return (
        info.is_continue_as_new_suggested()
        or info.get_current_history_length() > MAX_HISTORY_EVENTS
    )


class RolloutState:
    """Where a rollout stands. The store has its routes.

    Attributes:
        standing: what is recorded of it at each change.
        counts: the number of routes in each progress, as the wave that runs here last counted them;
            while a large wave runs, as the one before it ended.
        failed: the routes that failed in the waves that have ended; of many the first.
    """

    def __init__(self, input: RolloutReleaseInput) -> None:
        """Begin, or take over what the run before has kept."""
        self._input = input
        kept = input.continued
        self.counts: Mapping[RouteProgress, int] = kept.counts if kept else {}
        self.failed: tuple[RouteOutcome, ...] = kept.failed if kept else ()
        self.standing = (
            kept.standing
            if kept
            else RolloutStanding(
                phase=RolloutPhase.PREPARING,
                detail="resolving the release and the routes in scope",
                since=workflow.now(),
            )
        )

    @property
    def wave(self) -> int:
        """The number of the current wave, from 1; 0 before the first."""
        return self.standing.wave

    @property
    def waves(self) -> int:
        """The number of waves."""
        return self.standing.waves

    def set_wave(self, number: int, waves: int) -> None:
        """Set the number of the current wave, and how many there are."""
        self.standing = self.standing.model_copy(update={"wave": number, "waves": waves})

    def end_wave(self, counts: Mapping[RouteProgress, int], failed: Iterable[RouteOutcome]) -> None:
        """Take over what a wave that ended has counted, and the routes that failed in it."""
        self.counts = counts
        by_route = {each.route_id: each for each in (*self.failed, *failed)}
        self.failed = tuple(by_route.values())[:MAX_FAILED_HOSTS]

    def set_phase(self, phase: RolloutPhase, detail: str, to_do: str = "") -> None:
        """Set the phase, its reason, and what an operator can do about it."""
        before = self.standing
        same = (phase, detail) == (before.phase, before.detail)
        since = before.since if same else workflow.now()
        changes = {"phase": phase, "detail": detail, "to_do": to_do, "since": since}
        self.standing = before.model_copy(update=changes)

    def status(self) -> RolloutStatus:
        """Return the state as a status that lists the failed routes only."""
        return RolloutStatus(
            release_tag=self._input.release_tag,
            scope=self._input.scope,
            routes=self.failed,
            counts=self.counts,
            undo=self._input.undo,
            image_name=self._input.image_name,
            **dict(self.standing),
        )
