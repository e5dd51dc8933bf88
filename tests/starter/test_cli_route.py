"""`relight route list` and `relight route show`."""

import re

from tests.starter.stores import SHOWN_ROUTE_KEYS
from tests.store.fleets import MANUAL, recording, run_on, serve

MACHINE_KEYS = [
    "key",
    "route_id",
    "generation",
    "provider",
    "provider_id",
    "region",
    "architecture",
    "address",
    "status",
    "user_data_sha256",
    "created_at",
    "destroyed_at",
    "image_name",
    "image_id",
]
EVENT_KEYS = [
    "event_id",
    "at",
    "kind",
    "requested_by",
    "reason",
    "workflow_id",
    "run_id",
    "route_id",
    "machine_key",
    "release_tag",
    "fault_kind",
    "fault_class",
    "detail",
]


async def test_routes_as_json_are_a_list_of_all_or_of_a_track(relight, one_faulted):
    one_faulted.tracks.set("beta", None, MANUAL)
    everything = await relight("route", "list", "--json")
    assert [route["route_id"] for route in everything.json] == ["east-1", "east-2"]
    assert [list(route) for route in everything.json] == [SHOWN_ROUTE_KEYS] * 2
    assert everything.json[0]["machine"]["address"] == "192.0.2.7"
    assert (await relight("route", "list", "--track", "beta", "--json")).json == []


async def test_a_route_has_its_machine_its_fault_and_its_events(relight, one_faulted):
    shown = (await relight("route", "show", "east-2")).out
    for text in ("east-2-g1", "192.0.2.7", "panic: no configuration", "systemctl restart"):
        assert text in shown
    assert "tester: a test" in shown
    assert "RelightRoute = 'east-2'" in shown
    assert "`relight route rollback east-2`" in shown
    assert "ROUTE" not in shown


async def test_a_route_as_json_has_its_machines_and_events(relight, one_faulted):
    shown = (await relight("route", "show", "east-2", "--json")).json
    assert list(shown) == ["route", "quarantine", "holds", "machines", "events"]
    assert list(shown["route"]) == SHOWN_ROUTE_KEYS
    assert shown["route"]["fault"]["journal_tail"] == ["panic: no configuration", "exited 2"]
    assert [list(machine) for machine in shown["machines"]] == [MACHINE_KEYS]
    assert [list(event) for event in shown["events"]] == [EVENT_KEYS] * 4


async def test_a_long_history_is_shown_from_its_end(relight, store):
    serve(store, "east-1")
    for _ in range(20):
        store.routes.record_machine(recording("east-1-g1"), run_on("east-1").activity())
    shown = (await relight("route", "show", "east-1")).out
    assert "earlier events: `relight events --route east-1`" in shown
    assert len((await relight("route", "show", "east-1", "--json")).json["events"]) == 23


async def test_a_route_shows_its_holds_and_each_is_removed_by_the_command_that_it_names(
    relight, one_faulted
):
    times = ("--for", "4h", "--owner", "ann", "-r", "incident 412")
    for words in (
        ("freeze", "add", "--track", "stable"),
        ("exclude", "add", "--route", "east-2", "--pin", "v0.0.73", "--unchecked"),
        ("breaker", "override", "add", "--provider", "lab"),
        ("exclude", "add", "--route", "east-1"),
    ):
        assert (await relight(*words, *times)).code == 0
    shown = await relight("route", "show", "east-2", "--json")
    kinds = ["freeze", "exclusion", "breaker-override"]
    assert [hold["kind"] for hold in shown.json["holds"]] == kinds
    text = (await relight("route", "show", "east-2")).out
    assert "exclusion 2 at v0.0.73 (route east-2), active" in text
    assert "by ann: incident 412" in text
    removals = re.findall("`relight ([a-z ]+ remove [0-9]+)` ends it", text)
    assert removals == [hold["remove"].removeprefix("relight ") for hold in shown.json["holds"]]
    for removal in removals:
        assert (await relight(*removal.split())).code == 0
    assert (await relight("route", "show", "east-2", "--json")).json["holds"] == []
