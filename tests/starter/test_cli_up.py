"""`relight up` and `relight down`, with real processes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from starter.local import processes
from starter.local.children import wait_until
from starter.local.temporal import embedded_temporal
from tests.starter.in_process import InProcess
from tests.support.command_line import CommandLine, Ended
from tests.support.processes import alive

SOON = timedelta(seconds=20)
PARTS = ("--no-lab", "--no-worker", "--i-understand", "--ui")
DETACHED = ("up", "--detach", "--json", *PARTS)


@pytest.fixture
async def relight(tmp_path: Path) -> AsyncIterator[InProcess]:
    relight = InProcess(tmp_path / "home")
    yield relight
    if relight.home.exists():
        await processes.stop(relight.home, SOON)


async def up(relight: InProcess) -> Ended:
    return await relight.processes(*DETACHED)


@asynccontextmanager
async def in_foreground(relight: CommandLine) -> AsyncIterator[asyncio.subprocess.Process]:
    async def is_up() -> bool:
        return processes.state_of(relight.home) is not None

    async with relight.running("up", *PARTS) as process:
        await wait_until(is_up, SOON)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
                await process.communicate()


def temporal_pid(supervisor: int) -> int:
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    (pid,) = (int(child) for child in children)
    return pid


async def test_detached_it_returns_once_ready_and_down_stops_it(relight: InProcess) -> None:
    started = await up(relight)
    assert started.code == 0, started.err
    state: dict[str, Any] = started.json
    server = temporal_pid(state["pid"])
    async with httpx.AsyncClient() as http:
        assert (await http.get(state["ui"])).status_code == 200
    await Client.connect(state["temporal"])

    down = await relight("down")

    assert (down.code, down.out.strip()) == (0, "stopped")
    assert not alive(state["pid"])
    assert not alive(server)
    assert not (relight.home / "temporal.toml").exists()


async def test_a_second_up_shows_what_is_already_up(relight: InProcess) -> None:
    first = await up(relight)
    second = await relight.processes("up", "--json", *PARTS)
    third = await relight("up", "--detach", *PARTS)
    assert (first.code, second.code, third.code) == (0, 0, 0)
    assert second.json == first.json
    assert "already up" in second.err
    assert first.json["ui"] in third.out


async def test_two_at_the_same_time_start_one(relight: InProcess) -> None:
    ends = await asyncio.gather(*(up(relight) for _ in range(2)))
    assert [end.code for end in ends] == [0, 0], [end.err for end in ends]
    assert ends[0].json == ends[1].json


async def test_down_with_nothing_up_succeeds(relight: InProcess) -> None:
    down = await relight("down")
    assert down.code == 0
    assert "nothing is up" in down.out


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGHUP])
async def test_in_the_foreground_a_signal_stops_everything(
    relight: InProcess, stop: signal.Signals
) -> None:
    async with in_foreground(relight) as process:
        server = temporal_pid(process.pid)
        process.send_signal(stop)
        _, err = await process.communicate()
        assert process.returncode == 0
        assert "stopped" in err.decode()
        assert not alive(server)


async def test_a_second_interrupt_does_not_shorten_the_clean_up(relight: InProcess) -> None:
    async with in_foreground(relight) as process:
        server = temporal_pid(process.pid)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        assert process.returncode == 0
        assert not alive(server)


async def test_a_part_that_dies_is_named_and_the_others_stop(relight: InProcess) -> None:
    async with in_foreground(relight) as process:
        os.kill(temporal_pid(process.pid), signal.SIGKILL)
        _, err = await process.communicate()
        assert process.returncode == 1
    assert "Temporal was ended by SIGKILL" in err.decode()
    assert "temporal.log" in err.decode()
    assert processes.holder(relight.home) is None


async def test_after_a_kill_the_next_up_starts_on_the_same_state(relight: InProcess) -> None:
    async with in_foreground(relight) as process:
        server = temporal_pid(process.pid)
        process.kill()
        await process.communicate()
    again = await up(relight)
    assert again.code == 0, again.err
    assert not alive(server)
    await Client.connect(again.json["temporal"])


async def test_an_embedded_server_is_not_started_if_another_server_is_set(
    relight: InProcess, tmp_path: Path
) -> None:
    async with embedded_temporal(tmp_path / "elsewhere", durable=False) as server:
        started = await up(relight.where(TEMPORAL_ADDRESS=server.address))
        assert started.code == 0, started.err
        assert started.json["temporal"] == server.address
        assert started.json["ui"] is None
        assert not (relight.home / "temporal.db").exists()


@pytest.mark.parametrize("flags", [(), ("--detach",)], ids=["foreground", "detached"])
async def test_a_set_server_that_does_not_answer_is_refused(
    relight: InProcess, flags: tuple[str, ...]
) -> None:
    unreachable = relight.where(TEMPORAL_ADDRESS="127.0.0.1:1").processes
    ended = await unreachable("up", *PARTS, *flags)
    assert ended.code == 3
    assert "Temporal does not answer at 127.0.0.1:1" in ended.err
