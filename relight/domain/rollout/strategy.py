"""Strategy: how fast a rollout goes, and what stops it."""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from relight.domain.base import Message
from relight.domain.disruption import DisruptionBudget, count_or_share
from relight.domain.names import CheckName

WaveSize = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,6}%?$"),
    count_or_share("a wave", "a wave has at least 1 route"),
]
"""Number of routes that are changed when the wave ends: a count, `2`, or a share, `25%`."""


def routes_reached(size: WaveSize, routes: int) -> int:
    """Return how many of `routes` are changed when a wave ends; a share is rounded up."""
    goal = -(-routes * int(size[:-1]) // 100) if size.endswith("%") else int(size)
    return min(goal, routes)


def why_not_growing(sizes: Sequence[WaveSize], routes: int | None = None) -> str | None:
    """Return which wave is not larger than an earlier one, for a person; None if all grow.

    A wave that does not grow has no route of its own. Counts are compared with counts, and shares
    with shares. A count and a share can be compared only if the number of routes is known. A share
    may equal a count before it: in a small fleet it is rounded up to that.

    Args:
        sizes: as typed, in their order.
        routes: how many routes there are; None if that is not known.
    """
    for number, size in enumerate(sizes, 1):
        for earlier, before in enumerate(sizes[: number - 1], 1):
            same_unit = size.endswith("%") == before.endswith("%")
            if same_unit and int(size.rstrip("%")) <= int(before.rstrip("%")):
                return f"wave {number} ({size}) is not larger than wave {earlier} ({before})"
            if same_unit or not routes:
                continue
            reached, already = routes_reached(size, routes), routes_reached(before, routes)
            if reached < already or (reached == already and not size.endswith("%")):
                return (
                    f"wave {number} ({size}) is not larger than wave {earlier} ({before}): of "
                    f"{routes} routes they reach {reached} and {already}"
                )
    return None


def _growing(sizes: tuple[WaveSize, ...]) -> tuple[WaveSize, ...]:
    if why := why_not_growing(sizes):
        msg = f"{why}: each wave's size is the number of routes reached when it ends"
        raise ValueError(msg)
    return sizes


WaveSizes = Annotated[tuple[WaveSize, ...], AfterValidator(_growing)]
"""The sizes of waves, in their order. Each is larger than those before it."""


class CanaryRule(StrEnum):
    """How the first wave is chosen.

    `size`: as many routes as the first wave size says. `strata`: at least one route of each
    provider, architecture and track in scope, and no fewer than the first wave size.
    """

    SIZE = "size"
    STRATA = "strata"


class Inconclusive(StrEnum):
    """What a rollout does when a wave proves the release neither good nor bad.

    `hold`: wait for a person. `widen`: take a part of the next wave, no larger than the number of
    routes reached so far, and judge again. `proceed`: take the whole next wave.
    """

    HOLD = "hold"
    WIDEN = "widen"
    PROCEED = "proceed"


class Approval(StrEnum):
    """After which waves a rollout waits for a person to approve.

    `none`: no wave. `canary`: the first wave. `waves`: every wave.
    """

    NONE = "none"
    CANARY = "canary"
    WAVES = "waves"


class Strategy(Message):
    """How fast a rollout goes, and what stops it.

    Attributes:
        waves: how many routes are changed when each wave ends; a last wave takes the rest.
        max_concurrent: how many routes are changed at once.
        failure_budget: how many routes may fail; one more stops the rollout. 0 stops at the first.
        roll_back: when the rollout stops or is aborted, bring each changed route back to the
            release that it was proven at before this rollout, and prove it.
        canary: how the first wave is chosen.
        disruption_budget: how many routes may be out at once, per provider, region and track.
        max_concurrent_per_provider: how many routes of one provider are changed at once.
        max_concurrent_per_region: how many routes of one region of a provider are changed at once.
        soak: how long a wave runs before its routes are proven again and judged.
        tolerated_failure_rate: the share of routes that may fail with a good release, between 0
            and 1, both excluded. None: only the failure budget decides. With a rate, a spent
            failure budget still stops the rollout.
        confidence: required confidence of a verdict about that rate, from 0.5 to below 1.
        inconclusive: what happens while there are too few results for a verdict.
        approval: after which waves a person has to approve.
        incident_limit: how long a fault outside of hosts may hold the rollout before it is paused
            and a person has to decide.
        checks: names of further checks that run after each wave, as in the control plane's
            settings. A check that fails stops the rollout.
    """

    waves: WaveSizes = ("1", "25%", "100%")
    max_concurrent: int = Field(default=10, ge=1, le=1000)
    failure_budget: int = Field(default=0, ge=0)
    roll_back: bool = True
    canary: CanaryRule = CanaryRule.SIZE
    disruption_budget: DisruptionBudget = DisruptionBudget()
    max_concurrent_per_provider: int | None = Field(default=None, ge=1)
    max_concurrent_per_region: int | None = Field(default=None, ge=1)
    soak: timedelta = Field(default=timedelta(0), ge=timedelta(0))
    tolerated_failure_rate: float | None = Field(default=None, gt=0, lt=1)
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    inconclusive: Inconclusive = Inconclusive.HOLD
    approval: Approval = Approval.NONE
    incident_limit: timedelta = Field(default=timedelta(hours=1), gt=timedelta(0))
    checks: tuple[CheckName, ...] = ()


UNDO_STRATEGY = Strategy(
    waves=("5%", "100%"), max_concurrent=1000, failure_budget=3, roll_back=False
)
"""How an undo goes. Each release is a known one, so it takes few waves, does not soak, and brings
back as many routes at once as the disruption budget allows."""
