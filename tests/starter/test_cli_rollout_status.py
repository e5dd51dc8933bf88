"""`relight rollout status` and `why` read the store: no worker is needed, nor one long run."""

import asyncio
from datetime import timedelta

from relight.domain.base import Origin
from relight.domain.rollout.rollout import RolloutPhase, SetConcurrency
from starter.local.children import wait_until
from tests.starter.installation import ROLLOUT_KEYS, Installation
from tests.workflows.installation import idle_installation, small_installation
from workflows.rollout.rollout import RolloutRelease

MORE = SetConcurrency(max_concurrent=3, origin=Origin(requested_by="tester", reason="a test"))


async def test_they_answer_while_no_worker_runs(temporal, temporal_client, tmp_path):
    async with idle_installation(temporal_client, tmp_path) as harness:
        installation = Installation(harness, temporal.address, tmp_path)
        async with harness.worker():
            await asyncio.gather(*(harness.serving_route() for _ in range(3)))
            rollout = await harness.start_rollout("v0.0.74", approval="canary")
            await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.HOLDING)
        status = await installation.relight("rollout", "status", "--json")
        assert (status.code, list(status.json)) == (0, ROLLOUT_KEYS)
        assert (status.json["phase"], status.json["counts"]) == (
            "holding",
            {"converged": 1, "waiting": 2},
        )
        why = await installation.relight("rollout", "why")
        assert "to do: relight rollout approve" in why.out


async def test_they_and_the_controls_find_a_rollout_that_has_just_continued_as_new(
    temporal, temporal_client, tmp_path, monkeypatch
):
    monkeypatch.setattr("workflows.rollout.state.MAX_HISTORY_EVENTS", 30)
    async with small_installation(temporal_client, tmp_path) as harness:
        installation = Installation(harness, temporal.address, tmp_path)
        await asyncio.gather(*(harness.serving_route() for _ in range(3)))
        gate = harness.hosts.hold_installs()
        words = ("--keep-failed", "-r", "fixes DNS")
        assert (await installation.relight("rollout", "start", "v0.0.74", *words)).code == 0
        await gate.reached()
        rollout = harness.client.get_workflow_handle_for(
            RolloutRelease.run, "rollout/v0.0.74/fleet"
        )
        first = (await rollout.describe()).run_id

        async def has_continued() -> bool:
            await rollout.execute_update(RolloutRelease.set_concurrency, MORE)
            return (await rollout.describe()).run_id != first

        await wait_until(has_continued, timedelta(seconds=30))
        status = await installation.relight("rollout", "status", "--json")
        assert (status.json["phase"], status.json["counts"]) == (
            "running",
            {"swapping": 1, "waiting": 2},
        )
        again = await installation.relight("rollout", "start", "v0.0.74")
        assert "it is already running" in again.out
        aborted = await installation.relight("rollout", "abort", "-r", "it leaks", "--json")
        assert (aborted.code, aborted.json["phase"]) == (0, "aborted")
        gate.open()
        watched = await installation.relight("rollout", "watch")
        assert watched.code == 1
        assert "1 converged, 2 untouched" in watched.out
