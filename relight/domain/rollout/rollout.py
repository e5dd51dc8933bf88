"""Rollouts: one release over a scope, wave by wave, with a gate after each wave."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import Field

from relight.domain.base import Message, Origin
from relight.domain.disruption import DisruptionBudget
from relight.domain.fault.fault import Fault
from relight.domain.image.image import ImageName
from relight.domain.install_plan import InstallPlan
from relight.domain.names import (
    CheckName,
    DebianVersion,
    ReleaseTag,
    RouteId,
    ScopeName,
)
from relight.domain.release import Release
from relight.domain.rollout.plan import PlannedRollout
from relight.domain.rollout.strategy import Strategy

MAX_LISTED_ROUTES = 500
"""How many routes a message lists. Of a larger rollout it lists those that failed or are in
progress."""


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
    REPLACING = "replacing"
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


FAILURES = (RouteProgress.FAILED, RouteProgress.NOT_ROLLED_BACK)
"""The progress of routes on which the work has failed."""

IN_PROGRESS = (
    RouteProgress.SWAPPING,
    RouteProgress.REPLACING,
    RouteProgress.ROLLING_BACK,
    RouteProgress.PROVING,
)
"""The progress of routes that are worked on now."""


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
        image_name: the image of which the routes get new machines; None: they get the release.
    """

    release_tag: ReleaseTag
    scope: ScopeName
    version: DebianVersion
    sizes: tuple[int, ...] = ()
    image_name: ImageName | None = None


class RolloutStanding(Message):
    """What a rollout itself says about its status. The store has its routes.

    Attributes:
        wave: the current wave, from 1; 0 before the first.
        waves: the number of waves.
        detail: the reason for the phase, in one sentence.
        since: start of the phase, UTC.
        to_do: what a person can do, if anything.
    """

    phase: RolloutPhase
    detail: str
    since: datetime
    to_do: str = ""
    wave: int = 0
    waves: int = 0


class RolloutStatus(Message):
    """The current status of a rollout, as the store has it.

    Attributes:
        undo: whether it brings the routes back from the release.
        image_name: the image of which it gives the routes new machines; None: it swaps releases.
        wave: the current wave, from 1; 0 before the first.
        waves: the number of waves.
        routes: each route with its wave and its brief fault; for a large rollout only some of those
            that failed, and those in progress.
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
    image_name: ImageName | None = None

    def count(self, progress: RouteProgress) -> int:
        """Return the number of routes with this progress."""
        return self.counts.get(progress, 0)


class RolloutPace(Message):
    """What decides how fast a rollout goes.

    Attributes:
        max_concurrent: how many routes are changed at once.
        soak: how long each wave runs before its routes are proven again.
        soaks_until: the end of the current soak; None without one.
        disruption_budget, max_concurrent_per_provider, max_concurrent_per_region: the strategy's.
    """

    max_concurrent: int
    soak: timedelta
    soaks_until: datetime | None = None
    disruption_budget: DisruptionBudget = DisruptionBudget()
    max_concurrent_per_provider: int | None = None
    max_concurrent_per_region: int | None = None


class Controls(Message):
    """The operators' commands that apply to a running wave. A new value replaces the old one.

    Attributes:
        paused: start no further routes for now.
        stopped: start no further routes at all.
        max_concurrent: how many routes are changed at once.
        revision: revision counter; a change makes the wave read its routes again.
        hands_over: end now, and return what the next run of the wave continues with.
    """

    paused: bool = False
    stopped: bool = False
    max_concurrent: int
    revision: int = 0
    hands_over: bool = False


class WaveIncident(Message):
    """An incident that a wave keeps when it continues as new.

    Attributes:
        pause: the duration of its last pause.
        until: when that pause ends.
        since: when it began.
        reason: what its faults have in common, in one sentence.
    """

    pause: timedelta
    until: datetime
    since: datetime
    reason: str


class RunningRoute(Message):
    """A route of a wave on which an operation is running.

    Attributes:
        run_id: the operation's, under the workflow id that is the route's lock.
    """

    outcome: RouteOutcome
    run_id: str


class WaveKept(Message):
    """What the next run of a wave continues with.

    Attributes:
        running: the operations that it waits for. They run independently of it.
        incident: the incident that holds the wave; None without one.
        stopped_by: why the wave starts no further route; None if it does.
        kinds: the fault kinds of its failures so far.
    """

    running: tuple[RunningRoute, ...] = ()
    incident: WaveIncident | None = None
    stopped_by: str | None = None
    kinds: tuple[str, ...] = ()


class RolloutStage(StrEnum):
    """What a planned rollout does next with its current wave."""

    SWAP = "swap"
    SOAK = "soak"
    PROVE = "prove"
    GATE = "gate"
    HOLD = "hold"
    NEXT = "next"
    ROLL_BACK = "roll back"
    END = "end"


class RolloutContinued(Message):
    """What a rollout keeps when it continues as new. The store has its routes.

    Attributes:
        stage: of the current wave, which is in `standing`.
        counts: number of routes by progress, when a wave last ended.
        failed: routes that failed in the waves that have ended; of many the first.
        holds: the reasons for which a person has yet to approve, in their order.
        soaks_until: the end of the current soak.
        wave: what the current wave continues with.
        end_phase, end_reason: how it ends; None while it goes forward.
        rolls_back: its routes are still to be rolled back.
        small_wave: how many routes a wave may have that runs in the rollout's workflow.
    """

    release: Release
    plan: RolloutPlan
    stage: RolloutStage
    standing: RolloutStanding
    counts: Mapping[RouteProgress, int]
    controls: Controls
    holds: tuple[str, ...] = ()
    soaks_until: datetime | None = None
    wave: WaveKept | None = None
    end_phase: RolloutPhase | None = None
    end_reason: str = ""
    failed: tuple[RouteOutcome, ...] = ()
    rolls_back: bool = False
    small_wave: int = 0


class RolloutReleaseInput(Message):
    """Bring every route of a scope to a release.

    Attributes:
        undo: instead, bring each route at the release back to its own release from before.
        image_name: instead, give each route a new machine of this image, with the release that it
            has to run. The scope's release is `release_tag`.
        continued: what the run before kept; None at the start.
    """

    release_tag: ReleaseTag
    scope: ScopeName
    origin: Origin
    strategy: Strategy = Strategy()
    undo: bool = False
    image_name: ImageName | None = None
    continued: RolloutContinued | None = None


class ControlInput(Message):
    """An operator's command to a running rollout."""

    origin: Origin


class SkipRoute(ControlInput):
    """Skip a route that has not started or has failed."""

    route_id: RouteId


class SetConcurrency(ControlInput):
    """Change how many routes are changed at once, from now on."""

    max_concurrent: int = Field(ge=1, le=1000)


class Architectures(Message):
    """Debian names of the architectures of a scope's machines, sorted."""

    names: tuple[str, ...]


class PlanRolloutInput(Message):
    """Assign every route of the scope to a wave and store the plan.

    Attributes:
        release: the release to bring them to; of an undo, the one that most go back to.
        image_name: the image of which they get new machines; None: their release is swapped.
    """

    rollout_run_id: str
    release: Release
    scope: ScopeName
    strategy: Strategy
    origin: Origin
    image_name: ImageName | None = None


class PlanUndoInput(PlanRolloutInput):
    """Assign every route at a release to a wave, and store the release that each goes back to."""

    undone: ReleaseTag


class CheckRolloutInput(Message):
    """Resolve a release for a rollout, and run the preflight.

    Attributes:
        checks, undo, roll_back, origin: of the preflight.
    """

    tag: ReleaseTag
    scope: ScopeName
    checks: tuple[CheckName, ...] = ()
    undo: bool = False
    roll_back: bool = True
    origin: Origin


class PreflightInput(Message):
    """Check that a release can be installed in every region of a scope, and rolled back.

    Attributes:
        checks: the checks that will run after each wave.
        undo: the release is older than the one that runs, which need not be installable again.
        roll_back: routes go back to the release that runs if the rollout stops.
        origin: who requested it; with it the dry runs are recorded.
    """

    release: Release
    scope: ScopeName
    checks: tuple[CheckName, ...] = ()
    undo: bool = False
    roll_back: bool = True
    origin: Origin | None = None


class PreflightPassed(Message):
    """The preflight found no obstacle.

    Attributes:
        dry_run_on: the machine that did the dry run in each region, by `PROVIDER/REGION`.
        rollback_tags: the releases that routes would go back to, each still installable.
        plans: what apt would do there, by region.
    """

    dry_run_on: Mapping[str, str]
    rollback_tags: tuple[ReleaseTag, ...]
    plans: Mapping[str, InstallPlan] = {}


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


class Rollout(Message):
    """A rollout as the store knows it.

    Attributes:
        run_id: the rollout's identity: the id of its first run.
        image_name: the image of which it gives the routes new machines; None: it swaps releases.
    """

    workflow_id: str
    run_id: str
    release_tag: ReleaseTag
    scope: ScopeName
    phase: RolloutPhase
    detail: str
    opened_at: datetime
    closed_at: datetime | None = None
    image_name: ImageName | None = None
