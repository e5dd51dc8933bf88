"""One wave of a rollout: the work on each of its routes, and its controls."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from relight.domain.base import Message, Origin, ShortText
from relight.domain.image.image import ImageName
from relight.domain.names import (
    ReleaseTag,
    RouteId,
    ScopeName,
)
from relight.domain.release import Release
from relight.domain.rollout.rollout import (
    Controls,
    RouteOutcome,
    RouteProgress,
    WaveKept,
)
from relight.domain.rollout.strategy import Strategy


class WaveWork(StrEnum):
    """What a wave does on each route.

    `swap`: swap it to the release. `prove`: prove, after a soak, that it still runs the release.
    `roll back`: swap it back to the release that it was proven at before this rollout. `undo`: swap
    it back to the release that it was proven at before an earlier rollout. `replace`: give it a new
    machine of the rollout's image.
    """

    SWAP = "swap"
    PROVE = "prove"
    ROLL_BACK = "roll back"
    UNDO = "undo"
    REPLACE = "replace"

    @property
    def goes_back(self) -> bool:
        """Whether it brings each route to the release that the store has for it."""
        return self in {WaveWork.ROLL_BACK, WaveWork.UNDO}


SMALL_WAVE = 50
"""So many routes are some hundred events, of the thousands that a run of a rollout may have. A
rollout keeps the value that it began with: its history shows what its waves run in."""


def runs_in_rollout(sizes: Sequence[int], number: int, work: WaveWork, small_wave: int) -> bool:
    """Return whether a wave runs in its rollout's workflow; a larger one has a workflow of its own.

    A wave that was split, or that has the routes that joined late, counts as the largest planned
    one until then. However many routes it has, its rollout continues as new in the middle of it.

    Args:
        sizes: the planned number of routes of each wave.
        number: the wave, from 1.
        work: what it does. A rollback is one wave over all routes.
        small_wave: how many routes a small wave may have, in this rollout; 0: no wave is small.
    """
    largest = sum(sizes) if work is WaveWork.ROLL_BACK else max(sizes[:number], default=0)
    return small_wave > 0 and largest <= small_wave


DONE: Mapping[WaveWork, RouteProgress] = {
    WaveWork.SWAP: RouteProgress.CONVERGED,
    WaveWork.PROVE: RouteProgress.CONVERGED,
    WaveWork.ROLL_BACK: RouteProgress.ROLLED_BACK,
    WaveWork.UNDO: RouteProgress.CONVERGED,
    WaveWork.REPLACE: RouteProgress.CONVERGED,
}
"""Progress of a route whose operation succeeded."""

FAILED: Mapping[WaveWork, RouteProgress] = {
    WaveWork.SWAP: RouteProgress.FAILED,
    WaveWork.PROVE: RouteProgress.FAILED,
    WaveWork.ROLL_BACK: RouteProgress.NOT_ROLLED_BACK,
    WaveWork.UNDO: RouteProgress.FAILED,
    WaveWork.REPLACE: RouteProgress.FAILED,
}
"""Progress of a route whose operation failed."""

REQUEUED: Mapping[WaveWork, RouteProgress] = {
    WaveWork.SWAP: RouteProgress.WAITING,
    WaveWork.PROVE: RouteProgress.SOAKING,
    WaveWork.ROLL_BACK: RouteProgress.TO_ROLL_BACK,
    WaveWork.UNDO: RouteProgress.WAITING,
    WaveWork.REPLACE: RouteProgress.WAITING,
}
"""Progress of a route hit by an incident: requeued."""


class RolloutWaveInput(Message):
    """Run one wave.

    Attributes:
        rollout_run_id: id of the rollout's first run; the store keeps its routes under this id.
        rollout: workflow id of the rollout.
        number: the wave, from 1.
        controls: the controls when the wave starts.
        kept: what the run before handed over.
        image_name: the image of which routes get new machines; None: their release is swapped.
    """

    rollout_run_id: str
    rollout: str
    release: Release
    scope: ScopeName
    origin: Origin
    strategy: Strategy
    work: WaveWork
    number: int
    controls: Controls
    kept: WaveKept = WaveKept()
    image_name: ImageName | None = None


class WaveNeedsPerson(Message):
    """A wave has been held for too long.

    Attributes:
        reason: what a person has to decide about.
    """

    reason: ShortText


class WaveEnded(Message):
    """A wave has ended. Unless it was handed over, none of its routes is in flight.

    Attributes:
        counts: number of routes of the whole rollout by progress.
        stopped_by: why the wave stopped early; None if it is complete.
        handed_over: what its next run continues with; None if it is complete or stopped.
        failed: the routes that failed, with brief faults; of many the first.
    """

    counts: Mapping[RouteProgress, int]
    stopped_by: str | None = None
    handed_over: WaveKept | None = None
    failed: tuple[RouteOutcome, ...] = ()


class AwaitOperationInput(Message):
    """Wait for the end of an operation on a route.

    Attributes:
        run_id: the operation's.
    """

    route_id: RouteId
    run_id: str


class OperationAwaited(Message):
    """The operation has succeeded.

    Attributes:
        known: whether the server still knows the operation. If not, how it ended is unknown.
    """

    known: bool


class AdvanceWaveInput(Message):
    """Record outcomes, and claim the routes that may start.

    Attributes:
        release_tag: the rollout's release.
        in_flight: the wave's routes in flight. A claimed route that is neither in flight nor
            ended was claimed by an attempt whose reply was lost; it is returned again.
        ended: outcomes since the last call.
        max_in_flight: how many routes may be in flight.
        incident: the incident that holds the wave, in one sentence; empty without one.
    """

    rollout_run_id: str
    release_tag: ReleaseTag
    work: WaveWork
    number: int
    strategy: Strategy
    in_flight: tuple[RouteId, ...]
    ended: tuple[RouteOutcome, ...]
    max_in_flight: int
    incident: str = ""


class WaveAdvanced(Message):
    """The routes to start, and how many are left.

    Attributes:
        starts: the claimed routes, in their order, with brief faults.
        counts: number of routes of the whole rollout by progress.
        waiting: how many routes of this wave have not started.
        limited_by: the limits that keep them from starting.
        thaws_at: when the freeze that holds them ends; None without one.
    """

    starts: tuple[RouteOutcome, ...]
    counts: Mapping[RouteProgress, int]
    waiting: int
    limited_by: tuple[str, ...] = ()
    thaws_at: datetime | None = None

    @property
    def is_limited(self) -> bool:
        """Whether a limit or a freeze keeps routes from starting."""
        return self.waiting > 0 and bool(self.limited_by or self.thaws_at)

    @property
    def limits(self) -> str:
        """What keeps the routes that wait from starting, in one sentence; empty if nothing."""
        may_start = self.starts or not self.waiting
        return "" if may_start else limits_text(self.limited_by, self.thaws_at)


def limits_text(limited_by: Sequence[str], thaws_at: datetime | None) -> str:
    """Return limits and the end of a freeze in one sentence; empty without any."""
    limits = list(limited_by)
    if thaws_at is not None:
        limits.append(f"a freeze window that ends at {thaws_at:%Y-%m-%d %H:%M} UTC")
    return "; ".join(limits)


class BeginProofsInput(Message):
    """Make the proven routes of a wave wait for their proof after the soak."""

    rollout_run_id: str
    number: int


class BeginRollBackInput(Message):
    """Make every route that the rollout changed wait for its rollback."""

    rollout_run_id: str
    release_tag: ReleaseTag


class WidenWaveInput(Message):
    """Split a smaller wave off the next one.

    Attributes:
        by: the number of its routes.
    """

    rollout_run_id: str
    number: int
    by: int


class JoinLateInput(Message):
    """Add a wave with the routes that have joined the scope since."""

    rollout_run_id: str
    release_tag: ReleaseTag
    scope: ScopeName
    number: int


class RetryFailedInput(Message):
    """Make the failed routes wait again, in the current wave."""

    rollout_run_id: str
    number: int


class SkipInput(Message):
    """Skip a route."""

    rollout_run_id: str
    route_id: RouteId
    reason: str


class RoutesChanged(Message):
    """The number of routes that were changed."""

    routes: int = 0
