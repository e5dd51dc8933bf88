"""The demo, run once as a new user runs it, and kept running for the tests."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from lab import lifecycle
from lab.names import LabNames
from starter.local.lab import lab_name, lab_state
from starter.local.processes import UpState, state_of
from tests.lab.traces import traces
from tests.starter.in_process import InProcess

ROOT = Path(__file__).parents[2]
WITHIN_SECONDS = 280
STABILITY_WINDOW = "PT3S"
"""As in the demo itself."""


@dataclass(frozen=True)
class Story:
    """The demo after its end.

    Attributes:
        home: its home folder.
        output: everything that it printed.
        state: its running processes.
        client: a client of its Temporal server.
    """

    home: Path
    output: str
    state: UpState
    client: Client

    async def ask(self, *words: str) -> Any:
        """Return the JSON output of a `relight` command, which must succeed."""
        ended = await InProcess(self.home)(*words, "--json")
        assert ended.code == 0, ended
        return ended.json


@pytest.fixture(scope="package")
async def story(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Story]:
    # The path must be short: gpg's agent has a socket in it.
    home = tmp_path_factory.mktemp("story") / "home"
    process = await asyncio.create_subprocess_exec(
        ROOT / "scripts" / "demo",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**_environment(home), "KEEP": "1"},
    )
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            printed, _ = await process.communicate()
        output = printed.decode()
        assert process.returncode == 0, output
        state = state_of(home)
        assert state is not None
        assert state.temporal is not None
        client = await Client.connect(state.temporal, data_converter=pydantic_data_converter)
        yield Story(home, output, state, client)
    finally:
        down = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "starter.cli", "down", env=_environment(home)
        )
        await down.wait()
    name = lab_name(home)
    assert down.returncode == 0
    assert lifecycle.leftovers(name, lab_state(home)) == []
    assert traces(LabNames(name).tag) == []


def _environment(home: Path) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}
    return {
        **ours,
        "RELIGHT_HOME": str(home),
        "RELIGHT_STABILITY_WINDOW": STABILITY_WINDOW,
        "COLUMNS": "200",
    }
