"""Rollouts: one release over a scope, wave by wave, behind gates."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from relight.domain.base import Message, Origin
from relight.domain.disruption import DisruptionBudget
from relight.domain.fault.fault import Fault
from relight.domain.names import (
    CheckName,
    ReleaseTag,
    RouteId,
    ScopeName,
)
from relight.domain.release import Release
from relight.domain.rollout.plan import PlannedRollout


def _share_in_range(size: str) -> str:
    if size.endswith("%") and not 1 <= int(size[:-1]) <= 100:
        msg = f"a wave's share is 1% to 100% of the routes, not {size}"
        raise ValueError(msg)
    if re.fullmatch(r"0+", size):
        msg = "a wave has at least 1 route"
        raise ValueError(msg)
    return size


WaveSize = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{1,6}%?$"), AfterValidator(_share_in_range)
]
"""How many routes have been reached when the wave ends: a count, `2`, or a share, `25%`."""


class CanaryRule(StrEnum):
    """What the first wave is.

    `size`: as many routes as the first wave's size says. `strata`: at least one of each provider,
    architecture and track in scope, and no fewer than that size.
    """

    SIZE = "size"
    STRATA = "strata"


class Inconclusive(StrEnum):
    """What a rollout does after a wave that proves neither that a release is good nor bad.

    `hold`: wait for a person. `widen`: take a part of the next wave, at most as many as were
    reached so far, and judge again. `proceed`: take the whole next wave.
    """

    HOLD = "hold"
    WIDEN = "widen"
    PROCEED = "proceed"


class Approval(StrEnum):
    """Where a rollout waits for a person before it goes on.

    `none`: nowhere. `canary`: after its first wave. `waves`: after each.
    """

    NONE = "none"
    CANARY = "canary"
    WAVES = "waves"


class Strategy(Message):
    """How fast a rollout goes, and what it takes to stop it.

    Attributes:
        waves: how far the rollout has come after each wave; what is left makes a last wave.
        max_concurrent: how many routes are changed at once.
        failure_budget: how many routes may fail before it stops: 0 stops at the first.
        roll_back: where it stops or is aborted, bring each route that it touched back to what that
            was proven at before, and prove it.
        canary: what the first wave is.
        disruption_budget: how many routes may be out at once, of each provider, region and track.
        max_concurrent_per_provider: how many routes of one provider are changed at once.
        max_concurrent_per_region: how many routes of one region of a provider are.
        soak: how long a wave is left to run before its routes are proven again and judged.
        tolerated_failure_rate: the share of routes that a good release may fail on, 0 to 1, both
            excluded. None leaves the decision to the failure budget alone; with a rate, the
            failure budget still ends the rollout when it is spent.
        confidence: how sure a verdict about that rate has to be, 0.5 up to but not 1.
        inconclusive: what happens while too few routes were seen for a verdict.
        approval: where it waits for a person.
        checks: what else has to pass after each wave, by its name in the control plane's settings;
            one that does not pass stops it.
    """

    waves: tuple[WaveSize, ...] = ("1", "25%", "100%")
    max_concurrent: int = Field(default=10, ge=1, le=1000)
    failure_budget: int = Field(default=0, ge=0)
    roll_back: bool = False
    canary: CanaryRule = CanaryRule.SIZE
    disruption_budget: DisruptionBudget = DisruptionBudget()
    max_concurrent_per_provider: int | None = Field(default=None, ge=1)
    max_concurrent_per_region: int | None = Field(default=None, ge=1)
    soak: timedelta = Field(default=timedelta(0), ge=timedelta(0))
    tolerated_failure_rate: float | None = Field(default=None, gt=0, lt=1)
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    inconclusive: Inconclusive = Inconclusive.HOLD
    approval: Approval = Approval.NONE
    checks: tuple[CheckName, ...] = ()


class RolloutReleaseInput(Message):
    """Bring every route of a scope to a release."""

    release_tag: ReleaseTag
    scope: ScopeName
    origin: Origin
    strategy: Strategy = Strategy()


class RolloutPhase(StrEnum):
    """Where a rollout is.

    `holding`: it waits for what its detail says, and may go on by itself. `converged`, `stopped`
    (a gate said no), `aborted` and `superseded` (by another rollout of its scope) are its ends.
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
    """Where a route is in a rollout.

    `soaking`: proven, and to be proven again.
    """

    WAITING = "waiting"
    SWAPPING = "swapping"
    CONVERGED = "converged"
    FAILED = "failed"
    ROLLING_BACK = "rolling back"
    ROLLED_BACK = "rolled back"
    NOT_ROLLED_BACK = "not rolled back"
    SOAKING = "soaking"
    PROVING = "proving again"
    SKIPPED = "skipped"
    UNTOUCHED = "untouched"


class RouteOutcome(Message):
    """A route in a rollout."""

    route_id: RouteId
    wave: int
    progress: RouteProgress
    previous_release_tag: ReleaseTag | None = None
    fault: Fault | None = None


class RolloutPlan(PlannedRollout):
    """What a rollout will do, before it does it.

    Attributes:
        sizes: how many routes each wave has. Of a large rollout `waves` names the first ones only.
    """

    release_tag: ReleaseTag
    scope: ScopeName
    version: str
    sizes: tuple[int, ...] = ()


class RolloutStatus(Message):
    """A rollout as it stands.

    Attributes:
        wave: the wave under way, from 1; 0 before the first.
        waves: how many there are.
        routes: each route, with its wave and its fault; of a large rollout those that failed.
        detail: why it stands where it does, in one sentence.
        since: since when it does, UTC.
        to_do: what a person can do about it, where there is something.
        counts: how many routes are at what.
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

    def count(self, progress: RouteProgress) -> int:
        """Count the routes that are at `progress`."""
        return self.counts.get(progress, 0)


class ControlInput(Message):
    """An operator's hand on a rollout."""

    origin: Origin


class SkipRoute(ControlInput):
    """Leave a route out that has not started, or has failed."""

    route_id: RouteId


class SetConcurrency(ControlInput):
    """Change how many routes are changed at once, from now on."""

    max_concurrent: int = Field(ge=1, le=1000)


class OpenRolloutInput(Message):
    """Claim a scope for a rollout: one at a time moves a declaration."""

    release_tag: ReleaseTag
    scope: ScopeName
    origin: Origin


class RolloutOpened(Message):
    """A claim on a scope, or who holds it.

    Attributes:
        rollout: ours; None where another one holds the scope.
        held_by: that other one.
    """

    rollout: "Rollout | None" = None
    held_by: "Rollout | None" = None


class Architectures(Message):
    """Debian's names of the architectures of a scope's machines, sorted."""

    names: tuple[str, ...]


class PlanRolloutInput(Message):
    """Put every route of the scope into a wave, and keep that in the store."""

    release: Release
    scope: ScopeName
    strategy: Strategy
    origin: Origin


class PreflightInput(Message):
    """See that a release can be brought to every region of a scope, and taken back.

    Attributes:
        checks: those that will be asked after each wave.
    """

    release: Release
    scope: ScopeName
    checks: tuple[CheckName, ...] = ()


class PreflightPassed(Message):
    """Nothing stands in the way.

    Attributes:
        asked: the machine that was asked in each region, by `PROVIDER/REGION`.
        rollback_tags: the releases that routes would go back to, each still installable.
    """

    asked: Mapping[str, str]
    rollback_tags: tuple[ReleaseTag, ...]


class RecordDecisionInput(Message):
    """Write down what was decided about a rollout, and why."""

    release_tag: ReleaseTag
    scope: ScopeName
    wave: int
    decision: str
    reason: str
    origin: Origin


class CloseRolloutInput(Message):
    """Write down how a rollout ended and free its scope.

    Attributes:
        promote: make the release what the scope declares from now on.
    """

    release_tag: ReleaseTag
    scope: ScopeName
    phase: RolloutPhase
    detail: str
    origin: Origin
    promote: bool = False


class RecordControlInput(Message):
    """Write down that an operator steered a rollout."""

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
