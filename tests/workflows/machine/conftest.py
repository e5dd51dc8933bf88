"""The gate before destructions, of an installation of its own."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from activities.machine import polls
from devkit.walk.clock import Clock, applied
from tests.workflows.gates import Gate, RefusingHosts
from tests.workflows.installation import idle_installation


@pytest.fixture
async def gate(
    temporal_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Gate]:
    monkeypatch.setattr(polls, "POLL", timedelta(milliseconds=5))
    async with idle_installation(temporal_client, tmp_path) as harness:
        clock = Clock()
        with applied(clock):
            yield Gate(harness, clock, RefusingHosts(harness.hosts))
