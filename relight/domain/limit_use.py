"""Limits on what is taken away from the fleet: how much of each is used, and when some is free."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

from pydantic import AwareDatetime, Field

from relight.domain.base import Message
from relight.domain.breaker.breaker import BreakerLimits, Destruction
from relight.domain.destruction import HOUR, frees_at
from relight.domain.disruption import BudgetUsage, Census, DisruptionBudget, Group

FLEET = "fleet"


class LimitKind(StrEnum):
    """What a limit is about.

    `destroyed per hour`: machines. `out at once`: routes, by the disruption budget.
    """

    DESTROYED = "destroyed per hour"
    OUT = "out at once"


class LimitUse(Message):
    """A limit, and how much of it is used now.

    Attributes:
        group: `fleet`, `provider P`, `region P/R` or `track T`.
        used: machines that were destroyed within the hour, or routes that are out.
        limit: how many may be.
        frees_at: when the next one may follow, or the oldest one no longer counts; None if none is
            used, or if only the end of an operation frees it.
        frees: what frees it, for a person; empty if none is used.
    """

    kind: LimitKind
    group: str
    used: int = Field(ge=0)
    limit: int = Field(ge=0)
    frees_at: AwareDatetime | None = None
    frees: str = ""


def destruction_uses(
    destructions: Iterable[Destruction], limits: BreakerLimits, now: datetime
) -> tuple[LimitUse, ...]:
    """Return the hourly limits: that of the fleet, and that of each region in which one is used.

    Args:
        destructions: those of the last hour, and those in progress.
        limits: how many may be destroyed.
        now: the current time, with its time zone.
    """
    fleet: list[datetime] = []
    regions: defaultdict[str, list[datetime]] = defaultdict(list)
    for each in sorted(destructions, key=lambda destruction: destruction.at):
        if now - each.at < HOUR:
            fleet.append(each.at)
            regions[f"region {each.provider}/{each.region}"].append(each.at)
    in_region = limits.destroyed_per_hour_in_region
    return (
        _destroyed(FLEET, fleet, limits.destroyed_per_hour),
        *(_destroyed(group, regions[group], in_region) for group in sorted(regions)),
    )


def disruption_uses(census: Census, budget: DisruptionBudget) -> tuple[LimitUse, ...]:
    """Return the limit of each group of routes that the budget limits, sorted by its name.

    Args:
        census: the whole fleet, with every route that is out.
        budget: how many routes may be out at once.
    """
    usage = BudgetUsage(census, budget)
    out: defaultdict[Group, list[str]] = defaultdict(list)
    for route_id in sorted(census.out):
        for group in census.groups[route_id]:
            out[group].append(route_id)
    return tuple(
        LimitUse(
            kind=LimitKind.OUT,
            group=str(group),
            used=usage.count(group),
            limit=limit,
            frees=_back_text(out[group]),
        )
        for group in sorted(census.in_service)
        if (limit := usage.limit(group)) is not None
    )


def _destroyed(group: str, destroyed: Sequence[datetime], limit: int) -> LimitUse:
    at = frees_at(destroyed, limit)
    return LimitUse(
        kind=LimitKind.DESTROYED,
        group=group,
        used=len(destroyed),
        limit=limit,
        frees_at=at,
        frees=f"at {at:%H:%M} UTC" if at else "",
    )


def _back_text(out: Sequence[str]) -> str:
    if not out:
        return ""
    more = f" or one of {len(out) - 1} more" if len(out) > 1 else ""
    return f"when {out[0]}{more} is proven again"
