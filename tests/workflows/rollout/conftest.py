"""Fleets to roll out to, and a wait for what a rollout waits for."""

import asyncio
from enum import StrEnum
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from relight.domain.rollout.rollout import RolloutPhase, RolloutStatus
from tests.workflows.harness import Harness
from workflows.rollout.rollout import RolloutRelease


@pytest.fixture
async def route_ids(harness: Harness) -> list[str]:
    """Six routes that serve v0.0.73, in two regions."""
    return await six_routes(harness)


class WaveForm(StrEnum):
    """Where a wave runs: in its rollout's workflow, or in one of its own."""

    INSIDE = "in its rollout"
    CHILD = "of its own"

    def id_of(self, rollout: WorkflowHandle[Any, Any], wave: str) -> str:
        """Return the id of the workflow in which a wave runs."""
        return f"{rollout.id}/{wave}" if self is WaveForm.CHILD else rollout.id


@pytest.fixture(params=WaveForm)
def wave_form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> WaveForm:
    """Both forms: as small waves run, and as large ones do."""
    form: WaveForm = request.param
    if form is WaveForm.CHILD:
        monkeypatch.setattr("relight.domain.rollout.wave.SMALL_WAVE", 0)
    return form


async def six_routes(harness: Harness) -> list[str]:
    regions = ("fake-east", "fake-west") * 3
    return sorted(await asyncio.gather(*(harness.serving_route(region=each) for each in regions)))


async def until_holding(
    harness: Harness, rollout: WorkflowHandle[RolloutRelease, RolloutStatus], words: str = ""
) -> RolloutStatus:
    """Wait until the rollout holds with these words in its detail, and return its status."""
    await harness.until_status(
        rollout, lambda now: now.phase is RolloutPhase.HOLDING and words in now.detail
    )
    return harness.status(rollout)
