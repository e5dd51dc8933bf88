"""Disruption budgets: how many routes may be out of service at once.

One count for every operation that takes routes out. A route is out from the start of an operation
on it until it is proven again; a route whose operation failed stays out.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, StringConstraints

from relight.domain.base import Message, Origin
from relight.domain.names import RouteId
from relight.domain.route import Located, Route, RouteStatus


def count_or_share(of: str, zero: str) -> AfterValidator:
    """Return the validator of a count, `2`, or of a share of routes, `10%`, neither of them zero.

    Args:
        of: whose size it is, for the error.
        zero: the error for a count of zero.
    """

    def validate(size: str) -> str:
        if size.endswith("%") and not 1 <= int(size[:-1]) <= 100:
            msg = f"{of}'s share is 1% to 100% of the routes, not {size}"
            raise ValueError(msg)
        if re.fullmatch(r"0+", size):
            raise ValueError(zero)
        return size

    return AfterValidator(validate)


_ZERO_BUDGET = "a disruption budget lets at least 1 route out: to forbid all, use a freeze window"

BudgetSize = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,6}%?$"),
    count_or_share("a disruption budget", _ZERO_BUDGET),
]
"""How many routes may be out at once: a count, `2`, or a share of those in service, `10%`."""


class DisruptionBudget(Message):
    """How many routes may be out at once, whatever took them out. None sets no limit.

    A share is rounded down, but to no less than one route: with zero, nothing could be changed in
    place.

    Attributes:
        provider: limit for each provider.
        region: limit for each region of a provider.
        track: limit for each track.
    """

    provider: BudgetSize | None = None
    region: BudgetSize | None = None
    track: BudgetSize | None = None


class TakeDisruptionInput(Message):
    """Take a route out within the disruption budgets of reconciliation; or refuse."""

    route_id: RouteId
    reason: str
    origin: Origin


NOT_IN_SERVICE = frozenset({RouteStatus.PROVISIONING, RouteStatus.FAILED, RouteStatus.RETIRED})
"""Statuses of routes that are not meant to serve: they count neither as capacity nor as out."""


class GroupKind(StrEnum):
    """What a disruption budget applies to."""

    PROVIDER = "provider"
    REGION = "region"
    TRACK = "track"


class Group(NamedTuple):
    """The routes of one provider, one of its regions, or one track.

    Attributes:
        name: for a region `PROVIDER/REGION`, since two providers may use the same region name.
    """

    kind: GroupKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def groups_of(route: Located) -> tuple[Group, ...]:
    """Return the groups of a route: its provider, region and track."""
    return groups_named(route.provider, route.region, route.track)


def groups_named(provider: str, region: str, track: str) -> tuple[Group, ...]:
    """Return the groups of a provider, region and track."""
    return (
        Group(GroupKind.PROVIDER, provider),
        Group(GroupKind.REGION, f"{provider}/{region}"),
        Group(GroupKind.TRACK, track),
    )


def max_out(size: BudgetSize, routes: int) -> int:
    """Return how many of `routes` may be out at once: a share is rounded down, at least 1."""
    if size.endswith("%"):
        return max(1, routes * int(size[:-1]) // 100)
    return int(size)


@dataclass(frozen=True)
class Census:
    """Counts of a fleet at one time.

    Attributes:
        routes: every route, by id.
        groups: the groups of each route, by its id.
        in_service: number of routes of each group that ever served; shares refer to it.
        out: the routes among them that are out now.
    """

    routes: Mapping[RouteId, Located]
    groups: Mapping[RouteId, tuple[Group, ...]]
    in_service: Mapping[Group, int]
    out: frozenset[RouteId]


def take_census(fleet: Iterable[Route]) -> Census:
    """Count a fleet.

    Args:
        fleet: the whole fleet, not only a rollout's scope: all operations share the budgets.
    """
    routes = {route.route_id: route for route in fleet}
    groups = {route_id: groups_of(route) for route_id, route in routes.items()}
    serving = [route for route in routes.values() if route.status not in NOT_IN_SERVICE]
    return Census(
        routes=routes,
        groups=groups,
        in_service=Counter(group for route in serving for group in groups[route.route_id]),
        out=frozenset(
            route.route_id for route in serving if route.status is not RouteStatus.SERVING
        ),
    )


class BudgetUsage:
    """The routes that are out, counted by group and compared with a disruption budget."""

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
            group: max_out(size, census.in_service[group])
            for group in {group for groups in census.groups.values() for group in groups}
            if (size := sizes[group.kind]) is not None
        }

    def is_out(self, route_id: RouteId) -> bool:
        """Return whether a route is out."""
        return route_id in self._out

    def count(self, group: Group) -> int:
        """Return how many routes of a group are out."""
        return self._counts[group]

    def limit(self, group: Group) -> int | None:
        """Return how many routes of a group may be out at once, None without a limit."""
        return self._limits.get(group)

    def is_spent(self, group: Group) -> bool:
        """Return whether no further route of a group may be taken out."""
        limit = self._limits.get(group)
        return limit is not None and self._counts[group] >= limit

    def take_out(self, route_id: RouteId) -> None:
        """Count a route as out. A route that is already out is not counted twice."""
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
