"""How often a hot swap asks Temporal whether it is still that of the worker's fleet."""

import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from activities import same_fleet
from activities.same_fleet import SameFleetInterceptor
from relight.engine.fleet import namespace_identity
from tests.workflows.installation import idle_installation
from worker import build


@pytest.mark.parametrize("namespace", ["ours", "another", "unknown"])
async def test_a_hot_swap_asks_only_if_its_task_does_not_tell_who_gave_it(
    temporal_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespace: str
) -> None:
    # So that time does not count: one request is the first check.
    monkeypatch.setattr(same_fleet, "FRESH", timedelta(hours=1))
    requests: list[str] = []

    async def check() -> None:
        requests.append("describe namespace")

    ours = (await namespace_identity(temporal_client)).namespace_id
    known = {"ours": ours, "another": str(uuid.uuid4()), "unknown": None}[namespace]
    async with idle_installation(temporal_client, tmp_path) as harness:
        interceptor = SameFleetInterceptor(check, lambda: None, known)
        async with build(harness.client, harness.parts, (interceptor,)):
            route_id = await harness.serving_route()
            await harness.swap(route_id, "v0.0.74")
            await harness.swap(route_id, "v0.0.78")
            assert len(requests) == (1 if namespace == "ours" else 3)
