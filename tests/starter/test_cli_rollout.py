"""`relight rollout`: started, followed and controlled."""

import asyncio
import itertools
import json
import os
import re
import signal
import socket
from datetime import timedelta

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from relight.person import person
from starter.local.children import wait_until
from tests.starter.installation import (
    FAULT_KEYS,
    ROLLOUT_KEYS,
    ROUTE_OUTCOME_KEYS,
)
from tests.starter.stores import record_swap

ME = f"{person().name}@{socket.gethostname()}"


@pytest.fixture
async def held(installation, three_routes):
    """The gate that holds the canary of a rollout of v0.0.74 over the fleet."""
    gate = installation.harness.hosts.hold_installs()
    words = ("rollout", "start", "v0.0.74", "--keep-failed", "-r", "fixes DNS")
    started = await installation.relight(*words)
    assert started.code == 0, started
    await gate.reached()
    yield gate
    gate.open()


def progress(status):
    return sorted(route["progress"] for route in status["routes"])


async def test_start_prints_the_plan_and_how_to_follow_it(installation, three_routes):
    canary, *rest = three_routes
    started = await installation.relight("rollout", "start", "v0.0.74", "--wave", "1")
    assert (started.code, started.notes) == (0, [])
    plan, first, second, follow = started.out.splitlines()
    assert plan == "v0.0.74 (0.0.74) over fleet: 3 routes in 2 waves"
    assert (first, second) == (f"  wave 1: {canary}", f"  wave 2: {', '.join(rest)}")
    command = re.search("`relight (.*)`", follow)
    assert command is not None
    assert (await installation.relight(*command[1].split())).code == 0


async def test_start_as_json_has_the_workflow_and_the_plan(installation, three_routes):
    started = await installation.relight("rollout", "start", "v0.0.74", "--json")
    assert list(started.json) == ["workflow_id", "plan", "ran_already"]
    assert set(started.json["plan"]) >= {"release_tag", "scope", "version", "waves", "sizes"}
    assert started.json["workflow_id"] == "rollout/v0.0.74/fleet"
    assert sorted(itertools.chain(*started.json["plan"]["waves"])) == three_routes


async def test_with_wait_it_succeeds_once_every_route_converged(installation, three_routes):
    done = await installation.relight("rollout", "start", "v0.0.74", "--wait", "-r", "fixes DNS")
    assert done.code == 0, done
    assert "v0.0.74 over fleet: converged" in done.out
    for route_id in three_routes:
        assert f"{route_id}: proven at v0.0.74" in done.err
        assert installation.harness.route(route_id).current_release_tag == "v0.0.74"
    [opened] = installation.harness.events(kind="rollout-opened")
    assert (opened.requested_by, opened.reason) == (ME, "fixes DNS")


@pytest.mark.parametrize(
    ("tag", "kind"),
    [
        ("v0.0.75", "maintainer-script-failed"),
        ("v0.0.76", "unit-crash-looping"),
        ("v0.0.77", "probe-failed"),
    ],
)
async def test_a_stopped_rollout_fails_and_shows_host_fault_and_log(
    installation, three_routes, tag, kind
):
    stopped = await installation.relight("rollout", "start", tag, "--keep-failed", "--wait")
    assert stopped.code == 1
    canary = three_routes[0]
    address = installation.harness.route(canary).machine.address
    for text in (f"route {canary}", f"{canary}-g1 {address}", kind, "2 untouched"):
        assert text in stopped.out
    assert f"error: {tag} over fleet: stopped in wave 1" in stopped.said
    assert f"{canary}-g1 ({address})" in stopped.said
    if tag == "v0.0.76":
        assert "last log lines of the unit" in stopped.out
        assert "panic: " in stopped.out


@pytest.mark.parametrize("output", [(), ("--json",)])
async def test_a_stopped_rollout_is_not_green_in_the_temporal_ui_and_has_the_reason_of_the_cli(
    installation, three_routes, output
):
    words = ("rollout", "start", "v0.0.76", "--keep-failed", "--wait", *output)
    stopped = await installation.relight.processes(*words)
    assert (stopped.code, "Traceback" in stopped.err) == (1, False), stopped
    status, failure = await ended_rollout(installation, "v0.0.76")
    assert status is WorkflowExecutionStatus.FAILED
    reason, _, routes = failure.rpartition("; ")
    assert routes == "routes: 1 failed, 2 untouched"
    assert reason.startswith("stopped in wave 1: 1 failed")
    assert f"v0.0.76 over fleet: {reason}" in stopped.said
    for command in (("status",), ("why",), ("history", "--json")):
        shown = await installation.relight("rollout", *command, "v0.0.76")
        assert (shown.code, reason in " ".join(shown.out.split())) == (0, True), shown


async def test_a_refused_rollout_says_in_the_temporal_ui_that_nothing_was_changed(installation):
    await installation.provision(1)
    refused = await installation.relight("rollout", "start", "v9.9.9", "--wait")
    assert (refused.code, "nothing was changed" in refused.said) == (2, False), refused
    status, failure = await ended_rollout(installation, "v9.9.9")
    assert status is WorkflowExecutionStatus.FAILED
    summary, _, outcome = failure.rpartition("; ")
    assert outcome == "nothing was changed"
    assert summary in refused.said


async def ended_rollout(installation, tag):
    """Return a rollout's status and its failure's message, as Temporal has them."""
    rollout = installation.harness.client.get_workflow_handle(f"rollout/{tag}/fleet")
    with pytest.raises(WorkflowFailureError) as failed:
        await rollout.result()
    failure = failed.value.cause
    assert isinstance(failure, ApplicationError)
    return (await rollout.describe()).status, failure.message


async def test_with_wait_the_json_ends_with_the_final_status_and_its_faults(
    installation, three_routes
):
    # A real process: its exit code and its standard output are what release automation uses.
    stopped = await installation.relight.processes(
        "rollout", "start", "v0.0.76", "--keep-failed", "--wait", "--json"
    )
    assert stopped.code == 1
    final = stopped.json_lines[-1]
    assert list(final) == ROLLOUT_KEYS
    assert final["phase"] == "stopped"
    assert [list(route) for route in final["routes"]] == [ROUTE_OUTCOME_KEYS] * 3
    [fault] = [route["fault"] for route in final["routes"] if route["fault"]]
    assert list(fault) == FAULT_KEYS
    assert fault["journal_tail"]


async def test_watch_as_json_is_one_status_per_line_up_to_the_final_one(installation, held):
    async with installation.relight.running("rollout", "watch", "--json") as watching:
        first = json.loads(await watching.stdout.readline())
        assert progress(first) == ["swapping", "waiting", "waiting"]
        held.open()
        rest, _ = await watching.communicate()
    statuses = [first, *(json.loads(line) for line in rest.splitlines())]
    assert watching.returncode == 0
    assert all(list(status) == ROLLOUT_KEYS for status in statuses)
    assert statuses[-1]["phase"] == "converged"
    assert all(before != after for before, after in itertools.pairwise(statuses))


class Screen:
    """What a command has written to its terminal."""

    def __init__(self, controller):
        self._controller = controller
        self.text = ""
        asyncio.get_running_loop().add_reader(controller, self._read)

    def _read(self):
        try:
            self.text += os.read(self._controller, 65536).decode(errors="replace")
        except OSError:  # The command has closed the terminal.
            asyncio.get_running_loop().remove_reader(self._controller)

    def close(self):
        """Read no more. Otherwise the next terminal, of the same number, would not be read."""
        asyncio.get_running_loop().remove_reader(self._controller)
        os.close(self._controller)

    async def shows(self, *texts):
        async def all_of_them():
            return all(text in self.text for text in texts)

        try:
            await wait_until(all_of_them, timedelta(seconds=60))
        except TimeoutError:
            raise AssertionError(self.text) from None


async def test_on_a_terminal_watch_shows_waves_steps_and_time_and_pause_prints_two_lines(
    installation, held
):
    controller, terminal = os.openpty()
    screen = Screen(controller)
    relight = installation.relight.where(COLUMNS="80", LINES="24", TERM="xterm")
    watching = asyncio.create_task(relight.on_terminal(terminal, "rollout", "watch"))
    await screen.shows("v0.0.74 over fleet: running, wave 1 of ", "elapsed ", "0 of 1")
    await screen.shows("swapping: installing, ", "no ETA: no swap is recorded yet")
    paused = await installation.relight("rollout", "pause", "-r", "odd graphs")
    done, following = paused.out.splitlines()
    assert done == f"v0.0.74 over fleet: paused by {ME}: odd graphs"
    assert following.startswith("1 route in progress will be finished, no further one starts; ")
    assert "`relight rollout resume v0.0.74` continues it" in following
    await screen.shows("no ETA while it is paused", "to do: relight rollout resume")
    resumed = await installation.relight("rollout", "resume")
    assert resumed.out.splitlines()[1].startswith("1 route in progress, 2 waiting; ")
    held.open()
    assert await watching == 0
    os.close(terminal)
    await screen.shows("v0.0.74 over fleet: converged")
    screen.close()
    # Each frame is erased line by line: none was higher than the terminal.
    frames = re.findall(r"(?:\x1b\[1A\x1b\[2K)+", screen.text)
    assert frames
    assert max(frame.count("1A") for frame in frames) < 24


async def test_the_eta_of_watch_is_within_the_disruption_budget(installation, three_routes):
    harness = installation.harness
    record_swap(harness.store, timedelta(minutes=4, seconds=50))
    gate = harness.hosts.hold_installs()
    words = ("rollout", "start", "v0.0.74", "--wave", "100%", "--region-budget", "1")
    assert (await installation.relight(*words)).code == 0
    await gate.reached()
    controller, terminal = os.openpty()
    screen = Screen(controller)
    relight = installation.relight.where(COLUMNS="80", LINES="24", TERM="xterm")
    watching = asyncio.create_task(relight.on_terminal(terminal, "rollout", "watch"))
    # One after the other: 3 swaps of 5 minutes.
    await screen.shows("about 15 min left (10 at once, a swap takes 5 min)")
    gate.open()
    assert await watching == 0
    os.close(terminal)
    await screen.shows("v0.0.74 over fleet: converged")
    screen.close()


async def test_a_start_after_an_abort_is_a_new_rollout(installation, held):
    client = installation.harness.client
    first = await client.get_workflow_handle("rollout/v0.0.74/fleet").describe()
    assert (await installation.relight("rollout", "abort")).code == 0
    async with installation.relight.running("rollout", "start", "v0.0.74") as starting:
        assert (await starting.stderr.readline()).startswith(b"context ")
        told = (await starting.stderr.readline()).decode()
        assert "rollout/v0.0.74/fleet is ending, aborted: aborted by" in told
        held.open()
        out, _ = await starting.communicate()
    assert starting.returncode == 0
    assert "started; follow it with" in out.decode()
    second = await client.get_workflow_handle("rollout/v0.0.74/fleet").describe()
    assert second.run_id != first.run_id


async def test_a_rollout_says_which_operation_of_another_holds_a_route(installation, three_routes):
    harness, canary = installation.harness, three_routes[0]
    gate = harness.hosts.hold_installs()
    swap = await harness.start_swap(canary, "v0.0.74")
    await gate.reached()
    assert (await installation.relight("rollout", "start", "v0.0.74", "--wave", "1")).code == 0

    async def waits() -> bool:
        return bool((await installation.relight("rollout", "why", "--json")).json["waits"])

    await wait_until(waits, timedelta(seconds=30))
    held_by = f"route {canary} waits for HotSwapRoute: "
    for command in ("why", "status"):
        assert held_by in (await installation.relight("rollout", command)).out
    gate.open()
    await swap.result()
    assert (await installation.relight("rollout", "why", "--json")).json["waits"] == []


async def test_a_watch_of_an_aborted_rollout_ends_once_its_last_route_is_done(installation, held):
    async with installation.relight.running("rollout", "watch", "--json") as watching:
        await watching.stdout.readline()
        assert (await installation.relight("rollout", "abort")).code == 0
        assert json.loads(await watching.stdout.readline())["phase"] == "aborted"
        held.open()
        rest, _ = await watching.communicate()
    final = json.loads(rest.splitlines()[-1])
    assert watching.returncode == 1
    assert progress(final) == ["converged", "untouched", "untouched"]


async def test_a_watch_ends_when_the_rollout_is_terminated(installation, held):
    async with installation.relight.running("rollout", "watch", "--json") as watching:
        await watching.stdout.readline()
        handle = installation.harness.client.get_workflow_handle("rollout/v0.0.74/fleet")
        await handle.terminate("gone")
        _, err = await watching.communicate()
    assert watching.returncode == 1
    assert b"terminated" in err


async def test_ctrl_c_ends_the_watch_and_not_the_rollout(installation, held):
    async with installation.relight.running("rollout", "watch") as watching:
        async with asyncio.timeout(60):
            await watching.stderr.readline()
        watching.send_signal(signal.SIGINT)
        async with asyncio.timeout(60):
            _, err = await watching.communicate()
    assert watching.returncode == 130
    assert b"workflows continue" in err
    assert b"Traceback" not in err
    held.open()
    assert (await installation.relight("rollout", "watch")).code == 0


@pytest.mark.parametrize("tag", [("v0.0.74",), ()], ids=["by tag", "without a tag"])
async def test_controls_record_their_requester_and_reason_and_impossible_ones_are_refused(
    installation, held, tag
):
    relight = installation.relight
    await installation.refuses(3, ("rollout", "resume", *tag), "cannot resume", "running")
    paused = await relight("rollout", "pause", *tag, "-r", "odd graphs", "--json")
    assert paused.json["detail"] == f"paused by {ME}: odd graphs"
    assert list(paused.json) == ROLLOUT_KEYS
    await installation.refuses(3, ("rollout", "pause", *tag), "cannot pause", "paused")
    resumed = await relight("rollout", "resume", *tag, "-r", "it was the graphs", "--json")
    assert (resumed.code, resumed.json["phase"]) == (0, "running")
    aborted = await relight("rollout", "abort", *tag, "-r", "it leaks")
    assert aborted.code == 0
    assert f"aborted by {ME}: it leaks" in aborted.out
    controls = [
        (event.kind, event.requested_by, event.reason)
        for event in installation.harness.events()
        if event.kind in {"rollout-pause", "rollout-resume", "rollout-abort"}
    ]
    assert controls == [
        ("rollout-pause", ME, "odd graphs"),
        ("rollout-resume", ME, "it was the graphs"),
        ("rollout-abort", ME, "it leaks"),
    ]
    held.open()
    assert (await relight("rollout", "watch", *tag)).code == 1
    await asyncio.gather(
        *(
            installation.refuses(3, ("rollout", action, *tag), f"cannot {action}", "has ended")
            for action in ("pause", "resume", "abort")
        )
    )


async def test_the_status_of_an_ended_rollout_is_its_result(installation, three_routes):
    await installation.relight("rollout", "start", "v0.0.76", "--keep-failed", "--wait")
    shown, as_json = await asyncio.gather(
        installation.relight("rollout", "status"),
        installation.relight("rollout", "status", "v0.0.76", "--json"),
    )
    assert (shown.code, as_json.code) == (0, 0)
    assert "v0.0.76 over fleet: stopped, wave 1 of 2; 1 failed, 2 untouched" in shown.out
    assert "last log lines of the unit" in shown.out
    assert list(as_json.json) == ROLLOUT_KEYS
    assert progress(as_json.json) == ["failed", "untouched", "untouched"]


async def test_the_same_tag_started_twice_is_the_same_rollout(installation, held):
    again = await installation.relight("rollout", "start", "v0.0.74")
    assert again.code == 0
    assert "it is already running" in again.out
    status = await installation.relight("rollout", "status", "--json")
    assert (status.json["release_tag"], status.json["phase"]) == ("v0.0.74", "running")


async def test_another_tag_supersedes_the_running_rollout(installation, held):
    second = asyncio.create_task(installation.relight("rollout", "start", "v0.0.78", "--wait"))

    async def superseded():
        shown = await installation.relight("rollout", "status", "v0.0.74", "--json")
        return shown.json["phase"] == "superseded"

    await wait_until(superseded, timedelta(seconds=30))
    held.open()
    ended = await second
    assert ended.code == 0
    first = await installation.relight("rollout", "status", "v0.0.74")
    assert "superseded by v0.0.78" in first.out


async def test_a_mistyped_tag_leaves_the_running_rollout_alone(installation, held):
    await installation.refuses(2, ("rollout", "start", "v0.9.9"), "v0.9.9")
    status = await installation.relight("rollout", "status", "--json")
    assert (status.json["release_tag"], status.json["phase"]) == ("v0.0.74", "running")
    held.open()
    assert (await installation.relight("rollout", "watch")).code == 0


@pytest.mark.parametrize("tag", ["v0.9.9", "v0.0.74"], ids=["another tag", "the same tag"])
async def test_a_refused_rollout_does_not_hide_the_newest_one(installation, three_routes, tag):
    await installation.relight("rollout", "start", "v0.0.74", "--wait")
    installation.harness.releases.remove("v0.0.74")
    await installation.refuses(2, ("rollout", "start", tag), tag)
    for words in (("status",), ("status", "v0.0.74"), ("why",), ("why", "v0.0.74")):
        shown = await installation.relight("rollout", *words)
        assert "converged" in shown.out, shown


async def test_a_rollout_of_a_track_is_found_by_its_track_or_as_the_only_running_one(
    installation,
):
    harness = installation.harness
    harness.store.tracks.set("beta", "v0.0.73", harness.operation())
    await asyncio.gather(
        harness.provision(harness.new_route_id(), track="beta"),
        harness.provision(harness.new_route_id()),
    )
    gate = harness.hosts.hold_installs()
    started = await installation.relight("rollout", "start", "v0.0.74", "--track", "beta")
    assert "relight rollout watch v0.0.74 --track beta" in started.out
    await gate.reached()
    for words in ((), ("--track", "beta"), ("v0.0.74", "--track", "beta")):
        shown = await installation.relight("rollout", "status", *words, "--json")
        assert shown.json["scope"] == "track:beta"
    await installation.relight("rollout", "start", "v0.0.74")
    await harness.until(lambda: len(harness.events(kind="target-set")) == 2)
    await installation.refuses(3, ("rollout", "abort"), "v0.0.74 --track beta", "several")
    gate.open()
    assert (await installation.relight("rollout", "watch", "--track", "beta")).code == 0
    assert (await installation.relight("rollout", "watch", "v0.0.74")).code == 0
    assert harness.store.tracks.get("beta").release_override == "v0.0.74"


async def test_it_waits_for_approval_says_so_and_records_the_approval(installation, three_routes):
    started = await installation.relight("rollout", "start", "v0.0.74", "--approval", "canary")
    assert started.code == 0, started

    async def holds():
        return (await installation.relight("rollout", "status", "--json")).json[
            "phase"
        ] == "holding"

    await wait_until(holds, timedelta(seconds=30))
    why = await installation.relight("rollout", "why")
    assert "holding since" in why.out
    assert "to do: relight rollout approve" in why.out
    first = why.out.splitlines()[0]
    assert (await installation.relight("rollout", "why", "--json")).json["why"] == first
    approved = await installation.relight("rollout", "approve", "-r", "graphs are green")
    assert approved.code == 0, approved
    assert (await installation.relight("rollout", "watch")).code == 0
    [event] = installation.harness.events(kind="rollout-approve")
    assert (event.requested_by, event.reason) == (ME, "graphs are green")


async def test_concurrency_is_changed_a_route_is_skipped_and_a_failed_one_retried(
    installation, three_routes
):
    harness = installation.harness
    gate = harness.hosts.hold_installs()
    words = ("--wave", "100%", "--max-concurrent", "1", "--failure-budget", "1")
    await installation.relight("rollout", "start", "v0.0.74", *words)
    await gate.reached()
    first, *_, last = three_routes
    harness.hosts.of(first).unhealthy_version = "0.0.74"
    await installation.refuses(
        2, ("rollout", "set-concurrency", "--max-concurrent", "0"), "greater than or equal to 1"
    )
    assert (await installation.relight("rollout", "skip", "--route", last)).code == 0
    await installation.refuses(3, ("rollout", "skip", "--route", "nobody"), "nobody")
    following = harness.hosts.hold_installs()
    gate.open()
    await following.reached()
    assert harness.route(first).status == "faulted"
    harness.hosts.of(first).unhealthy_version = None
    assert (
        await installation.relight("rollout", "set-concurrency", "--max-concurrent", "2")
    ).code == 0
    retried = await installation.relight("rollout", "retry", "-r", "it has room again")
    assert retried.code == 0, retried
    following.open()
    ended = await installation.relight("rollout", "watch")
    assert ended.code == 0, ended
    assert "2 converged, 1 skipped" in ended.out
    assert harness.route(first).current_release_tag == "v0.0.74"
    assert [event.reason for event in harness.events(kind="rollout-retry")] == ["it has room again"]
    told = await installation.relight("events", "--kind", "rollout-set-concurrency", "--json")
    assert [event["detail"] for event in told.json_lines] == [
        {"scope": "fleet", "max_concurrent": 2}
    ]
    assert "2 at once" in (await installation.relight("rollout", "history")).out


@pytest.mark.parametrize("command", ["status", "watch", "abort"])
async def test_without_any_rollout_it_is_bad_input(installation, command):
    await installation.refuses(2, ("rollout", command), "there has been no rollout")
