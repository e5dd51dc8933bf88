"""What the Temporal UI shows of a workflow names only what is there: no text contains `None`.

Every kept history is replayed, and all texts that today's code gives to Temporal are read.
"""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import (
    Interceptor,
    Replayer,
    UnsandboxedWorkflowRunner,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)

from tests.workflows.test_replay import HISTORIES, workflow_id
from worker import WORKFLOWS

shown: list[str | None] = []
"""The texts of the workflow that is replayed."""


class Outbound(WorkflowOutboundInterceptor):
    """Reads the summaries of activities and of child workflows."""

    def start_activity(self, input: Any) -> Any:
        shown.append(input.summary)
        return super().start_activity(input)

    def start_local_activity(self, input: Any) -> Any:
        shown.append(input.summary)
        return super().start_local_activity(input)

    async def start_child_workflow(self, input: Any) -> Any:
        shown.extend((input.static_summary, input.static_details))
        return await super().start_child_workflow(input)


class Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(Outbound(outbound))


class ReadsTexts(Interceptor):
    def workflow_interceptor_class(self, input: Any) -> type[WorkflowInboundInterceptor]:
        return Inbound


@pytest.fixture
def details(monkeypatch: pytest.MonkeyPatch) -> Sequence[str]:
    """The current details that a workflow sets, in their order. It still sets them."""
    found: list[str] = []
    really = workflow.set_current_details

    def reading(text: str) -> None:
        found.append(text)
        really(text)

    monkeypatch.setattr(workflow, "set_current_details", reading)
    return found


@pytest.mark.parametrize("history", HISTORIES, ids=lambda path: path.stem)
async def test_no_text_that_a_workflow_shows_has_a_none(
    history: Path, details: Sequence[str]
) -> None:
    shown.clear()
    text = await asyncio.to_thread(history.read_text)
    replayer = Replayer(
        workflows=WORKFLOWS,
        workflow_runner=UnsandboxedWorkflowRunner(),
        data_converter=pydantic_data_converter,
        interceptors=[ReadsTexts()],
    )
    await replayer.replay_workflow(WorkflowHistory.from_json(workflow_id(text), text))
    texts = [each for each in (*details, *shown) if each]
    assert texts
    assert [each for each in texts if re.search(r"\bNone\b", each)] == []
