"""Random walks: each sequence is left by the commands that the software names; and a walk sees
what is stuck."""

import asyncio
import re
import subprocess
import sys
from datetime import timedelta

import pytest

from devkit.walk.fleet import LIMITS
from devkit.walk.named import controls_named, named_commands
from devkit.walk.sequence import play
from devkit.walk.setting import walking_ground
from relight.domain.fault.table import RULES
from relight.domain.rollout.records import OpenRolloutInput
from relight.domain.route import Route, RouteStatus
from relight.store.events import Operation
from relight.store.rollout_choice import Chosen
from tests.workflows.harness import ORIGIN

SECONDS = 40
"""Which start the sequences of a test. Their seeds are new in each run, and printed."""

ROUTE = Route(
    route_id="s-1", track="stable", provider="alpha", region="east", status=RouteStatus.SERVING
)


@pytest.fixture(scope="module")
async def ground():
    async with walking_ground() as ground:
        yield ground


@pytest.mark.slow
def test_nothing_is_stuck_after_random_sequences():
    """In a process of its own: a walk replaces the clock of all modules."""
    walk = [sys.executable, "-m", "devkit.walk", "--sequences", "100", "--seconds", str(SECONDS)]
    ended = subprocess.run(walk, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr[-5_000:]
    played = re.search(r"walk: (\d+) sequences from seed \d+: 0 stuck", ended.stderr + ended.stdout)
    assert played is not None
    assert int(played[1]) > 0


@pytest.mark.slow
async def test_a_planted_workflow_a_held_permit_and_a_route_without_a_way_out_are_found(
    ground, monkeypatch
):
    monkeypatch.setattr("devkit.walk.fleet.REAL_SECONDS", 1)
    monkeypatch.setattr("devkit.walk.checks.REMOVED_WITHIN", timedelta(hours=3))
    rule = RULES["login-refused"]._replace(advice="Think about it.")
    monkeypatch.setitem(RULES, "login-refused", rule)

    renewing = []

    async def renew(permits):
        """Keep a permit as a worker does whose use of it never ends."""
        limit, lasts = next(iter(LIMITS)), timedelta(minutes=1)
        while True:
            permits.lease(limit, "stuck", limit=2, wanted=1, used=1, lasts=lasts)
            await asyncio.sleep(0.1)

    async def plant(fleet):
        await fleet.client.start_workflow("Stuck", id="stuck", task_queue="of nobody")
        renewing.append(asyncio.create_task(renew(fleet.store.permits)))
        for route in fleet.routes():
            fleet.hosts.set_fault(route.machine, "login-refused")

    try:
        problems = "\n".join((await play(ground, 1, plant)).problems)
    finally:
        for each in renewing:
            each.cancel()
    assert "Stuck stuck is open, and has not ended" in problems
    assert "Stuck stuck has not ended in 3 h" in problems
    assert "no command leads on from: " in problems
    assert "permits are held: creations at alpha" in problems


@pytest.mark.slow
async def test_a_rollout_and_a_claim_that_nothing_ends_are_found(ground, monkeypatch):
    monkeypatch.setattr("devkit.walk.fleet.REAL_SECONDS", 1)
    gone = Operation(origin=ORIGIN, workflow_id="rollout/v0.0.74/fleet", run_id="gone")

    async def plant(fleet):
        fleet.store.rollouts.open(
            OpenRolloutInput(
                release_tag="v0.0.74", scope="fleet", origin=ORIGIN, rollout_run_id="gone"
            ),
            gone,
        )
        fleet.store.disruptions.take("s-1", "a test", gone, lambda *_: Chosen(starts=("s-1",)))

    problems = (await play(ground, 2, plant)).problems
    assert "rollouts do not end: rollout/v0.0.74/fleet" in problems
    assert "rollout/v0.0.74/fleet holds scope fleet" in problems
    assert any("s-1 is in the disruption ledger" in each for each in problems)


def test_commands_are_read_from_messages_and_advice():
    text = "see `relight route show ROUTE`; `relight route\nreplace ROUTE --unreachable`, or wait"
    assert named_commands(text, ROUTE, "v0.0.74") == [("route", "replace", "s-1", "--unreachable")]
    again = "Free space, then `relight rollout start TAG` again."
    assert named_commands(again, ROUTE, "v0.0.74") == [("route", "swap", "s-1", "v0.0.74")]


@pytest.mark.parametrize(
    ("to_do", "controls"),
    [
        ("relight rollout approve, or abort", ["approve", "abort"]),
        ("it continues by itself; or relight rollout abort", ["abort"]),
        ("relight rollout resume when the cause is gone, or abort", ["resume", "abort"]),
    ],
)
def test_controls_are_read_from_what_a_rollout_waits_for(to_do, controls):
    assert controls_named(f"holding since today: a reason; to do: {to_do}") == controls
    assert controls_named("running since today: wave 1 of 3") == []
