"""The breaker's state now, from all that is on record: one computation for whoever asks.

The gate before a destruction, a recorded fault, a reconcile run, its dry run and `relight breaker
status` all use it. So they say the same at the same time.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerLimits,
    ConnectivityResult,
    Destruction,
    MachineObservation,
)
from relight.domain.breaker.decisions import count_reach, update_breaker
from relight.domain.clock import FutureTimes
from relight.domain.destruction import HOUR
from relight.domain.pool.remediation import observation_of_pool
from relight.domain.reconcile.builder import observations_of_routes
from relight.domain.route import RouteStatus
from relight.store.events import Operation
from relight.store.store import Store

MAX_LOAD = 0.1
"""The largest share of a core's time that evaluations after recorded faults may take."""


@dataclass
class BreakerEvaluation:
    """Evaluates the breaker.

    Attributes:
        limits: when it opens and closes.
        window: older faults of routes do not count.
    """

    store: Store
    limits: BreakerLimits
    window: timedelta
    _rests_until: float = 0

    def after_fault(self, operation: Operation) -> None:
        """Evaluate the breaker after a fault was recorded, unless many faults keep it busy.

        What is left out counts in the next evaluation: there is one before each destruction.
        """
        began = time.monotonic()
        if began >= self._rests_until:
            self.evaluate(operation)
            self._rests_until = began + (time.monotonic() - began) / MAX_LOAD

    def evaluate(
        self,
        operation: Operation | None,
        connectivity: Sequence[ConnectivityResult] | None = None,
        fresh: MachineObservation | None = None,
    ) -> Breaker:
        """Return the breaker's state by the records; without an operation, save nothing.

        Args:
            operation: the operation for which the state is saved.
            connectivity: results of connectivity checks that were just made; they are saved too.
                None: the latest on record are used, and nothing is said about connectivity if they
                are too old.
            fresh: an observation that is newer than what is on record of its machine.
        """
        store, now = self.store, datetime.now(UTC)
        times = FutureTimes(now)
        routes = [each for each in store.routes.list() if each.status is not RouteStatus.RETIRED]
        histories = store.remediations.histories(now - self.window)
        machines = [
            *observations_of_routes(
                [times.of_route(each) for each in routes],
                {route: times.of_history(history) for route, history in histories.items()},
            ),
            *(observation_of_pool(times.of_pool_machine(each)) for each in store.pool.list()),
        ]
        if fresh is not None:
            machines = [fresh if each.key == fresh.key else each for each in machines]
        if operation is not None and connectivity is not None:
            store.breaker.record_connectivity(connectivity)
        destructions = store.destructions.list(now - max(HOUR, self.limits.remembered_for))
        latest = self._latest(connectivity or (), now)
        return self.update(machines, destructions, latest, now, operation)

    def update(
        self,
        machines: Iterable[MachineObservation],
        destructions: Iterable[Destruction],
        connectivity: Sequence[ConnectivityResult] | None,
        now: datetime,
        operation: Operation | None,
    ) -> Breaker:
        """Return the breaker's state by these observations; without an operation, save nothing.

        Args:
            machines: the last observation of each machine.
            destructions: recent ones.
            connectivity: the latest result of each check; None if there is no recent one.
            now: the time of the observation.
            operation: the operation for which the state is saved.
        """
        store = self.store
        reach = count_reach(machines, destructions, self.limits, now)
        overrides = store.breaker_overrides.standing(now)

        def decide(before: Breaker) -> Breaker:
            return update_breaker(before, reach, connectivity, self.limits, now, overrides)

        if operation is None:
            return decide(store.breaker.get())
        return store.breaker.update(decide, operation)

    def _latest(
        self, made: Sequence[ConnectivityResult], now: datetime
    ) -> Sequence[ConnectivityResult] | None:
        known = FutureTimes(now).of_connectivity(self.store.breaker.connectivity())
        saved = {each.name: each for each in known}
        latest = saved | {each.name: each for each in made}
        lasts = self.limits.connectivity_lasts
        if not made and not any(now - each.observed_at <= lasts for each in latest.values()):
            return None
        return tuple(latest[name] for name in sorted(latest))
