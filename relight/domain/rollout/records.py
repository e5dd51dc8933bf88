"""What is written about a rollout: its claim on a scope, its standing, decisions, controls, end.

`rollout_run_id` is the rollout's identity in each: the id of its first run.
"""

from relight.domain.base import Message, Origin
from relight.domain.image.image import ImageName
from relight.domain.names import ReleaseTag, RouteId, ScopeName
from relight.domain.release import Release
from relight.domain.rollout.rollout import (
    PlanRolloutInput,
    Rollout,
    RolloutPhase,
    RolloutPlan,
    RolloutStanding,
    RolloutStatus,
)
from relight.domain.rollout.wave import JoinLateInput


class OpenRolloutInput(Message):
    """Claim a scope for a rollout. A scope has one open rollout at a time.

    Attributes:
        release: what its tag means in the fleet from then on; None: what it means already.
        image_name: the image of a rollout that replaces machines; None: it swaps releases.
        plan: what is planned as soon as the scope is claimed; None: nothing.
    """

    rollout_run_id: str
    release_tag: ReleaseTag
    scope: ScopeName
    origin: Origin
    release: Release | None = None
    image_name: ImageName | None = None
    plan: PlanRolloutInput | None = None


class RolloutOpened(Message):
    """The result of a claim on a scope.

    Attributes:
        rollout: ours; None if another rollout holds the scope.
        held_by: that other rollout.
        plan: its plan, if one was to be made.
        standing: what was recorded with the plan: the first wave begins.
        small_wave: how many routes a wave may have that runs in the rollout's workflow; 0: none, as
            when older rollouts opened.
    """

    rollout: Rollout | None = None
    held_by: Rollout | None = None
    plan: RolloutPlan | None = None
    standing: RolloutStanding | None = None
    small_wave: int = 0


class RecordDecisionInput(Message):
    """Record a decision about a rollout and its reason.

    Attributes:
        join: what is done next after the last wave: adding the routes that have joined since.
    """

    rollout_run_id: str
    release_tag: ReleaseTag
    scope: ScopeName
    wave: int
    decision: str
    reason: str
    origin: Origin
    join: JoinLateInput | None = None


class RecordStandingInput(Message):
    """Record the standing of an open rollout."""

    rollout_run_id: str
    standing: RolloutStanding


class CloseRolloutInput(Message):
    """Record how a rollout ended, and free its scope.

    Attributes:
        promote: declare the release for the scope from now on.
    """

    rollout_run_id: str
    release_tag: ReleaseTag
    scope: ScopeName
    phase: RolloutPhase
    detail: str
    origin: Origin
    wave: int = 0
    waves: int = 0
    promote: bool = False


class RolloutClosed(Message):
    """A rollout has ended.

    Attributes:
        status: its last status; None if it never claimed its scope.
    """

    status: RolloutStatus | None


class RecordControlInput(Message):
    """Record an operator's command to a rollout.

    Attributes:
        action: the command, as in `set-concurrency`.
        route_id: the route that it is about; None if it is about no single one.
        max_concurrent: how many routes are changed at once from now on; None if that is the same.
    """

    rollout_run_id: str
    release_tag: ReleaseTag
    scope: ScopeName
    action: str
    origin: Origin
    route_id: RouteId | None = None
    max_concurrent: int | None = None
