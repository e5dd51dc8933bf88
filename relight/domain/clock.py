"""Times of the future: what a wrong clock, ours or another worker's, has left in our records.

A time of the future is no evidence: when it really was is unknown. A proof counts as none, so that
the host is verified again; a permission counts as not given; a restriction holds. It is told as one
incident, since until a person has found the clock, more such times may follow.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from relight.domain.breaker.breaker import ConnectivityResult
from relight.domain.fault.fault import Fault
from relight.domain.fault.table import fault
from relight.domain.hold import Hold, HoldKind
from relight.domain.pool.pool import PoolMachine
from relight.domain.route import Route
from relight.domain.route_history import RouteHistory

WRONG = "clock-wrong"

TOLERANCE = timedelta(minutes=1)
"""By so much the clocks of workers may differ."""

_NAMED = 3

H = TypeVar("H", bound=Hold)


def is_future(at: datetime | None, now: datetime) -> bool:
    """Return whether a recorded time is later than now, by more than clocks differ."""
    return at is not None and at > now + TOLERANCE


class FutureTimes:
    """Takes the times of the future out of what was read, and remembers where they were."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._found: dict[str, datetime] = {}

    def of_route(self, route: Route) -> Route:
        """Return a route; one that was proven in the future has no proof."""
        if not self._is_future(route.proven_at, f"the proof of route {route.route_id}"):
            return route
        return route.model_copy(update={"proven_at": None})

    def of_pool_machine(self, machine: PoolMachine) -> PoolMachine:
        """Return a pool machine without a proof and without faults of the future."""
        about = f"a fault of machine {machine.key}"
        faults = tuple(each for each in machine.faults if not self._is_future(each.at, about))
        changes: dict[str, object] = {"faults": faults}
        if self._is_future(machine.proven_at, f"the proof of machine {machine.key}"):
            changes["proven_at"] = None
        self.note(machine.since, f"the status of machine {machine.key}")
        return machine.model_copy(update=changes)

    def of_history(self, history: RouteHistory) -> RouteHistory:
        """Return a history without what happened in the future. A replacement counts as now."""
        about = f"an event of route {history.route_id}"
        changes: dict[str, object] = {
            "faults": tuple(each for each in history.faults if not self._is_future(each.at, about)),
            "repairs": tuple(each for each in history.repairs if not self._is_future(each, about)),
            "replacements": tuple(
                self._now if self._is_future(each, about) else each for each in history.replacements
            ),
        }
        for name in ("proven_at", "gone_since"):
            if self._is_future(getattr(history, name), about):
                changes[name] = None
        return history.model_copy(update=changes)

    def of_connectivity(self, results: Sequence[ConnectivityResult]) -> list[ConnectivityResult]:
        """Return the results without those of the future."""
        return [
            each
            for each in results
            if not self._is_future(each.observed_at, f"connectivity check {each.name}")
        ]

    def note(self, at: datetime | None, about: str) -> None:
        """Remember a time, if it is of the future."""
        self._is_future(at, about)

    def fault(self) -> Fault | None:
        """Return the one incident that all of them are; None without any."""
        if not self._found:
            return None
        last = max(self._found.values())
        named = ", ".join(sorted(self._found)[:_NAMED])
        more = f" and {len(self._found) - _NAMED} more" if len(self._found) > _NAMED else ""
        return fault(
            WRONG,
            f"times on record are of the future, the last is {last:%Y-%m-%d %H:%M:%S} UTC, and now "
            f"it is {self._now:%Y-%m-%d %H:%M:%S} UTC: {named}{more}; they do not count",
        )

    def _is_future(self, at: datetime | None, about: str) -> bool:
        if at is None or not is_future(at, self._now):
            return False
        self._found[about] = max(at, self._found.get(about, at))
        return True


def hold_as_of(hold: H, added_at: datetime, now: datetime) -> H | None:
    """Return a hold as it counts now; None if it does not.

    One that was added in the future has begun, if it began when it was added: a restriction holds
    until a person removes it. A breaker override permits something, and does not count.

    Args:
        hold: the hold.
        added_at: when it was added, by the clock of that time.
        now: the current time, with its time zone.
    """
    if not is_future(added_at, now):
        return hold
    if hold.kind is HoldKind.BREAKER_OVERRIDE:
        return None
    begun = hold.starts_at <= added_at + TOLERANCE
    return hold.model_copy(update={"starts_at": now}) if begun else hold
