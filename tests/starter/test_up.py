"""`relight up` and `relight down`, as the commands that people type."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from starter.local import processes
from starter.local.children import wait_until
from tests.support.processes import alive

SOON = timedelta(seconds=20)
PARTS = ("--no-lab", "--no-worker")


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Relight:
    """The command, on a home folder of its own."""

    home: Path

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "starter.cli",
            *words,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "RELIGHT_HOME": str(self.home)},
        )

    async def __call__(self, *words: str) -> Ended:
        process = await self.start(*words)
        out, err = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    @asynccontextmanager
    async def in_foreground(self, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await self.start("up", *words)
        try:
            await wait_until(self.is_up, SOON)
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
                await process.communicate()

    async def is_up(self) -> bool:
        return processes.state_of(self.home) is not None


@pytest.fixture
async def relight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Relight]:
    for name in ("TEMPORAL_ADDRESS", "TEMPORAL_CONFIG_FILE", "TEMPORAL_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    relight = Relight(tmp_path / "home")
    yield relight
    if relight.home.exists():
        await processes.stop(relight.home, SOON)


def temporal_pid(supervisor: int) -> int:
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    (pid,) = (int(child) for child in children)
    return pid


async def test_detached_it_returns_when_all_answers_and_down_ends_all(relight: Relight) -> None:
    up = await relight("up", "--detach", "--json", *PARTS)
    assert up.code == 0, up.err
    state: dict[str, Any] = json.loads(up.out)
    server = temporal_pid(state["pid"])
    async with httpx.AsyncClient() as http:
        assert (await http.get(state["ui"])).status_code == 200
    await Client.connect(state["temporal"])

    down = await relight("down")

    assert (down.code, down.out.strip()) == (0, "stopped")
    assert not alive(state["pid"])
    assert not alive(server)
    assert not (relight.home / "temporal.toml").exists()


async def test_a_second_up_says_what_is_up_already(relight: Relight) -> None:
    first = await relight("up", "--detach", "--json", *PARTS)
    second = await relight("up", "--json", *PARTS)
    third = await relight("up", "--detach", *PARTS)
    assert (first.code, second.code, third.code) == (0, 0, 0)
    assert json.loads(second.out) == json.loads(first.out)
    assert "already up" in second.err
    assert json.loads(first.out)["ui"] in third.out


async def test_two_at_once_make_one(relight: Relight) -> None:
    ends = await asyncio.gather(*(relight("up", "--detach", "--json", *PARTS) for _ in range(2)))
    assert [end.code for end in ends] == [0, 0], [end.err for end in ends]
    assert json.loads(ends[0].out) == json.loads(ends[1].out)


async def test_down_with_nothing_up_says_so(relight: Relight) -> None:
    down = await relight("down")
    assert down.code == 0
    assert "nothing is up" in down.out


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGHUP])
async def test_in_the_foreground_a_signal_stops_all_of_it(
    relight: Relight, stop: signal.Signals
) -> None:
    async with relight.in_foreground(*PARTS) as up:
        server = temporal_pid(up.pid)
        up.send_signal(stop)
        _, err = await up.communicate()
        assert up.returncode == 0
        assert "stopped" in err.decode()
        assert not alive(server)


async def test_a_second_interrupt_does_not_cut_the_clean_up_short(relight: Relight) -> None:
    async with relight.in_foreground(*PARTS) as up:
        server = temporal_pid(up.pid)
        up.send_signal(signal.SIGINT)
        up.send_signal(signal.SIGTERM)
        await up.communicate()
        assert up.returncode == 0
        assert not alive(server)


async def test_a_part_that_dies_is_named_and_the_rest_stops(relight: Relight) -> None:
    async with relight.in_foreground(*PARTS) as up:
        os.kill(temporal_pid(up.pid), signal.SIGKILL)
        _, err = await up.communicate()
        assert up.returncode == 1
    assert "Temporal was ended by SIGKILL" in err.decode()
    assert "temporal.log" in err.decode()
    assert processes.holder(relight.home) is None


async def test_after_a_kill_the_next_up_starts_afresh_on_the_same_state(relight: Relight) -> None:
    async with relight.in_foreground(*PARTS) as up:
        server = temporal_pid(up.pid)
        up.kill()
        await up.communicate()
    again = await relight("up", "--detach", "--json", *PARTS)
    assert again.code == 0, again.err
    assert not alive(server)
    await Client.connect(json.loads(again.out)["temporal"])


async def test_a_server_of_our_own_is_not_started_where_another_is_named(
    relight: Relight, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Relight(relight.home.with_name("other")).in_foreground(*PARTS):
        theirs = processes.state_of(relight.home.with_name("other"))
        assert theirs is not None
        assert theirs.temporal is not None
        monkeypatch.setenv("TEMPORAL_ADDRESS", theirs.temporal)
        up = await relight("up", "--detach", "--json", *PARTS)
        assert up.code == 0, up.err
        assert json.loads(up.out)["temporal"] == theirs.temporal
        assert json.loads(up.out)["ui"] is None
        assert not (relight.home / "temporal.db").exists()


async def test_a_named_server_that_does_not_answer_is_refused(
    relight: Relight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    up = await relight("up", *PARTS)
    assert up.code == 3
    assert "Temporal does not answer at 127.0.0.1:1" in up.err
    detached = await relight("up", "--detach", *PARTS)
    assert detached.code == 3
    assert "Temporal does not answer at 127.0.0.1:1" in detached.err
