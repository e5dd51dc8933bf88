"""Activities on destruction: may a machine be destroyed, and the record that it was."""

from datetime import UTC, datetime

from activities import policies
from activities.execution import current_operation
from relight.domain.breaker.breaker import BreakerLimits
from relight.domain.destruction import (
    HOUR,
    Allowance,
    CheckDestructionInput,
    DestructionAllowed,
    RecordDestroyedInput,
)
from relight.domain.route import Recorded
from relight.engine.step import step
from relight.store.store import Store


class DestructionActivities:
    """Called immediately before and after each destruction."""

    def __init__(self, store: Store, limits: BreakerLimits) -> None:
        self._store = store
        self._limits = limits

    @step(policies.STORE, lambda i: i.key)
    def check_destruction(self, input: CheckDestructionInput) -> DestructionAllowed:
        """Return why a machine may not be destroyed now; None where it may."""
        now = datetime.now(UTC)
        # A waiting removal counts from the moment its machine was drained. Only those ahead of it
        # may delay it; otherwise two waiting removals would wait for each other.
        ahead = self._store.destructions.ahead_of(input.key, now - HOUR)
        allowance = Allowance(self._store.breaker.get(), ahead, self._limits, now)
        where = input.provider, input.region, input.track
        return DestructionAllowed(
            why_not=allowance.why_not(*where),
            by_breaker=allowance.why_breaker_refuses(*where) is not None,
        )

    @step(policies.STORE, lambda i: f"{i.key}: {i.reason}")
    def record_destroyed(self, input: RecordDestroyedInput) -> Recorded:
        """Record that a machine is destroyed."""
        self._store.destructions.record(
            input.key,
            current_operation(input.origin),
            reason=input.reason,
            unreachable=input.unreachable,
        )
        return Recorded()
