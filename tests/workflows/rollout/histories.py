"""The histories of a rollout: of each of its runs, and of the runs of its waves."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from temporalio.client import Client, WorkflowHandle

from relight.domain.names import ROLLOUT_PREFIX


async def histories(
    client: Client, rollout: WorkflowHandle[Any, Any]
) -> dict[str, list[Sequence[Any]]]:
    """Return the events of each run so far, by workflow id."""
    found: dict[str, list[Sequence[Any]]] = {}
    assert rollout.first_execution_run_id is not None
    async for workflow_id, events in _runs(client, rollout.id, rollout.first_execution_run_id):
        found.setdefault(workflow_id, []).append(events)
    return found


async def _runs(
    client: Client, workflow_id: str, run_id: str
) -> AsyncIterator[tuple[str, Sequence[Any]]]:
    while run_id:
        handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        events = [event async for event in handle.fetch_history_events()]
        yield workflow_id, events
        for event in events:
            wave = event.child_workflow_execution_started_event_attributes.workflow_execution
            if wave.workflow_id.startswith(ROLLOUT_PREFIX):
                async for run in _runs(client, wave.workflow_id, wave.run_id):
                    yield run
        last = events[-1].workflow_execution_continued_as_new_event_attributes
        run_id = last.new_execution_run_id
