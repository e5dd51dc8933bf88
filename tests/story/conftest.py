"""The demo, run once as a newcomer runs it, and left up for the tests to look at."""

import asyncio
import json
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

ROOT = Path(__file__).parents[2]
WITHIN_SECONDS = 280


@dataclass(frozen=True)
class Story:
    """What the demo left up.

    Attributes:
        home: its home folder.
        said: all that it printed.
        state: what is up.
        client: of its Temporal server.
    """

    home: Path
    said: str
    state: UpState
    client: Client

    async def ask(self, *words: str) -> Any:
        """Return what a `relight` command answers with --json."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "starter.cli",
            *words,
            "--json",
            stdout=asyncio.subprocess.PIPE,
            env=_environment(self.home),
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, words
        return json.loads(out)


@pytest.fixture(scope="package")
async def story(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Story]:
    # Short: gpg's agent has a socket below it.
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
            said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        state = state_of(home)
        assert state is not None
        assert state.temporal is not None
        client = await Client.connect(state.temporal, data_converter=pydantic_data_converter)
        yield Story(home, said.decode(), state, client)
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
    return {**ours, "RELIGHT_HOME": str(home), "COLUMNS": "200"}
