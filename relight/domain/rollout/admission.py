"""Admission: which routes of a wave may start now."""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from datetime import datetime

from relight.domain.disruption import (
    BudgetUsage,
    Census,
    Group,
    GroupKind,
)
from relight.domain.hold import Hold, freezes_of, thaws_at
from relight.domain.names import RouteId
from relight.domain.rollout.strategy import Strategy


def next_starts(
    remaining: Sequence[RouteId],
    in_flight: Iterable[RouteId],
    census: Census,
    strategy: Strategy,
    freezes: Sequence[Hold],
    now: datetime,
) -> tuple[RouteId, ...]:
    """Return the routes of a wave that may start now, in their order.

    A route that may not start does not block the routes behind it.

    Args:
        remaining: the wave's routes that have not started, in their order.
        in_flight: routes that have started and not ended.
        census: the whole fleet now.
        strategy: its disruption budget and concurrency limits apply.
        freezes: no frozen route is started.
        now: the current time, with its time zone.
    """
    admission = Admission(census, strategy, freezes, in_flight)
    admission.enter(remaining)
    return admission.start(now)


class Admission:
    """The routes in flight, and the queues of routes that wait to start.

    It gives the same answers as `next_starts`, but incrementally, without a scan of all waiting
    routes: routes with the same limits share a queue, and a blocked queue is examined again only
    when one of its groups changes.

    With `limits_under_way` the budget also limits how many routes are under way, those included
    that were out before.

    Attributes:
        usage: the routes that are out, whatever took them out.
    """

    def __init__(
        self,
        census: Census,
        strategy: Strategy,
        freezes: Sequence[Hold] = (),
        in_flight: Iterable[RouteId] = (),
        *,
        limits_under_way: bool = False,
    ) -> None:
        self._limits_under_way = limits_under_way
        self.usage = BudgetUsage(census, strategy.disruption_budget)
        self._census = census
        self._freezes = freezes
        self._max_in_flight = strategy.max_concurrent
        self._caps = {
            GroupKind.PROVIDER: strategy.max_concurrent_per_provider,
            GroupKind.REGION: strategy.max_concurrent_per_region,
            GroupKind.TRACK: None,
        }
        # A dictionary keeps the order, so that a workflow is deterministic at replay.
        self._in_flight: dict[RouteId, None] = {}
        self._under_way: Counter[Group] = Counter()
        self._entered = 0
        self._waiting = 0
        self._ready: list[tuple[int, _Queue]] = []
        self._blocked: defaultdict[Group, list[_Queue]] = defaultdict(list)
        self._frozen: list[tuple[datetime, int, _Queue]] = []
        for route_id in in_flight:
            self._begin(route_id)

    @property
    def waiting(self) -> int:
        """How many routes wait to start."""
        return self._waiting

    @property
    def in_flight(self) -> tuple[RouteId, ...]:
        """The routes that have started and not ended, in the order of their start."""
        return tuple(self._in_flight)

    @property
    def thaws_at(self) -> datetime | None:
        """When the first freeze ends that blocked a route at the last start; None without one."""
        return self._frozen[0][0] if self._frozen else None

    @property
    def limited_by(self) -> tuple[str, ...]:
        """The limits, without freezes, that blocked routes at the last start; a text per group."""
        return tuple(self._limit_text(group) for group in sorted(self._blocked))

    def enter(self, routes: Iterable[RouteId]) -> None:
        """Add routes behind those that wait already.

        Raises:
            KeyError: the census does not contain one of them.
        """
        queues: dict[tuple[tuple[Group, ...], bool, tuple[Hold, ...]], _Queue] = {}
        for route_id in routes:
            groups = self._census.groups[route_id]
            windows: tuple[Hold, ...] = ()
            if self._freezes:
                windows = freezes_of(self._census.routes[route_id], self._freezes)
            is_out = self.usage.is_out(route_id)
            key = (groups, is_out, windows)
            if key not in queues:
                queues[key] = _Queue(groups, is_out, windows)
            queues[key].positions.append((self._entered, route_id))
            self._entered += 1
            self._waiting += 1
        for queue in queues.values():
            self._make_ready(queue)

    def start(self, now: datetime) -> tuple[RouteId, ...]:
        """Return the routes that may start now, in their order, and count them as in flight."""
        while self._frozen and self._frozen[0][0] <= now:
            self._make_ready(heapq.heappop(self._frozen)[-1])
        started: list[RouteId] = []
        while self._ready and len(self._in_flight) < self._max_in_flight:
            _, queue = heapq.heappop(self._ready)
            if queue.freezes and (thaw := thaws_at(queue.freezes, now)):
                heapq.heappush(self._frozen, (thaw, queue.positions[0][0], queue))
            elif group := self._blocking_group(queue):
                self._blocked[group].append(queue)
            else:
                _, route_id = queue.positions.popleft()
                self._waiting -= 1
                self._begin(route_id)
                started.append(route_id)
                if queue.positions:
                    self._make_ready(queue)
        return tuple(started)

    def finish(self, route_id: RouteId, *, proven: bool) -> None:
        """Record that a route has ended. A route that was not proven stays out."""
        del self._in_flight[route_id]
        for group in self._census.groups[route_id]:
            self._under_way[group] -= 1
        if proven:
            self.usage.bring_back(route_id)
        self._unblock(route_id)

    def bring_back(self, route_id: RouteId) -> None:
        """Record that a route that stayed out serves again, for example after a rollback."""
        self.usage.bring_back(route_id)
        self._unblock(route_id)

    def _begin(self, route_id: RouteId) -> None:
        self._in_flight[route_id] = None
        for group in self._census.groups[route_id]:
            self._under_way[group] += 1
        self.usage.take_out(route_id)

    def _blocking_group(self, queue: "_Queue") -> Group | None:
        """Return a group of the queue that allows no further route to start, else None."""
        for group in queue.groups:
            cap = self._caps[group.kind]
            if cap is not None and self._under_way[group] >= cap:
                return group
            if self._is_filled(group):
                return group
            # A route that is already out does not use more of the budget.
            if not queue.is_out and self.usage.is_spent(group):
                return group
        return None

    def _is_filled(self, group: Group) -> bool:
        """Return whether as many routes are under way as the budget lets out."""
        limit = self.usage.limit(group) if self._limits_under_way else None
        return limit is not None and self._under_way[group] >= limit

    def _limit_text(self, group: Group) -> str:
        limit = self.usage.limit(group)
        if self.usage.is_spent(group):
            return f"{group}: {self.usage.count(group)} are out, {limit} may be"
        if self._is_filled(group):
            return f"{group}: {self._under_way[group]} are under way, {limit} may be"
        under_way, cap = self._under_way[group], self._caps[group.kind]
        return f"{group}: {under_way} are under way, {cap} may be"

    def _unblock(self, route_id: RouteId) -> None:
        for group in self._census.groups[route_id]:
            for queue in self._blocked.pop(group, ()):
                self._make_ready(queue)

    def _make_ready(self, queue: "_Queue") -> None:
        heapq.heappush(self._ready, (queue.positions[0][0], queue))


class _Queue:
    """Routes with the same limits, each with its position in the whole order."""

    __slots__ = ("freezes", "groups", "is_out", "positions")

    def __init__(self, groups: tuple[Group, ...], is_out: bool, freezes: tuple[Hold, ...]) -> None:
        self.groups = groups
        self.is_out = is_out
        self.freezes = freezes
        self.positions: deque[tuple[int, RouteId]] = deque()
