"""What destroys asks on a terminal, and nowhere else."""

import asyncio
import os
import pty
import sys

import pytest

from tests.starter.stores import refused
from tests.store.fleets import MANUAL, run_on, serve


@pytest.fixture
def retired(store):
    """A route that is retired, and whose machine is destroyed."""
    serve(store, "east-1")
    store.retirements.retire("east-1", run_on("east-1").activity())
    store.destructions.record("east-1-g1", MANUAL, reason="it is retired")
    return store


async def typed(relight, answer: str, *words: str) -> tuple[int, str]:
    """Run a command on a terminal, and answer its question; return its exit code and output."""
    terminal, inside = pty.openpty()
    environment = {**os.environ, "RELIGHT_HOME": str(relight.home), **relight.environment}
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "starter.cli", *words),
            stdin=inside,
            stdout=asyncio.subprocess.PIPE,
            stderr=inside,
            env=environment,
        )
        os.close(inside)
        shown = b""
        async with asyncio.timeout(60):
            while b"[y/N]" not in shown:
                shown += await asyncio.to_thread(os.read, terminal, 1024)
            os.write(terminal, f"{answer}\n".encode())
            out, _ = await process.communicate()
    finally:
        os.close(terminal)
    return process.returncode or 0, shown.decode() + out.decode()


async def test_any_answer_but_yes_changes_nothing(relight, retired):
    words = ("route", "delete", "east-1", "-r", "a typing error")
    code, shown = await typed(relight, "n", *words)
    assert code == 3
    assert "route east-1 is removed from the record" in shown
    assert retired.routes.get("east-1") is not None
    code, shown = await typed(relight, "y", *words, "--json")
    assert code == 0
    assert '"route_id": "east-1"' in shown
    assert retired.routes.get("east-1") is None


@pytest.mark.parametrize("option", [(), ("--yes",)])
async def test_a_script_is_not_asked(relight, retired, option):
    ended = await relight("route", "delete", "east-1", "-r", "a typing error", *option)
    assert (ended.code, ended.out) == (0, "east-1 is deleted; its events stay\n")


async def test_what_is_still_needed_is_not_deleted(relight, retired):
    serve(retired, "east-2")
    reason = ("--reason", "a typing error")
    refused(await relight("route", "delete", "east-2", *reason), 3, "relight route retire east-2")
    refused(await relight("route", "delete", "nowhere-1", *reason), 2, "nowhere-1")
    refused(await relight("track", "delete", "stable"), 3, "relight route list --track stable")
    refused(await relight("track", "delete", "nowhere"), 2, "nowhere")
    refused(await relight("pool", "delete", "lab", "eu-1"), 3, "relight pool list")


async def test_an_empty_track_and_an_empty_pool_are_deleted(relight, store):
    store.tracks.set("beta", None, MANUAL)
    store.pool_sizes.set("lab", "eu-1", 0, MANUAL)
    assert (await relight("track", "delete", "beta")).out == "track beta is deleted\n"
    deleted = await relight("pool", "delete", "lab", "eu-1", "--json")
    assert deleted.json == {"provider": "lab", "region": "eu-1"}
    assert [track.name for track in store.tracks.list()] == ["stable"]
