"""Workflows that started on older code continue on today's: every kept history replays."""

import asyncio
import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

import workflows
from relight.engine.runner import sandbox
from tests.histories import record
from tests.histories.scenarios import NAMES
from worker import WORKFLOWS

HISTORIES = sorted(record.FOLDER.glob("*.json"))


def replayer() -> Replayer:
    return Replayer(
        workflows=WORKFLOWS,
        workflow_runner=sandbox(workflows, WORKFLOWS),
        data_converter=pydantic_data_converter,
    )


def workflow_id(history: str) -> str:
    """The ids of child workflows contain it."""
    [first, *_] = json.loads(history)["events"]
    return str(first["workflowExecutionStartedEventAttributes"]["workflowId"])


def last_event(history: Path) -> str:
    """Return the type of the event with which a kept history ends."""
    return str(json.loads(history.read_text())["events"][-1]["eventType"])


def workflow_type(history: str) -> str:
    [first, *_] = json.loads(history)["events"]
    return str(first["workflowExecutionStartedEventAttributes"]["workflowType"]["name"])


@pytest.mark.parametrize("history", HISTORIES, ids=lambda path: path.stem)
async def test_a_kept_history_replays(history: Path) -> None:
    text = await asyncio.to_thread(history.read_text)
    await replayer().replay_workflow(WorkflowHistory.from_json(workflow_id(text), text))


@pytest.mark.parametrize(
    "operation",
    ["rollout_stopped", "rollout_aborted", "rollout_rolled_back", "rotation_left_a_machine"],
)
def test_what_once_ended_as_completed_and_fails_now_is_kept_as_both(operation: str) -> None:
    ends = [last_event(record.FOLDER / f"{operation}-{number}.json") for number in (1, 2)]
    assert ends == [
        "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED",
        "EVENT_TYPE_WORKFLOW_EXECUTION_FAILED",
    ]


def test_every_recorded_operation_has_a_history() -> None:
    kept = {path.stem.rpartition("-")[0] for path in HISTORIES}
    assert kept == NAMES


def test_every_workflow_has_a_history() -> None:
    kept = {workflow_type(path.read_text()) for path in HISTORIES}
    assert kept == {workflow.__name__ for workflow in WORKFLOWS}


async def test_a_history_that_does_not_match_the_code_fails() -> None:
    text = (record.FOLDER / "swapped-1.json").read_text()
    changed = text.replace('"resolve_release"', '"open_route"')
    assert changed != text
    with pytest.raises(NondeterminismError):
        await replayer().replay_workflow(WorkflowHistory.from_json("replayed/changed", changed))
