"""Rollouts: one release over a scope, wave by wave, with a gate after each wave."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from relight.domain.base import Message, Origin
from relight.domain.fault.fault import Fault
from relight.domain.names import (
    CheckName,
    ReleaseTag,
    RouteId,
    ScopeName,
)
from relight.domain.release import Release
from relight.domain.rollout.plan import PlannedRollout
from relight.domain.rollout.strategy import Strategy

MAX_LISTED_ROUTES = 500
"""How many routes a message lists. A larger rollout counts its routes, and lists failed ones."""


class RolloutReleaseInput(Message):
    """Bring every route of a scope to a release.

    Attributes:
        undo: instead, bring each route at the release back to its own release from before.
    """

    release_tag: ReleaseTag
    scope: ScopeName
    origin: Origin
    strategy: Strategy = Strategy()
    undo: bool = False


class RolloutPhase(StrEnum):
    """The phase of a rollout.

    `holding`: it waits for what its detail says, and may continue by itself. It ends as
    `converged`, `stopped` (by a gate), `aborted` (by a person) or `superseded` (by another rollout
    of its scope).
    """

    PREPARING = "preparing"
    RUNNING = "running"
    PAUSED = "paused"
    HOLDING = "holding"
    SOAKING = "soaking"
    ROLLING_BACK = "rolling back"
    CONVERGED = "converged"
    STOPPED = "stopped"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"


class RouteProgress(StrEnum):
    """How far a route is in a rollout.

    `soaking`: proven, and to be proven again after the soak. `to roll back`: changed by this
    rollout, and waiting for its rollback.
    """

    WAITING = "waiting"
    SWAPPING = "swapping"
    CONVERGED = "converged"
    FAILED = "failed"
    TO_ROLL_BACK = "to roll back"
    ROLLING_BACK = "rolling back"
    ROLLED_BACK = "rolled back"
    NOT_ROLLED_BACK = "not rolled back"
    SOAKING = "soaking"
    PROVING = "proving again"
    SKIPPED = "skipped"
    UNTOUCHED = "untouched"


class RouteOutcome(Message):
    """A route in a rollout.

    Attributes:
        previous_release_tag: the release that it was proven at when this rollout reached it, and
            that a rollback brings it back to; None if it was never proven.
    """

    route_id: RouteId
    wave: int
    progress: RouteProgress
    previous_release_tag: ReleaseTag | None = None
    fault: Fault | None = None

    @property
    def brief(self) -> "RouteOutcome":
        """The outcome with the brief form of its fault."""
        return self.model_copy(update={"fault": self.fault.brief if self.fault else None})


class RolloutPlan(PlannedRollout):
    """What a rollout will do.

    Attributes:
        sizes: number of routes in each wave. For a large rollout `waves` lists the first waves
            only.
    """

    release_tag: ReleaseTag
    scope: ScopeName
    version: str
    sizes: tuple[int, ...] = ()


class RolloutStatus(Message):
    """The current status of a rollout.

    Attributes:
        undo: whether it brings the routes back from the release.
        wave: the current wave, from 1; 0 before the first.
        waves: the number of waves.
        routes: each route with its wave and its brief fault; for a large rollout only some of those
            that failed.
        detail: the reason for the phase, in one sentence.
        since: start of the phase, UTC.
        to_do: what a person can do, if anything.
        counts: number of routes by progress.
    """

    release_tag: ReleaseTag
    scope: ScopeName
    phase: RolloutPhase
    wave: int
    waves: int
    routes: tuple[RouteOutcome, ...]
    detail: str = ""
    since: datetime | None = None
    to_do: str = ""
    counts: Mapping[RouteProgress, int] = {}
    undo: bool = False

    def count(self, progress: RouteProgress) -> int:
        """Return the number of routes with this progress."""
        return self.counts.get(progress, 0)


class ControlInput(Message):
    """An operator's command to a running rollout."""

    origin: Origin


class SkipRoute(ControlInput):
    """Skip a route that has not started or has failed."""

    route_id: RouteId


class SetConcurrency(ControlInput):
    """Change how many routes are changed at once, from now on."""

    max_concurrent: int = Field(ge=1, le=1000)


class OpenRolloutInput(Message):
    """Claim a scope for a rollout. A scope has one open rollout at a time."""

    release_tag: ReleaseTag
    scope: ScopeName
    origin: Origin


class RolloutOpened(Message):
    """The result of a claim on a scope.

    Attributes:
        rollout: ours; None if another rollout holds the scope.
        held_by: that other rollout.
    """

    rollout: "Rollout | None" = None
    held_by: "Rollout | None" = None


class Architectures(Message):
    """Debian names of the architectures of a scope's machines, sorted."""

    names: tuple[str, ...]


class PlanRolloutInput(Message):
    """Assign every route of the scope to a wave and store the plan.

    Attributes:
        release: the release to bring them to; of an undo, the one that most go back to.
    """

    release: Release
    scope: ScopeName
    strategy: Strategy
    origin: Origin


class PlanUndoInput(PlanRolloutInput):
    """Assign every route at a release to a wave, and store the release that each goes back to."""

    undone: ReleaseTag


class PreflightInput(Message):
    """Check that a release can be installed in every region of a scope, and rolled back.

    Attributes:
        checks: the checks that will run after each wave.
        undo: the release is older than the one that runs, which need not be installable again.
    """

    release: Release
    scope: ScopeName
    checks: tuple[CheckName, ...] = ()
    undo: bool = False


class PreflightPassed(Message):
    """The preflight found no obstacle.

    Attributes:
        dry_run_on: the machine that did the dry run in each region, by `PROVIDER/REGION`.
        rollback_tags: the releases that routes would go back to, each still installable.
    """

    dry_run_on: Mapping[str, str]
    rollback_tags: tuple[ReleaseTag, ...]


class FindUndoInput(Message):
    """Find the releases from before a release, without a change."""

    release_tag: ReleaseTag
    scope: ScopeName


class UndoFound(Message):
    """The releases that an undo would bring routes back to.

    Attributes:
        tags: the releases; first the one of most routes. Empty if no route can be brought back.
        architectures: of the scope's machines.
    """

    tags: tuple[ReleaseTag, ...]
    architectures: tuple[str, ...] = ()


class RecordDecisionInput(Message):
    """Record a decision about a rollout and its reason."""

    release_tag: ReleaseTag
    scope: ScopeName
    wave: int
    decision: str
    reason: str
    origin: Origin


class CloseRolloutInput(Message):
    """Record how a rollout ended, and free its scope.

    Attributes:
        promote: declare the release for the scope from now on.
    """

    release_tag: ReleaseTag
    scope: ScopeName
    phase: RolloutPhase
    detail: str
    origin: Origin
    promote: bool = False


class RecordControlInput(Message):
    """Record an operator's command to a rollout."""

    release_tag: ReleaseTag
    scope: ScopeName
    action: str
    origin: Origin
    route_id: RouteId | None = None


class Rollout(Message):
    """A rollout as the store knows it."""

    workflow_id: str
    run_id: str
    release_tag: ReleaseTag
    scope: ScopeName
    phase: RolloutPhase
    detail: str
    opened_at: datetime
    closed_at: datetime | None = None
