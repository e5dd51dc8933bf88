"""How often a hot swap asks Temporal whether it is still that of the worker's fleet."""

from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from activities import same_fleet
from activities.same_fleet import SameFleetInterceptor
from tests.workflows.harness import idle_installation
from worker import build


async def test_a_hot_swap_asks_once_more_than_the_one_request_a_second(
    temporal_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that time does not count: one request is the first check, and the others are lasting ones.
    monkeypatch.setattr(same_fleet, "FRESH", timedelta(hours=1))
    requests: list[str] = []

    async def check() -> None:
        requests.append("describe namespace")

    async with idle_installation(temporal_client, tmp_path) as harness:
        interceptor = SameFleetInterceptor(check, lambda: None)
        async with build(harness.client, harness.parts, (interceptor,)):
            route_id = await harness.serving_route()
            await harness.swap(route_id, "v0.0.74")
            assert len(requests) == 2
            await harness.swap(route_id, "v0.0.78")
            assert len(requests) == 3
