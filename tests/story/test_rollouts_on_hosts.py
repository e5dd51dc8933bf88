"""Rollouts over twelve real hosts: good and bad releases, and kills of worker and server.

Each test ends with all routes proven, which is where the next one starts. Releases only go up.
"""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta

import pytest

from lab.names import LabNames
from lab.packages import Build
from relight.domain.names import route_workflow_id
from relight.domain.rollout.rollout import RolloutPhase, RouteProgress
from starter.local.children import wait_until
from starter.local.lab import lab_name
from tests.lab.traces import traces
from tests.support.command_line import Ended
from tests.support.lab_fleet import LabFleet, lab_fleet

pytestmark = pytest.mark.lab

KILLS = 5
PAUSES = (0.1, 0.8)
"""The range of pauses between two kills, in seconds."""


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LabFleet]:
    async with lab_fleet(tmp_path_factory.mktemp("fleet")) as provisioned:
        yield provisioned
    assert traces(LabNames(lab_name(provisioned.environment.home)).tag) == []


async def assert_converged(fleet: LabFleet, tag: str, installs: Mapping[str, list[str]]) -> None:
    """Check that each host got the release once, and that its swap proved it once."""
    await fleet.assert_serves(tag)
    version = tag.removeprefix("v")
    assert await fleet.installed_since(installs) == {route: [version] for route in fleet.routes}
    proven = fleet.events("route-proven", tag)
    assert Counter(event.route_id for event in proven) == dict.fromkeys(fleet.routes, 1)
    assert all(event.workflow_id == route_workflow_id(str(event.route_id)) for event in proven)
    assert await fleet.default() == tag


async def assert_stopped_and_rolled_back(
    fleet: LabFleet,
    ended: Ended,
    kind: str,
    canary: Sequence[str],
    installs: Mapping[str, list[str]],
) -> None:
    """Check that the canary failed and was rolled back, and that no other host changed."""
    assert ended.code == 1, ended
    status = ended.json_lines[-1]
    tag, before = status["release_tag"], await fleet.default()
    assert (status["phase"], status["wave"]) == (RolloutPhase.STOPPED, 1), status
    assert status["counts"] == {"rolled back": len(canary), "untouched": 12 - len(canary)}
    assert before != tag
    await fleet.assert_serves(before)
    there_and_back = [tag.removeprefix("v"), before.removeprefix("v")]
    assert await fleet.installed_since(installs) == dict.fromkeys(canary, there_and_back)
    failed = {event.route_id: event.fault_kind for event in fleet.events("fault-recorded", tag)}
    assert failed == dict.fromkeys(canary, kind)
    [decided] = fleet.events("rollout-decided", tag)
    assert decided.detail["decision"] == "abort"
    assert kind in str(decided.detail["reason"])


async def test_a_good_release_is_rolled_out_in_the_planned_waves(fleet: LabFleet) -> None:
    tag = "v0.0.74"
    strategy = ("--wave", "4", "--wave", "8", "--max-concurrent", "4")
    plan = await fleet.ask("rollout", "plan", tag, *strategy)
    installs = await fleet.installs()
    done = await fleet.roll_out(tag, *strategy)
    assert done.code == 0, done
    await assert_converged(fleet, tag, installs)
    groups = [{route.rpartition("-")[0] for route in wave} for wave in plan["waves"]]
    assert [len(wave) for wave in groups] == [4, 4, 4]  # each track of each region is in each wave
    assert list(itertools.chain(*plan["waves"])) == await fleet.started(tag)
    assert_in_waves(fleet, tag, plan["waves"])


def assert_in_waves(fleet: LabFleet, tag: str, waves: Sequence[Sequence[str]]) -> None:
    """Check that each wave started after the wave before it had ended and its gate had passed."""
    started = {event.route_id: event.event_id for event in fleet.events("target-set", tag)}
    ended = {event.route_id: event.event_id for event in fleet.events("route-proven", tag)}
    decided = fleet.events("rollout-decided", tag)
    assert [event.detail["decision"] for event in decided] == ["promote"] * len(waves)
    for (before, after), gate in zip(itertools.pairwise(waves), decided, strict=False):
        assert max(ended[route] for route in before) < gate.event_id
        assert gate.event_id < min(started[route] for route in after)


@pytest.mark.parametrize(
    ("tag", "kind"),
    [
        ("v0.0.75", "maintainer-script-failed"),
        ("v0.0.76", "unit-crash-looping"),
        ("v0.0.77", "probe-failed"),
    ],
)
async def test_a_bad_release_is_stopped_at_its_canary_and_rolled_back(
    fleet: LabFleet, tag: str, kind: str
) -> None:
    strategy = ("--wave", "3", "--wave", "6", "--max-concurrent", "3")
    canary = (await fleet.ask("rollout", "plan", tag, *strategy))["waves"][0]
    installs = await fleet.installs()
    ended = await fleet.roll_out(tag, *strategy, "--reason", "looked good on paper")
    await assert_stopped_and_rolled_back(fleet, ended, kind, canary, installs)
    [decided] = fleet.events("rollout-decided", tag)
    assert decided.reason == "looked good on paper"


async def test_a_repository_fault_holds_the_rollout_until_it_is_repaired(
    fleet: LabFleet,
) -> None:
    tag = await fleet.publish(Build("0.0.78"))
    installs = await fleet.installs()
    async with asyncio.TaskGroup() as tasks:
        rolling = tasks.create_task(fleet.roll_out(tag, "--wave", "2", "--max-concurrent", "3"))
        await fleet.until_events("route-proven", tag, 3)
        with fleet.repository_expired():
            await until_holding(fleet, tag)
            status = await fleet.ask("rollout", "status", tag)
            assert "repository fault" in status["detail"]
            assert "which no host is to blame for" in status["detail"]
            assert "by itself" in status["to_do"]
            assert "failed" not in status["counts"]
            assert {route["status"] for route in await fleet.ask("route", "list")} == {"proven"}
    done = rolling.result()
    assert done.code == 0, done
    await assert_converged(fleet, tag, installs)
    phases = [phase for phase, _ in itertools.groupby(s["phase"] for s in done.json_lines)]
    assert phases.count(RolloutPhase.HOLDING) == 1
    assert_one_route_tried_first(fleet, tag)


async def until_holding(fleet: LabFleet, tag: str) -> None:
    """Wait until the rollout holds and no swap is running."""

    async def holding() -> bool:
        swapping = RouteProgress.SWAPPING in fleet.progress(tag).values()
        status = await fleet.ask("rollout", "status", tag)
        return status["phase"] == RolloutPhase.HOLDING and not swapping

    await wait_until(holding, timedelta(seconds=30))


def assert_one_route_tried_first(fleet: LabFleet, tag: str) -> None:
    """Check that, after the last fault, one route was proven before another one started."""
    faults = fleet.events("fault-recorded", tag)
    assert {str(event.fault_class) for event in faults} == {"repository"}
    last = faults[-1].event_id
    first, second, *_ = fleet.events("target-set", tag, after=last)
    [proven] = [e for e in fleet.events("route-proven", tag) if e.route_id == first.route_id]
    assert first.event_id < proven.event_id < second.event_id


async def test_no_swap_is_lost_or_repeated_when_the_worker_is_killed_repeatedly(
    fleet: LabFleet,
) -> None:
    tag = await fleet.publish(Build("0.0.79"))
    installs = await fleet.installs()
    chance = random.Random(7)
    async with asyncio.TaskGroup() as tasks:
        rolling = tasks.create_task(fleet.roll_out(tag, "--wave", "2", "--max-concurrent", "10"))
        await fleet.until_events("route-proven", tag, 3)
        for _ in range(KILLS):
            await fleet.environment.kill_worker()
            await asyncio.sleep(chance.uniform(*PAUSES))
    done = rolling.result()
    assert done.code == 0, done
    await assert_converged(fleet, tag, installs)
    attempts = fleet.events("swap-attempted", tag)
    assert any(event.detail["attempt"] != 1 for event in attempts)  # kills interrupted swaps


async def test_a_rollback_has_the_same_result_when_the_worker_is_killed(
    fleet: LabFleet,
) -> None:
    tag = await fleet.publish(Build("0.0.80", define="CRASHES"))
    strategy = ("--wave", "3", "--max-concurrent", "3")
    canary = (await fleet.ask("rollout", "plan", tag, *strategy))["waves"][0]
    before, mark, installs = await fleet.default(), fleet.last_event(), await fleet.installs()
    async with asyncio.TaskGroup() as tasks:
        rolling = tasks.create_task(fleet.roll_out(tag, *strategy))
        await fleet.until_events("target-set", before, len(canary), after=mark)
        await asyncio.sleep(0.5)
        await fleet.environment.kill_worker()
    done = rolling.result()
    await assert_stopped_and_rolled_back(fleet, done, "unit-crash-looping", canary, installs)


async def test_a_rollout_continues_after_the_temporal_server_was_killed(fleet: LabFleet) -> None:
    tag = await fleet.publish(Build("0.0.81"))
    installs = await fleet.installs()
    strategy = ("--wave", "4", "--max-concurrent", "4")
    await fleet.ask("rollout", "start", tag, *strategy)
    await fleet.until_events("route-proven", tag, 1)
    await fleet.environment.kill_temporal()
    watched = await fleet.relight("rollout", "watch", tag, "--json")
    assert watched.code == 0, watched
    await assert_converged(fleet, tag, installs)
