"""The deletion of what the store need not keep any longer."""

from datetime import UTC, datetime

from temporalio import activity

from activities import policies
from activities.execution import current_operation
from relight.domain.retention import PruneStoreInput, StorePruned
from relight.engine.step import step
from relight.store.store import Store


class RetentionActivities:
    """Deletes in batches, each in one transaction, and sends a heartbeat after each."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @step(policies.PRUNE, lambda i: f"older than {i.older_than}", lasting=True)
    def prune_store(self, input: PruneStoreInput) -> StorePruned:
        """Delete what ended longer ago than the retention. A retry continues."""
        before = datetime.now(UTC) - input.older_than
        operation = current_operation(input.origin)
        return self._store.retention.prune(before, operation, activity.heartbeat)
