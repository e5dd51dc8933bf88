"""One wave of a rollout: the work on each of its routes, and its controls."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from relight.domain.base import Message, Origin, ShortText
from relight.domain.names import (
    ReleaseTag,
    RouteId,
    ScopeName,
)
from relight.domain.release import Release
from relight.domain.rollout.rollout import RouteOutcome, RouteProgress
from relight.domain.rollout.strategy import Strategy


class WaveWork(StrEnum):
    """What a wave does on each route.

    `swap`: swap it to the release. `prove`: prove, after a soak, that it still runs the release.
    `roll back`: swap it back to the release that it was proven at before this rollout. `undo`: swap
    it back to the release that it was proven at before an earlier rollout.
    """

    SWAP = "swap"
    PROVE = "prove"
    ROLL_BACK = "roll back"
    UNDO = "undo"

    @property
    def goes_back(self) -> bool:
        """Whether it brings each route to the release that the store has for it."""
        return self in {WaveWork.ROLL_BACK, WaveWork.UNDO}


class Controls(Message):
    """The operators' commands that apply to a running wave. A new value replaces the old one.

    Attributes:
        paused: start no further routes for now.
        stopped: start no further routes at all.
        max_concurrent: how many routes are changed at once.
        revision: revision counter; a change makes the wave read its routes again.
    """

    paused: bool = False
    stopped: bool = False
    max_concurrent: int
    revision: int = 0


class WaveIncident(Message):
    """An incident that a wave keeps when it continues as new.

    Attributes:
        pause: the duration of its last pause.
        since: when it began.
        reason: what its faults have in common, in one sentence.
    """

    pause: timedelta
    since: datetime
    reason: str


class RolloutWaveInput(Message):
    """Run one wave.

    Attributes:
        rollout_run_id: run id of the rollout; the store keeps its routes under this id.
        rollout: workflow id of the rollout.
        number: the wave, from 1.
        controls: the controls when the wave starts.
        named: report each route that changed; otherwise only the routes that failed.
        incident: the incident that holds the wave; None without one.
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
    incident: WaveIncident | None = None


class WaveProgress(Message):
    """The progress of a wave.

    Attributes:
        counts: number of routes of the whole rollout by progress.
        moved: routes whose progress changed since the last report, with brief faults; for a large
            rollout only those that failed, and no more than are listed.
        blocked_by: what keeps further routes from starting; empty if nothing does.
        needs_person: why the rollout has to be paused for a person; empty if it has not.
    """

    counts: Mapping[RouteProgress, int]
    moved: tuple[RouteOutcome, ...] = ()
    blocked_by: ShortText = ""
    needs_person: ShortText = ""


class WaveEnded(Message):
    """A wave has ended; none of its routes is in flight.

    Attributes:
        counts: number of routes of the whole rollout by progress.
        moved: routes whose progress changed since the last report.
        stopped_by: why the wave stopped early; None if it is complete.
    """

    counts: Mapping[RouteProgress, int]
    moved: tuple[RouteOutcome, ...] = ()
    stopped_by: str | None = None


class AdvanceWaveInput(Message):
    """Record outcomes, and claim the routes that may start.

    Attributes:
        release_tag: the rollout's release.
        in_flight: the wave's routes in flight. A claimed route that is neither in flight nor
            ended was claimed by an attempt whose reply was lost; it is returned again.
        ended: outcomes since the last call.
        max_in_flight: how many routes may be in flight.
    """

    rollout_run_id: str
    release_tag: ReleaseTag
    work: WaveWork
    number: int
    strategy: Strategy
    in_flight: tuple[RouteId, ...]
    ended: tuple[RouteOutcome, ...]
    max_in_flight: int


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
    """The number of routes that were changed.

    Attributes:
        named: their ids, where the rollout shows them; of a large rollout only the first.
    """

    routes: int
    named: tuple[RouteId, ...] = ()
