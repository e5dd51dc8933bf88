"""The results of the demo, on the hosts and in the Temporal UI."""

import asyncio
import json

import httpx
import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata

from lab import inside
from relight.domain.names import rollout_workflow_id, route_workflow_id
from relight.engine import search_attributes
from starter.local.lab import addresses_of, lab_state
from tests.starter.in_process import InProcess
from tests.story.conftest import Story

pytestmark = pytest.mark.lab

TOUCHED = ("east-1", "east-3")
"""The first wave: one route of each track."""
UNTOUCHED = ("east-2", "west-1", "west-2", "west-3")


def machine_ids(story: Story) -> dict[str, str]:
    """Return the lab's id of each machine, by its label."""
    lab = addresses_of(story.home)
    assert lab is not None
    machines = httpx.get(
        f"{lab.url}/v1/machines",
        headers={"Authorization": f"Bearer {lab.token_file.read_text()}"},
    ).json()
    return {machine["label"]: machine["id"] for machine in machines}


async def on_host(story: Story, route_id: str, *argv: str) -> str:
    """Run a command on a route's machine. It needs neither the network nor sshd."""
    machine = machine_ids(story)[f"{route_id}-g1"]
    process = await asyncio.create_subprocess_exec(
        *inside.inside(lab_state(story.home), machine, argv), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return out.decode()


async def test_six_routes_on_two_tracks_and_two_regions_are_listed(story):
    routes = await story.ask("route", "list")
    assert [route["route_id"] for route in routes] == sorted((*TOUCHED, *UNTOUCHED))
    assert {route["track"] for route in routes} == {"stable", "beta"}
    assert {route["region"] for route in routes} == {"lab-east", "lab-west"}


async def test_the_undo_brought_every_route_back_to_its_own_release_from_before(story):
    for route in await story.ask("route", "list"):
        assert route["status"] == "proven"
        assert (route["target_release_tag"], route["current_release_tag"]) == ("v0.0.73",) * 2
    undo = story.output.partition("Undo v0.0.74")[2]
    assert "undo of v0.0.74 over fleet: converged, wave 2 of 2; 6 converged" in undo


async def test_the_bad_release_changed_the_first_wave_only_and_was_rolled_back_there(story):
    rollout = await story.ask("rollout", "status", "v0.0.76")
    progress = {route["route_id"]: route["progress"] for route in rollout["routes"]}
    assert progress == dict.fromkeys(TOUCHED, "rolled back") | dict.fromkeys(UNTOUCHED, "untouched")


@pytest.mark.parametrize("route_id", UNTOUCHED)
async def test_no_other_host_had_the_bad_release(story, route_id):
    version = await on_host(
        story, route_id, "dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Version}", "lantern-box"
    )
    assert version == "ii 0.0.73"
    log = await on_host(story, route_id, "grep", " install \\| upgrade ", "/var/log/dpkg.log")
    assert "0.0.76" not in log
    route = (await story.ask("route", "show", route_id))["route"]
    async with httpx.AsyncClient(trust_env=False) as http:
        health = await http.get(f"http://{route['machine']['address']}:8899/healthz")
    assert health.json() == {"status": "ok", "version": "0.0.73"}


@pytest.mark.parametrize("route_id", TOUCHED)
async def test_each_failed_host_is_printed_with_its_fault_and_its_journal(story, route_id):
    route = (await story.ask("route", "show", route_id))["route"]
    rollout = await story.ask("rollout", "status", "v0.0.76")
    [fault] = [each["fault"] for each in rollout["routes"] if each["route_id"] == route_id]
    assert fault["kind"] == "unit-crash-looping"
    assert fault["fault_class"] == "release"
    assert (fault["machine_key"], fault["host"]) == (
        f"{route_id}-g1",
        route["machine"]["address"],
    )
    assert any("panic" in line for line in fault["journal_tail"])
    on_screen = story.output.partition("Roll out v0.0.76")[2]
    assert f"{route_id}-g1" in on_screen
    assert "unit-crash-looping (release)" in on_screen
    assert "panic: runtime error" in on_screen


async def test_one_search_finds_all_operations_of_a_route(story):
    query = f"{search_attributes.ROUTE.name} = 'east-1'"
    found = [execution async for execution in story.client.list_workflows(query)]
    assert {execution.id for execution in found} == {route_workflow_id("east-1")}
    assert sorted(execution.workflow_type for execution in found) == [
        *("HotSwapRoute",) * 4,
        "ProvisionRoute",
    ]


async def test_one_search_finds_all_routes_with_a_fault(story):
    query = f"{search_attributes.FAULT.name} = 'unit-crash-looping'"
    found = {execution.id async for execution in story.client.list_workflows(query)}
    assert found == {route_workflow_id(route_id) for route_id in TOUCHED}


@pytest.mark.parametrize(
    ("tag", "texts"),
    [
        ("v0.0.74", ["converged", "| wave | 2 of 2 |", "6 converged"]),
        ("v0.0.76", ["stopped", "| wave | 1 of 2 |", "2 rolled back", "4 untouched", "east-1-g1"]),
    ],
)
async def test_a_rollouts_page_shows_its_tag_wave_and_counts(story, tag, texts):
    handle = story.client.get_workflow_handle(rollout_workflow_id(tag, "fleet"))
    shown: WorkflowMetadata = await handle.query(
        "__temporal_workflow_metadata", result_type=WorkflowMetadata
    )
    for text in (tag, *texts):
        assert text in shown.current_details
    assert tag in await (await handle.describe()).static_summary()


async def test_the_ui_answers_at_the_printed_address(story):
    assert story.state.ui is not None
    assert story.state.ui in story.output
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(story.state.ui)).status_code == 200


async def test_the_fleets_default_went_back_with_the_undo(story):
    status = await story.ask("fleet", "status")
    assert status["default_release_tag"] == "v0.0.73"
    assert status["drifted"] == []
    assert status["converged"]


async def test_each_event_has_its_operation_requester_and_reason(story):
    events = (await story.ask("route", "show", "east-1"))["events"]
    kinds = [event["kind"] for event in events]
    assert kinds.count("route-proven") == 4
    assert kinds[-1] == "route-proven"
    [fault] = [event for event in events if event["kind"] == "fault-recorded"]
    assert fault["reason"] == "a bad release"
    assert "@" in fault["requested_by"]
    assert fault["workflow_id"] == route_workflow_id("east-1")
    assert json.dumps(fault["detail"]).count("panic") >= 1


async def test_an_operator_logs_in_on_a_host_with_its_known_host_key_only(story, tmp_path):
    relight = InProcess(story.home).processes
    named = await relight("route", "exec", "east-1", "hostname")
    assert (named.code, named.out) == (0, "east-1-g1\n"), named
    logs = await relight("route", "logs", "east-1", "--lines", "5")
    assert logs.code == 0, logs
    assert 1 <= len(logs.out.splitlines()) <= 5
    secret = tmp_path / "secret"
    secret.write_text("ab" * 32)
    wrong = relight.where(RELIGHT_SSH__HOST_KEY_SECRET=str(secret))
    refused = await wrong("route", "exec", "east-1", "hostname")
    assert (refused.code, refused.out) == (1, ""), refused
    assert "host key" in refused.said.lower()


async def test_a_machine_of_the_demo_holds_the_contract_of_base_images(story):
    relight = InProcess(story.home).processes
    held = await relight("image", "verify", "east-1")
    assert held.code == 0, held
    assert "no violation" in held.out
    await on_host(story, "east-1", "rm", "/etc/systemd/system/apt-daily.timer")
    violated = await relight("image", "verify", "east-1", "--json")
    assert violated.code == 1, violated
    [line] = json.loads(violated.out)["violations"]
    assert line["text"].startswith("apt-daily.timer is not masked: ")
