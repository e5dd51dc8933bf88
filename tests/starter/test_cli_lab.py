"""`relight lab` up, status and down, also after a crash."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from lab import lifecycle
from lab.names import LabNames
from relight.context import ENVIRONMENT, Context
from relight.settings import Settings
from starter.local import processes
from starter.local.children import wait_until
from starter.local.home import write_env
from starter.local.lab import (
    addresses_of,
    lab_name,
    lab_state,
)
from tests.lab.traces import traces

pytestmark = pytest.mark.lab

SOON = timedelta(seconds=30)


@dataclass(frozen=True)
class Relight:
    """The command on a home folder."""

    home: Path

    async def __call__(self, *words: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "starter.cli",
            *words,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "RELIGHT_HOME": str(self.home)},
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    @property
    def traces(self) -> list[str]:
        return traces(LabNames(lab_name(self.home)).tag)


@pytest.fixture
async def relight() -> AsyncIterator[Relight]:
    # pytest's own folders are too long for the sockets of gpg-agent.
    with tempfile.TemporaryDirectory(prefix="relight-") as folder:
        relight = Relight(Path(folder) / "home")
        yield relight
        await relight("lab", "down")
        assert relight.traces == []


async def test_it_starts_alone_is_shown_and_stops_without_a_trace(relight: Relight) -> None:
    code, out, err = await relight("lab", "up", "--detach", "--json")
    assert code == 0, err
    up = json.loads(out)
    assert up["temporal"] is None
    assert up["lab"].startswith("http://127.0.0.1:")

    code, out, _ = await relight("lab", "status", "--json")
    assert code == 0
    assert json.loads(out)["machines"] == []
    assert relight.traces != []

    code, out, _ = await relight("lab", "down")
    assert (code, out.strip()) == (0, "stopped")
    assert relight.traces == []
    code, out, _ = await relight("lab", "status", "--json")
    assert json.loads(out) == {"up": False, "left_behind": [], "missing": []}


async def test_after_a_crash_status_shows_what_is_left_and_down_removes_it(
    relight: Relight,
) -> None:
    await relight("lab", "up", "--detach")
    supervisor = processes.holder(relight.home)
    addresses = addresses_of(relight.home)
    assert supervisor is not None
    assert addresses is not None
    # The lab first: it cleans up when its supervisor is gone.
    os.kill(addresses.pid, signal.SIGKILL)
    os.kill(supervisor, signal.SIGKILL)

    async def gone() -> bool:
        return processes.holder(relight.home) is None

    await wait_until(gone, SOON)
    _, out, _ = await relight("lab", "status")
    assert "left behind" in out
    code, out, _ = await relight("lab", "down")
    assert code == 0
    assert "removed what a killed lab left" in out
    assert lifecycle.leftovers(lab_name(relight.home), lab_state(relight.home)) == []


async def test_the_lab_ends_with_a_killed_supervisor(relight: Relight) -> None:
    await relight("lab", "up", "--detach")
    supervisor = processes.holder(relight.home)
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)

    async def gone() -> bool:
        return relight.traces == []

    await wait_until(gone, SOON)


@pytest.mark.parametrize(
    ("service", "env", "used"),
    [
        ('secrets_file = "mine"', "", "mine"),
        # Of an earlier `relight up`, before the service file named one.
        ('secrets_file = "mine"', "service_secrets", "mine"),
        ('package = "box"', "theirs", "theirs"),
        ('package = "box"', "", "service_secrets"),
    ],
)
async def test_it_leaves_the_secrets_that_a_person_has_named(
    relight: Relight, service: str, env: str, used: str
) -> None:
    relight.home.mkdir(mode=0o700)
    (relight.home / "service.toml").write_text(f"{service}\n")
    if env:
        write_env(relight.home, {"RELIGHT_SERVICE__SECRETS_FILE": str(relight.home / env)})
    for flags in ((), ("--no-lab", "--no-worker", "--no-ui", "--i-understand")):
        words = ("up", *flags) if flags else ("lab", "up")
        code, _, err = await relight(*words, "--detach")
        assert code == 0, err
        settings = Settings.of(Context(ENVIRONMENT, "the test", relight.home))
        assert settings.service.secrets_file == relight.home / used
        assert (await relight("down"))[0] == 0
