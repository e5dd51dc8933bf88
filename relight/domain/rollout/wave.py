"""One wave of a rollout: what is done on each of its routes, and how it is steered."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from relight.domain.base import Message, Origin
from relight.domain.names import (
    ReleaseTag,
    RouteId,
    ScopeName,
)
from relight.domain.release import Release
from relight.domain.rollout.rollout import (
    RouteOutcome,
    RouteProgress,
    Strategy,
)


class WaveWork(StrEnum):
    """What is done on each route.

    `swap`: bring it to the release. `prove`: see that it still runs that, after a soak. `roll
    back`: bring it back to what it was proven at before.
    """

    SWAP = "swap"
    PROVE = "prove"
    ROLL_BACK = "roll back"


class Controls(Message):
    """What the rollout's operators want of its wave. Each one replaces the one before.

    Attributes:
        paused: start nothing further for now.
        stopped: start nothing further at all.
        max_concurrent: how many routes are changed at once.
        looks: counts what happened to the routes meanwhile: a wave that learns of one looks anew.
    """

    paused: bool = False
    stopped: bool = False
    max_concurrent: int
    looks: int = 0


class RolloutWaveInput(Message):
    """Take the routes of one wave.

    Attributes:
        rollout_run_id: the rollout's run, under which its routes are kept in the store.
        rollout: its workflow id.
        number: the wave, from 1.
        steering: as it is when the wave begins.
        named: whether it is told of each route that moved, or only of those that failed.
        hold_for_seconds: how long the next pause for an incident is; None where there is none.
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
    named: bool = True
    hold_for_seconds: float | None = None


class WaveProgress(Message):
    """How a wave stands.

    Attributes:
        counts: how many routes of the whole rollout are at what.
        moved: routes whose progress changed since the last word; of a large rollout those that
            failed.
        waits_for: what keeps further routes from being started, if anything does.
    """

    counts: Mapping[RouteProgress, int]
    moved: tuple[RouteOutcome, ...] = ()
    waits_for: str = ""


class WaveEnded(Message):
    """No route of a wave is under way any more.

    Attributes:
        counts: how many routes of the whole rollout are at what.
        moved: the routes that moved since it told of them last.
        stopped_by: why it stopped before it was through; None where it is through.
    """

    counts: Mapping[RouteProgress, int]
    moved: tuple[RouteOutcome, ...] = ()
    stopped_by: str | None = None


class AdvanceWaveInput(Message):
    """Write down what ended, and claim routes that may start.

    Attributes:
        release_tag: the release that is on its way.
        in_flight: the routes that the wave has under way. One that is claimed, and is neither
            among these nor ended, was claimed by an attempt whose reply was lost.
        ended: what came of routes since the last time.
        at_most: how many routes may be under way.
    """

    rollout_run_id: str
    release_tag: ReleaseTag
    work: WaveWork
    number: int
    strategy: Strategy
    in_flight: tuple[RouteId, ...]
    ended: tuple[RouteOutcome, ...]
    at_most: int


class WaveAdvanced(Message):
    """Routes to start, and what is left.

    Attributes:
        starts: in the order of their turn; they are claimed.
        counts: how many routes of the whole rollout are at what.
        waiting: how many of this wave were not started yet.
        held_up_by: which limits keep them from it.
        thaws_at: when a freeze window that does ends.
    """

    starts: tuple[RouteOutcome, ...]
    counts: Mapping[RouteProgress, int]
    waiting: int
    held_up_by: tuple[str, ...] = ()
    thaws_at: datetime | None = None


class BeginProofsInput(Message):
    """Have the routes of a wave that were proven wait for their further proof."""

    rollout_run_id: str
    number: int


class WidenWaveInput(Message):
    """Cut a smaller wave out of the next one."""

    rollout_run_id: str
    number: int
    by: int


class JoinLateInput(Message):
    """Make a further wave of the routes that came into the scope since."""

    rollout_run_id: str
    release_tag: ReleaseTag
    scope: ScopeName
    number: int


class RetryFailedInput(Message):
    """Have the routes that failed wait once more, in the wave that is under way."""

    rollout_run_id: str
    number: int


class SkipInput(Message):
    """Leave a route out."""

    rollout_run_id: str
    route_id: RouteId
    reason: str


class RoutesChanged(Message):
    """How many routes it was about."""

    routes: int
