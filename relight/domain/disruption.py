"""Disruption budgets: how many routes may be out of service at once."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, StringConstraints

from relight.domain.base import Message, Origin
from relight.domain.names import RouteId
from relight.domain.route import Route, RouteStatus


def _lets_one_go(size: str) -> str:
    if size.endswith("%") and not 1 <= int(size[:-1]) <= 100:
        msg = f"a disruption budget's share is 1% to 100% of the routes, not {size}"
        raise ValueError(msg)
    if re.fullmatch(r"0+", size):
        msg = "a disruption budget lets at least 1 route out: to forbid all, use a freeze window"
        raise ValueError(msg)
    return size


BudgetSize = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{1,6}%?$"), AfterValidator(_lets_one_go)
]
"""How many routes may be out at once: a count, `2`, or a share of those in service, `10%`."""


class DisruptionBudget(Message):
    """How many routes may be out at once, whatever took them out. None sets no limit.

    A share is rounded down, so that it is never exceeded, but to no less than one route: where
    none may ever be out, nothing can be changed in place.

    Attributes:
        provider: of each provider's routes.
        region: of the routes in each region of a provider.
        track: of each track's routes.
    """

    provider: BudgetSize | None = None
    region: BudgetSize | None = None
    track: BudgetSize | None = None


class TakeDisruptionInput(Message):
    """Take a route out within the budgets that reconciliation keeps; or refuse."""

    route_id: RouteId
    reason: str
    origin: Origin


NOT_YET_IN_SERVICE = frozenset({RouteStatus.PROVISIONING, RouteStatus.FAILED})
"""Routes that never served anybody: no capacity is lost with them, and none is counted on."""


class GroupKind(StrEnum):
    """What a disruption budget is set for."""

    PROVIDER = "provider"
    REGION = "region"
    TRACK = "track"


class Group(NamedTuple):
    """The routes of one provider, one of its regions, or one track.

    Attributes:
        name: a region's is `PROVIDER/REGION`: two providers may call theirs the same.
    """

    kind: GroupKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def groups_of(route: Route) -> tuple[Group, ...]:
    """Return the groups that a route counts in: its provider, its region, its track."""
    return groups_named(route.provider, route.region, route.track)


def groups_named(provider: str, region: str, track: str) -> tuple[Group, ...]:
    """Return the groups that routes of this provider, region and track count in."""
    return (
        Group(GroupKind.PROVIDER, provider),
        Group(GroupKind.REGION, f"{provider}/{region}"),
        Group(GroupKind.TRACK, track),
    )


def may_be_out(size: BudgetSize, routes: int) -> int:
    """Return how many of `routes` a budget lets out at once: a share rounded down, at least 1."""
    if size.endswith("%"):
        return max(1, routes * int(size[:-1]) // 100)
    return int(size)


@dataclass(frozen=True)
class Census:
    """A fleet, counted once.

    Attributes:
        routes: every route, by id.
        groups: the groups that each counts in.
        in_service: how many routes of each group have ever served: what shares are shares of.
        out: those of them that are out now.
    """

    routes: Mapping[RouteId, Route]
    groups: Mapping[RouteId, tuple[Group, ...]]
    in_service: Mapping[Group, int]
    out: frozenset[RouteId]


def take_census(fleet: Iterable[Route]) -> Census:
    """Count a fleet.

    Args:
        fleet: all routes that share providers, regions and tracks with those to be changed, not
            only a rollout's own: a budget is a provider's, whoever uses it.
    """
    routes = {route.route_id: route for route in fleet}
    groups = {route_id: groups_of(route) for route_id, route in routes.items()}
    serving = [route for route in routes.values() if route.status not in NOT_YET_IN_SERVICE]
    return Census(
        routes=routes,
        groups=groups,
        in_service=Counter(group for route in serving for group in groups[route.route_id]),
        out=frozenset(
            route.route_id for route in serving if route.status is not RouteStatus.SERVING
        ),
    )


class Ledger:
    """The routes that are out, counted by group, against a budget."""

    def __init__(self, census: Census, budget: DisruptionBudget) -> None:
        self._census = census
        self._out = set(census.out)
        self._counts = Counter(group for each in census.out for group in census.groups[each])
        sizes = {
            GroupKind.PROVIDER: budget.provider,
            GroupKind.REGION: budget.region,
            GroupKind.TRACK: budget.track,
        }
        self._limits = {
            group: may_be_out(size, census.in_service[group])
            for group in {group for groups in census.groups.values() for group in groups}
            if (size := sizes[group.kind]) is not None
        }

    def is_out(self, route_id: RouteId) -> bool:
        """Say whether a route is out."""
        return route_id in self._out

    def count(self, group: Group) -> int:
        """Return how many routes of a group are out."""
        return self._counts[group]

    def limit(self, group: Group) -> int | None:
        """Return how many routes of a group may be out at once, None where there is no limit."""
        return self._limits.get(group)

    def is_spent(self, group: Group) -> bool:
        """Say whether no further route of a group may be taken out."""
        limit = self._limits.get(group)
        return limit is not None and self._counts[group] >= limit

    def take_out(self, route_id: RouteId) -> None:
        """Count a route as out; one that is already out is not counted twice."""
        if route_id not in self._out:
            self._out.add(route_id)
            for group in self._census.groups[route_id]:
                self._counts[group] += 1

    def bring_back(self, route_id: RouteId) -> None:
        """Count a route as in service again."""
        if route_id in self._out:
            self._out.remove(route_id)
            for group in self._census.groups[route_id]:
                self._counts[group] -= 1


# MERGEDOC """Which routes are out of service, and how many more may be taken out.
#
# One ledger for whatever takes routes out. A route is out from the moment that an operation on it
# starts until it is proven again; one that fails stays out.
# """
