"""The breaker before the bulldozer: whether a machine may be destroyed, and that it was."""

from datetime import UTC, datetime

from activities import policies
from activities.operation import current_operation
from relight.domain.breaker.breaker import BreakerLimits
from relight.domain.breaker.decisions import HOUR, Allowance
from relight.domain.replacement import (
    AskDestructionInput,
    DestructionAllowed,
    RecordDestroyedInput,
)
from relight.domain.route import Recorded
from relight.engine.step import step
from relight.store.store import Store


class DestructionActivities:
    """Asked right before a machine goes, and told right after."""

    def __init__(self, store: Store, limits: BreakerLimits) -> None:
        self._store = store
        self._limits = limits

    @step(policies.BOOKKEEPING, lambda i: f"may {i.key} go?")
    def ask_destruction(self, input: AskDestructionInput) -> DestructionAllowed:
        """Say why a machine may not be destroyed now, if there is anything."""
        now = datetime.now(UTC)
        # One that waits for its end is counted from the moment it was drained: those behind it
        # must not hold it up, or two that wait would wait for each other.
        ahead = self._store.destructions.ahead_of(input.key, now - HOUR)
        allowance = Allowance(self._store.breaker.get(), ahead, self._limits, now)
        return DestructionAllowed(
            why_not=allowance.why_not(input.provider, input.region, input.track)
        )

    @step(policies.BOOKKEEPING, lambda i: f"{i.key}: {i.reason}")
    def record_destroyed(self, input: RecordDestroyedInput) -> Recorded:
        """Write down that a machine is gone."""
        self._store.destructions.record(
            input.key,
            current_operation(input.origin),
            reason=input.reason,
            unreachable=input.unreachable,
        )
        return Recorded()
