"""Fleets to roll out to, and a wait for what a rollout waits for."""

import asyncio

import pytest
from temporalio.client import WorkflowHandle

from relight.domain.rollout.rollout import RolloutPhase, RolloutStatus
from tests.workflows.harness import Harness
from workflows.rollout.rollout import RolloutRelease


@pytest.fixture
async def route_ids(harness: Harness) -> list[str]:
    """Six routes that serve v0.0.73, in two regions."""
    return await six_routes(harness)


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
