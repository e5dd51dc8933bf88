"""Recovery as an operator tries it: after a failed release every command ends at the last good one.

A command that cannot do that is refused at once, and its message names one that does.
"""

import re
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from activities import policies
from relight.domain.names import machine_workflow_id
from relight.domain.rollout.rollout import RolloutPhase
from relight.domain.route import RouteStatus
from relight.engine.step import Policy
from starter.local.temporal import EmbeddedTemporal
from tests.starter.in_process import InProcess
from tests.starter.installation import Installation, operated_installation
from tests.support.command_line import Ended
from tests.workflows.harness import Harness
from tests.workflows.matrix import run_cells
from workflows.rollout.rollout import RolloutRelease

ROOT = Path(__file__).parents[2]
OLDER, GOOD, CRASHES, NEWER = "v0.0.73", "v0.0.74", "v0.0.76", "v0.0.78"
DISK_FULL = "dpkg: error: write error: No space left on device"
REFUSED_WITHIN_SECONDS = 20  # Of a busy computer; the retries of a wave take minutes.


@pytest.fixture
async def operated(
    temporal: EmbeddedTemporal,
    temporal_client: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Installation]:
    """An installation for several cells at once, whose retries do not wait."""
    monkeypatch.setattr("activities.machine.polls.POLL", timedelta(milliseconds=50))
    for policy in vars(policies).values():
        if isinstance(policy, Policy):
            monkeypatch.setattr(policy.retry, "initial_interval", timedelta(milliseconds=20))
            monkeypatch.setattr(policy.retry, "maximum_interval", timedelta(milliseconds=20))
    async with operated_installation(temporal_client, temporal.address, tmp_path) as installation:
        yield installation


@dataclass
class Failure:
    """A track after a failed release.

    Attributes:
        tag: the release.
        route_id: the route that it reached.
        others: the other routes of the track.
    """

    harness: Harness
    relight: InProcess
    tag: str
    route_id: str
    others: list[str]

    async def rollout(self, verb: str, *words: str) -> Ended:
        return await self.relight("rollout", verb, *words, "--track", self.harness.track)


async def good_routes(harness: Harness) -> list[str]:
    """Return two routes that were proven at an older release and then at the good one."""
    harness.store.tracks.set(harness.track, GOOD, harness.operation())
    route_ids = sorted([await harness.serving_route(), await harness.serving_route()])
    await harness.pool_machine()
    for route_id in route_ids:
        await harness.swap(route_id, GOOD)
    return route_ids


async def rolled_out(harness: Harness, relight: InProcess, tag: str, *options: str) -> Ended:
    words = ("rollout", "start", tag, "--track", harness.track, "--wave", "1", "--wait", *options)
    return await relight(*words)


def failed(harness: Harness, relight: InProcess, tag: str, route_ids: list[str]) -> Failure:
    tried = {each.route_id for each in harness.events(kind="target-set") if each.release_tag == tag}
    [reached] = [each for each in route_ids if each in tried]
    others = [each for each in route_ids if each != reached]
    return Failure(harness, relight, tag, reached, others)


State = Callable[[Harness, InProcess], Awaitable[Failure]]


async def stopped_and_kept(harness: Harness, relight: InProcess) -> Failure:
    route_ids = await good_routes(harness)
    assert (await rolled_out(harness, relight, CRASHES, "--keep-failed")).code == 1
    state = failed(harness, relight, CRASHES, route_ids)
    assert harness.route(state.route_id).status is RouteStatus.FAULTED
    return state


async def stopped_and_rolled_back(harness: Harness, relight: InProcess) -> Failure:
    route_ids = await good_routes(harness)
    assert (await rolled_out(harness, relight, CRASHES)).code == 1
    state = failed(harness, relight, CRASHES, route_ids)
    assert harness.route(state.route_id).status is RouteStatus.SERVING
    return state


async def aborted_half_way(harness: Harness, relight: InProcess) -> Failure:
    """The canary is healthy, and stays at the release that nobody wants."""
    route_ids = await good_routes(harness)
    track = ("--track", harness.track)
    options = ("--wave", "1", "--approval", "canary", "--keep-failed")
    started = await relight("rollout", "start", NEWER, *track, *options)
    assert started.code == 0, started

    workflow_id = f"rollout/{NEWER}/track:{harness.track}"
    claimed = harness.store.rollouts.get(workflow_id)
    assert claimed is not None
    rollout = harness.client.get_workflow_handle_for(
        RolloutRelease.run, workflow_id, first_execution_run_id=claimed.run_id
    )
    await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.HOLDING)
    aborted = await relight("rollout", "abort", NEWER, *track, "-r", "the graphs are odd")
    assert aborted.code == 0, aborted
    await harness.ended(rollout)
    state = failed(harness, relight, NEWER, route_ids)
    route = harness.route(state.route_id)
    assert (route.status, route.current_release_tag) == (RouteStatus.SERVING, NEWER)
    return state


async def faulted_by_its_host(harness: Harness, relight: InProcess) -> Failure:
    route_ids = await good_routes(harness)
    for each in route_ids:
        harness.hosts.of(each).repository_fault = DISK_FULL
    assert (await rolled_out(harness, relight, CRASHES, "--keep-failed")).code == 1
    for each in route_ids:
        harness.hosts.of(each).repository_fault = ""
    state = failed(harness, relight, CRASHES, route_ids)
    fault = harness.route(state.route_id).fault
    assert fault is not None
    assert fault.fault_class == "host"
    return state


async def unreachable_then_back(harness: Harness, relight: InProcess) -> Failure:
    """Neither the release nor the rollback reached it."""
    route_ids = await good_routes(harness)
    canary = f"{route_ids[0]}-g1"
    harness.hosts.unreachable.add(canary)
    assert (await rolled_out(harness, relight, CRASHES)).code == 1
    harness.hosts.unreachable.remove(canary)
    state = failed(harness, relight, CRASHES, route_ids)
    assert harness.route(state.route_id).status is RouteStatus.FAULTED
    return state


STATES: tuple[State, ...] = (
    stopped_and_kept,
    stopped_and_rolled_back,
    aborted_half_way,
    faulted_by_its_host,
    unreachable_then_back,
)


async def start(state: Failure) -> Ended:
    return await state.rollout("start", GOOD, "--wait")


async def undo(state: Failure) -> Ended:
    return await state.rollout("undo", state.tag, "--wait")


async def rollback(state: Failure) -> Ended:
    return await state.relight("route", "rollback", state.route_id)


async def swap(state: Failure) -> Ended:
    return await state.relight("route", "swap", state.route_id, GOOD)


async def replace(state: Failure) -> Ended:
    return await state.relight("route", "replace", state.route_id, "-r", "to be sure")


COMMANDS = (start, undo, rollback, swap, replace)


def first_command(said: str) -> tuple[str, ...]:
    """Return the words of the first command that a message names."""
    [words, *_] = re.findall(r"`relight ([^`]+)`", " ".join(said.split()))
    return tuple(shlex.split(words))


def serves(harness: Harness, route_id: str, tag: str) -> bool:
    """Return whether a route is proven at a release, and its host runs it."""
    route = harness.route(route_id)
    assert route.machine is not None
    host = harness.hosts.host(route.machine.key)
    assert host is not None
    return (
        (route.status, route.current_release_tag, route.target_release_tag)
        == (RouteStatus.SERVING, tag, tag)
    ) and host.running == tag.removeprefix("v")


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
async def test_every_command_ends_at_the_last_good_release_or_names_one_that_does(
    operated: Installation, state: State
):
    async def cell(harness: Harness, command: Callable[[Failure], Awaitable[Ended]]) -> None:
        failure = await state(harness, operated.relight)
        started = time.monotonic()
        ended = await command(failure)
        if not serves(harness, failure.route_id, GOOD) or ended.code != 0:
            assert time.monotonic() - started < REFUSED_WITHIN_SECONDS
            assert ended.code in {0, 3}, ended  # 0: a rollout that skipped the route.
            named = first_command(ended.said)
            wait = ("--wait",) if named[:2] == ("rollout", "undo") else ()
            followed = await operated.relight(*named, *wait)
            assert followed.code == 0, (ended, followed)
        assert serves(harness, failure.route_id, GOOD), (ended, harness.route(failure.route_id))
        assert all(serves(harness, each, GOOD) for each in failure.others)

    await run_cells(operated.harness, cell, COMMANDS)


# ---------------------------------------------------------------- single commands


@pytest.fixture
async def kept(operated: Installation) -> Failure:
    """A track whose canary was left at the release that failed."""
    return await stopped_and_kept(operated.harness.cell(), operated.relight)


async def test_attempts_that_fail_or_are_refused_do_not_move_what_a_rollback_goes_to(kept):
    relight, route_id = kept.relight, kept.route_id
    crashed = await relight("route", "swap", route_id, CRASHES)
    assert crashed.code == 1, crashed
    too_old = await relight("route", "swap", route_id, "v0.0.70")
    assert (too_old.code, "downgraded" in too_old.said) == (3, True), too_old
    kept.harness.hosts.host(f"{route_id}-g1").repository_fault = DISK_FULL
    assert (await relight("route", "swap", route_id, GOOD)).code == 1
    kept.harness.hosts.host(f"{route_id}-g1").repository_fault = ""
    back = await relight("route", "rollback", route_id)
    assert back.code == 0, back
    assert serves(kept.harness, route_id, GOOD)


async def test_a_second_rollback_does_not_go_one_release_too_far(kept):
    assert (await kept.relight("route", "rollback", kept.route_id)).code == 0
    again = await kept.relight("route", "rollback", kept.route_id)
    assert again.code == 3
    assert f"is back at {GOOD} from {CRASHES} already" in again.said
    assert serves(kept.harness, kept.route_id, GOOD)
    further = f"relight route swap {kept.route_id} {OLDER} --allow-downgrade"
    assert f"`{further}`" in again.said
    assert (await kept.relight(*further.split()[1:])).code == 0
    assert serves(kept.harness, kept.route_id, OLDER)


async def test_a_replacement_says_that_it_does_not_install_the_bad_release(kept):
    words = ("route", "replace", kept.route_id, "-r", "its disk fails", "--json")
    replaced = await kept.relight(*words)
    assert replaced.code == 0, replaced
    assert (replaced.json["release_tag"], replaced.json["from_pool"]) == (GOOD, True)
    assert replaced.json["instead_of"] == CRASHES
    assert replaced.json["instead_reason"]
    [event] = kept.harness.events(kept.route_id, "machine-attached")
    assert (event.release_tag, event.detail["instead_of"]) == (GOOD, CRASHES)
    host = kept.harness.hosts.host(replaced.json["machine"]["key"])
    assert CRASHES.removeprefix("v") not in host.installs


async def test_a_person_may_put_any_release_on_another_machine(kept):
    words = ("route", "replace", kept.route_id, "-r", "a trial", "--release", NEWER)
    assert (await kept.relight(*words)).code == 0
    assert serves(kept.harness, kept.route_id, NEWER)


async def test_a_route_that_is_provisioned_again_does_not_get_the_release_that_failed_there(kept):
    harness, relight, route_id = kept.harness, kept.relight, kept.route_id
    assert (await relight("route", "retire", route_id, "-r", "to start again")).code == 0
    await harness.client.get_workflow_handle(machine_workflow_id(f"{route_id}-g1")).result()
    harness.store.tracks.set(harness.track, CRASHES, harness.operation())
    location = ("--provider", harness.cloud.name, "--region", "fake-east")
    words = ("route", "provision", route_id, "--track", harness.track, *location)
    again = await relight(*words)
    assert again.code == 0, again
    assert f"not at {CRASHES}: {CRASHES} failed on this route" in again.said
    assert serves(harness, route_id, GOOD)
    assert harness.events(route_id, "route-opened")[-1].detail["instead_of"] == CRASHES


async def test_a_rollout_to_an_older_release_of_healthy_routes_is_refused_at_once(operated):
    harness, relight = operated.harness.cell(), operated.relight
    track = ("--track", harness.track)
    route_ids = await good_routes(harness)
    assert (await relight("rollout", "start", NEWER, *track, "--wait")).code == 0
    await operated.refuses(
        3,
        ("rollout", "start", GOOD, *track, "--wait"),
        f"is proven at a newer release than {GOOD} ({NEWER})",
        f"`relight rollout undo {NEWER} --track {harness.track}`",
    )
    await operated.refuses(
        3,
        ("route", "swap", route_ids[0], GOOD),
        f"`relight route swap {route_ids[0]} {GOOD} --allow-downgrade`",
        f"`relight rollout undo {NEWER} --track {harness.track}`",
    )
    assert (await relight("rollout", "undo", NEWER, *track, "--wait")).code == 0
    assert all(serves(harness, each, GOOD) for each in route_ids)


async def test_approve_says_what_to_type_where_nothing_waits_for_it(operated):
    harness, relight = operated.harness.cell(), operated.relight
    track = ("--track", harness.track)
    await good_routes(harness)
    gate = harness.hosts.hold_installs()
    assert (await relight("rollout", "start", NEWER, *track)).code == 0
    await gate.reached()
    approve = ("rollout", "approve", NEWER, *track)
    why = f"`relight rollout why {NEWER} --track {harness.track}`"
    await operated.refuses(3, approve, "cannot approve a rollout that is running", why)
    assert (await relight("rollout", "pause", NEWER, *track)).code == 0
    resume = f"relight rollout resume {NEWER} --track {harness.track}"
    await operated.refuses(3, approve, "a rollout that is paused", f"`{resume}`")
    assert (await relight(*resume.split()[1:])).code == 0
    gate.open()
    assert (await relight("rollout", "watch", NEWER, *track)).code == 0
    ended = await operated.refuses(3, approve, "it has ended")
    assert (await relight(*first_command(ended.said))).code == 0


# ---------------------------------------------------------------- the runbook


def steps_of(title: str) -> list[str]:
    """Return the commands of a section of the runbook."""
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    section = page.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\$ relight ([^#\n]+)", section, re.MULTILINE)


async def test_every_step_of_the_runbook_works_in_its_order(operated):
    harness, relight = operated.harness, operated.relight
    steps = steps_of("A release failed")
    assert len(steps) >= 5
    assert not any("approve" in step for step in steps)
    route_ids = [await harness.serving_route() for _ in range(3)]
    await harness.pool_machine()
    assert (await relight("rollout", "start", GOOD, "--wait")).code == 0
    failing = ("rollout", "start", CRASHES, "--wave", "2", "--failure-budget", "1", "--keep-failed")
    budgets = [
        word for group in ("provider", "region", "track") for word in (f"--{group}-budget", "100%")
    ]
    assert (await relight(*failing, *budgets, "--wait")).code == 1
    first, _ = [each for each in route_ids if harness.route(each).status is RouteStatus.FAULTED]
    for step in steps:
        ended = await relight(*shlex.split(step.replace("eu-1", first)))
        assert ended.code == 0, (step, ended)
        if step.startswith("route rollback"):
            assert serves(harness, first, GOOD)
    assert all(serves(harness, each, GOOD) for each in route_ids)
    assert harness.store.fleet_settings.get("default_release_tag") == GOOD
