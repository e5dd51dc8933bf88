"""The regular deletion of what the store need not keep any longer."""

from temporalio import workflow
from temporalio.common import VersioningBehavior

from relight.domain.retention import PruneStoreInput, StorePruned
from workflows.fleet.steps import RetentionActivities


# It takes minutes, so a run stays on the worker version that started it.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class PruneStore:
    """Delete what ended longer ago than the retention. One that fails is left to the next run."""

    @workflow.run
    async def run(self, input: PruneStoreInput) -> StorePruned:
        """Delete it, and return how much it was."""
        return await RetentionActivities.prune_store(input)
