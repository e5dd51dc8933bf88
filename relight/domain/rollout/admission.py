"""Which routes of a wave may start now."""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from datetime import datetime

from relight.domain.disruption import (
    Census,
    Group,
    GroupKind,
    Ledger,
)
from relight.domain.hold import FreezeWindow, freezes_of, thaws_at
from relight.domain.names import RouteId
from relight.domain.rollout.rollout import Strategy


def next_starts(
    remaining: Sequence[RouteId],
    in_flight: Iterable[RouteId],
    census: Census,
    strategy: Strategy,
    freezes: Sequence[FreezeWindow],
    now: datetime,
) -> tuple[RouteId, ...]:
    """Return those of a wave's remaining routes that may start now, in the order of their turn.

    A route that may not start does not stand in the way of those behind it.

    Args:
        remaining: what of the wave was not started yet, in the order of its turn.
        in_flight: what was started, and has not ended.
        census: the whole fleet as it is now.
        strategy: its disruption budget and its limits of concurrency are kept.
        freezes: no route that one of them covers now is started.
        now: the instant that is asked about, with its time zone.
    """
    window = Admission(census, strategy, freezes, in_flight)
    window.enter(remaining)
    return window.start(now)


class Admission:
    """The routes under way, and those that wait for their turn.

    It answers what `next_starts` answers, event by event, and does not look through all that wait
    each time: routes that only the same things can hold up stand in one queue, and a queue that is
    held up is looked at again when one of the groups that it counts in changes.

    Attributes:
        ledger: what is out, whatever took it out.
    """

    def __init__(
        self,
        census: Census,
        strategy: Strategy,
        freezes: Sequence[FreezeWindow] = (),
        in_flight: Iterable[RouteId] = (),
    ) -> None:
        self.ledger = Ledger(census, strategy.disruption_budget)
        self._census = census
        self._freezes = freezes
        self._most = strategy.max_concurrent
        self._caps = {
            GroupKind.PROVIDER: strategy.max_concurrent_per_provider,
            GroupKind.REGION: strategy.max_concurrent_per_region,
            GroupKind.TRACK: None,
        }
        # A dictionary for its order: a workflow that walks through it does the same at each replay.
        self._in_flight: dict[RouteId, None] = {}
        self._under_way: Counter[Group] = Counter()
        self._entered = 0
        self._waiting = 0
        self._ready: list[_Queue] = []
        self._held: defaultdict[Group, list[_Queue]] = defaultdict(list)
        self._frozen: list[tuple[datetime, int, _Queue]] = []
        for route_id in in_flight:
            self._take_off(route_id)

    @property
    def waiting(self) -> int:
        """How many routes wait for their turn."""
        return self._waiting

    @property
    def in_flight(self) -> tuple[RouteId, ...]:
        """The routes that were started, and have not ended, in the order of their start."""
        return tuple(self._in_flight)

    @property
    def thaws_at(self) -> datetime | None:
        """When the next freeze ends that held a route up at the last start; None without any."""
        return self._frozen[0][0] if self._frozen else None

    @property
    def held_up_by(self) -> tuple[str, ...]:
        """What held routes up at the last start, freezes apart: a few words for each group."""
        return tuple(self._limit_text(group) for group in sorted(self._held))

    def enter(self, routes: Iterable[RouteId]) -> None:
        """Let routes wait for their turn, behind those that wait already.

        Raises:
            KeyError: the census does not know one of them.
        """
        queues: dict[tuple[tuple[Group, ...], bool, tuple[FreezeWindow, ...]], _Queue] = {}
        for route_id in routes:
            groups = self._census.groups[route_id]
            windows: tuple[FreezeWindow, ...] = ()
            if self._freezes:
                windows = freezes_of(self._census.routes[route_id], self._freezes)
            is_out = self.ledger.is_out(route_id)
            alike = (groups, is_out, windows)
            if alike not in queues:
                queues[alike] = _Queue(groups, is_out, windows)
            queues[alike].places.append((self._entered, route_id))
            self._entered += 1
            self._waiting += 1
        for queue in queues.values():
            heapq.heappush(self._ready, queue)

    def start(self, now: datetime) -> tuple[RouteId, ...]:
        """Return the routes that may start now, in the order of their turn; they are under way."""
        while self._frozen and self._frozen[0][0] <= now:
            heapq.heappush(self._ready, heapq.heappop(self._frozen)[-1])
        started: list[RouteId] = []
        while self._ready and len(self._in_flight) < self._most:
            queue = heapq.heappop(self._ready)
            if queue.freezes and (thaw := thaws_at(queue.freezes, now)):
                heapq.heappush(self._frozen, (thaw, queue.places[0][0], queue))
            elif group := self._holding(queue):
                self._held[group].append(queue)
            else:
                _, route_id = queue.places.popleft()
                self._waiting -= 1
                self._take_off(route_id)
                started.append(route_id)
                if queue.places:
                    heapq.heappush(self._ready, queue)
        return tuple(started)

    def finish(self, route_id: RouteId, *, proven: bool) -> None:
        """Say that a route has ended. One that was not proven stays out."""
        del self._in_flight[route_id]
        for group in self._census.groups[route_id]:
            self._under_way[group] -= 1
        if proven:
            self.ledger.bring_back(route_id)
        self._look_again(route_id)

    def bring_back(self, route_id: RouteId) -> None:
        """Say that a route which stayed out serves again, as after it was rolled back."""
        self.ledger.bring_back(route_id)
        self._look_again(route_id)

    def _take_off(self, route_id: RouteId) -> None:
        self._in_flight[route_id] = None
        for group in self._census.groups[route_id]:
            self._under_way[group] += 1
        self.ledger.take_out(route_id)

    def _holding(self, queue: "_Queue") -> Group | None:
        """Return a group of the queue's that lets no further route go, None if all do."""
        for group in queue.groups:
            cap = self._caps[group.kind]
            if cap is not None and self._under_way[group] >= cap:
                return group
            # A route that is out already takes nothing more away.
            if not queue.is_out and self.ledger.is_spent(group):
                return group
        return None

    def _limit_text(self, group: Group) -> str:
        if self.ledger.is_spent(group):
            limit = self.ledger.limit(group)
            return f"{group}: {self.ledger.count(group)} are out, {limit} may be"
        under_way, cap = self._under_way[group], self._caps[group.kind]
        return f"{group}: {under_way} are under way, {cap} may be"

    def _look_again(self, route_id: RouteId) -> None:
        for group in self._census.groups[route_id]:
            for queue in self._held.pop(group, ()):
                heapq.heappush(self._ready, queue)


class _Queue:
    """Routes that only the same things can hold up, each with its place in the whole order."""

    __slots__ = ("freezes", "groups", "is_out", "places")

    def __init__(
        self, groups: tuple[Group, ...], is_out: bool, freezes: tuple[FreezeWindow, ...]
    ) -> None:
        self.groups = groups
        self.is_out = is_out
        self.freezes = freezes
        self.places: deque[tuple[int, RouteId]] = deque()

    def __lt__(self, other: "_Queue") -> bool:
        return self.places[0] < other.places[0]
