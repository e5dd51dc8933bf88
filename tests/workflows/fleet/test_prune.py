"""The scheduled prune of the store."""

import uuid
from datetime import UTC, datetime, timedelta

from relight.domain.base import Origin
from relight.domain.retention import PruneStoreInput
from tests.workflows.harness import Harness
from workflows.fleet.prune import PruneStore


async def test_a_prune_deletes_what_is_older_than_the_retention(harness: Harness) -> None:
    before = datetime.now(UTC)
    pruned = await harness.client.execute_workflow(
        PruneStore.run,
        PruneStoreInput(
            older_than=timedelta(days=30), origin=Origin(requested_by="tester", reason="retention")
        ),
        id=f"prune-store/{uuid.uuid4().hex[:8]}",
        task_queue=harness.task_queue,
    )
    assert pruned.events == 0  # The installation is younger than a month.
    since = before - timedelta(days=30)
    assert since <= pruned.before < since + timedelta(minutes=5)
    assert harness.store.retention.pruned_before() == pruned.before
