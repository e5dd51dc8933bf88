"""Fleets to roll out to."""

import asyncio

import pytest

from tests.workflows.harness import Harness


@pytest.fixture
async def route_ids(harness: Harness) -> list[str]:
    """Six routes that serve v0.0.73, in two regions."""
    return await six_routes(harness)


async def six_routes(harness: Harness) -> list[str]:
    regions = ("fake-east", "fake-west") * 3
    return sorted(await asyncio.gather(*(harness.serving_route(region=each) for each in regions)))
