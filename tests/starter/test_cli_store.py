"""Commands over the store alone: settings, tracks, routes, the fleet at a glance."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from relight.store.store import Store, open_store
from starter.cli.route_table import age
from tests.store.fleets import (
    HAND,
    failing,
    recording,
    run_on,
    serve,
)
from tests.support.command_line import CommandLine, Ended

ROUTE_KEYS = [
    "route_id",
    "track",
    "provider",
    "region",
    "status",
    "target_release_tag",
    "current_release_tag",
    "proven_at",
    "machine",
    "fault",
]
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


@pytest.fixture
def relight(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "home")


@pytest.fixture
def store(relight: CommandLine) -> Iterator[Store]:
    relight.home.mkdir()
    with open_store(f"sqlite:///{relight.home / 'fleet.db'}") as store:
        store.tracks.set("stable", None, HAND)
        store.settings.set("default_release_tag", "v0.0.73", HAND)
        yield store


@pytest.fixture
def one_faulted(store: Store) -> Store:
    """A fleet of two routes, one of which could not be brought to v0.0.74."""
    serve(store, "east-1")
    serve(store, "east-2")
    store.routes.record_fault(failing("east-2", key="east-2-g1"), run_on("east-2").activity())
    return store


def refused(ended: Ended, code: int, *named: str) -> None:
    assert ended.code == code, ended
    assert ended.out == ""
    for name in named:
        assert name in ended.said


async def test_a_setting_that_is_set_can_be_read_back_and_says_who_set_it_and_why(relight, store):
    done = await relight("settings", "set", "default_release_tag", "v0.0.74", "-r", "tested")
    assert (done.code, done.out.strip()) == (0, "default_release_tag is v0.0.74")
    assert (await relight("settings", "get", "default_release_tag")).out == "v0.0.74\n"
    event = store.events.list(kind="setting-set")[-1]
    assert "@" in event.requested_by
    assert event.reason == "tested"


async def test_settings_as_json_are_an_object_of_names_and_values(relight, store):
    everything = await relight("settings", "get", "--json")
    one = await relight("settings", "get", "default_release_tag", "--json")
    assert everything.json == one.json == {"default_release_tag": "v0.0.73"}


async def test_a_setting_that_is_not_set_is_refused_by_name(relight):
    refused(await relight("settings", "get", "default_release_tag"), 3, "default_release_tag")
    assert (await relight("settings", "get", "--json")).json == {}
    assert "provisioning refuses" in (await relight("settings", "get")).out


@pytest.mark.parametrize("words", [("get", "hue"), ("set", "hue", "red"), ("unset", "hue")])
async def test_an_unknown_setting_is_bad_input_and_the_known_ones_are_named(relight, store, words):
    ended = await relight("settings", *words)
    refused(ended, 2, "hue", "default_release_tag")
    assert store.settings.all() == {"default_release_tag": "v0.0.73"}


async def test_a_malformed_value_is_bad_input_with_an_example_of_a_good_one(relight, store):
    ended = await relight("settings", "set", "default_release_tag", "0.0.74")
    refused(ended, 2, "'0.0.74'", "as in v0.0.74")
    assert store.settings.get("default_release_tag") == "v0.0.73"


async def test_unset_says_whether_anything_was_set(relight, store):
    first = await relight("settings", "unset", "default_release_tag")
    second = await relight("settings", "unset", "default_release_tag")
    assert first.out.strip() == "default_release_tag is unset"
    assert second.out.strip() == "default_release_tag was not set"
    assert (first.code, second.code) == (0, 0)


async def test_a_track_is_made_overridden_left_alone_and_set_free_again(relight, store):
    made = await relight("track", "set", "beta")
    overridden = await relight("track", "set", "beta", "--release", "v0.0.74")
    left_alone = await relight("track", "set", "beta")
    assert made.out.strip() == "track beta follows the default"
    assert overridden.out == left_alone.out == "track beta is set to v0.0.74\n"
    await relight("track", "set", "beta", "--follow-default")
    shown = await relight("track", "show", "beta", "--json")
    assert shown.json == {"name": "beta", "release_override": None, "routes": 0}


async def test_all_tracks_as_json_are_a_list_with_the_number_of_their_routes(relight, store):
    serve(store, "east-1")
    shown = await relight("track", "show", "--json")
    assert shown.json == [{"name": "stable", "release_override": None, "routes": 1}]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("track", "show", "nowhere"), "nowhere"),
        (("track", "show", "No_Where"), "'No_Where'"),
        (("track", "set", "No_Where"), "'No_Where'"),
        (("track", "set", "beta", "--release", "latest"), "'latest'"),
        (("track", "set", "beta", "--release", "v1.0.0", "--follow-default"), "contradict"),
        (("route", "list", "--track", "nowhere"), "nowhere"),
        (("route", "show", "nowhere-1"), "nowhere-1"),
        (("route", "show", "Nowhere_1"), "'Nowhere_1'"),
    ],
    ids=" ".join,
)
async def test_what_is_not_there_or_misspelt_is_bad_input_by_name(relight, store, words, named):
    refused(await relight(*words), 2, named)
    assert [track.name for track in store.tracks.list()] == ["stable"]


async def test_the_fleet_as_json_says_what_is_declared_what_is_proven_and_what_drifts(
    relight, one_faulted
):
    ended = await relight("fleet", "status", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert list(ended.json) == [
        "default_release_tag",
        "tracks",
        "converged",
        "drifted",
        "proven",
        "routes",
    ]
    assert ended.json["converged"] is False
    assert ended.json["drifted"] == ["east-2"]
    assert ended.json["proven"] == {"v0.0.73": 2}
    assert [list(route) for route in ended.json["routes"]] == [ROUTE_KEYS] * 2


async def test_the_fleet_for_people_names_the_route_that_is_not_as_declared_and_its_fault(
    relight, one_faulted
):
    shown = (await relight("fleet", "status")).out
    assert "east-2 faulted: lantern-box.service failed" in shown
    assert "not as declared: east-2" in shown
    assert "default release: v0.0.73" in shown


async def test_a_fleet_of_nothing_says_so_and_where_provisioning_stands(relight):
    shown = await relight("fleet", "status")
    assert shown.code == 0
    assert "no routes" in shown.out
    assert "provisioning refuses" in shown.out
    assert (await relight("fleet", "status", "--json")).json["converged"] is True


async def test_a_track_with_a_release_of_its_own_is_as_declared_when_it_runs_that(relight, store):
    serve(store, "east-1")
    store.tracks.set("stable", "v0.0.74", HAND)
    assert (await relight("fleet", "status", "--json")).json["drifted"] == ["east-1"]
    store.tracks.set("stable", "v0.0.73", HAND)
    assert (await relight("fleet", "status", "--json")).json["drifted"] == []


async def test_routes_as_json_are_a_list_of_a_track_or_of_all(relight, one_faulted):
    one_faulted.tracks.set("beta", None, HAND)
    everything = await relight("route", "list", "--json")
    assert [route["route_id"] for route in everything.json] == ["east-1", "east-2"]
    assert [list(route) for route in everything.json] == [ROUTE_KEYS] * 2
    assert everything.json[0]["machine"]["address"] == "192.0.2.7"
    assert (await relight("route", "list", "--track", "beta", "--json")).json == []


async def test_a_route_for_people_shows_its_machine_its_fault_in_full_and_who_did_what(
    relight, one_faulted
):
    shown = (await relight("route", "show", "east-2")).out
    for what in ("east-2-g1", "192.0.2.7", "panic: no configuration", "systemctl restart"):
        assert what in shown
    assert "tester: to see what happens" in shown
    assert "RelightRoute = 'east-2'" in shown


async def test_a_route_as_json_holds_its_machines_and_events(relight, one_faulted):
    shown = (await relight("route", "show", "east-2", "--json")).json
    assert list(shown) == ["route", "machines", "events"]
    assert list(shown["route"]) == ROUTE_KEYS
    assert shown["route"]["fault"]["journal_tail"] == ["panic: no configuration", "exited 2"]
    assert [list(machine) for machine in shown["machines"]] == [MACHINE_KEYS]
    assert [list(event) for event in shown["events"]] == [EVENT_KEYS] * 4


async def test_a_route_with_a_long_history_shows_the_end_of_it_and_how_much_came_before(
    relight, store
):
    serve(store, "east-1")
    for _ in range(20):
        store.routes.record_machine(recording("east-1-g1"), run_on("east-1").activity())
    assert "8 earlier ones: --json shows them all" in (await relight("route", "show", "east-1")).out
    assert len((await relight("route", "show", "east-1", "--json")).json["events"]) == 23


async def test_no_text_is_lost_on_a_terminal_of_80_columns(relight, one_faulted):
    controller, terminal = os.openpty()
    try:
        ended = await relight.where(COLUMNS="80", TERM="xterm").on_terminal(
            terminal, "fleet", "status"
        )
        os.set_blocking(controller, False)
        shown = os.read(controller, 65536).decode()
    finally:
        os.close(controller)
        os.close(terminal)
    assert ended == 0
    assert "…" not in shown
    for what in ("east-1", "lab/east", "192.0.2.7", "faulted", "v0.0.73"):
        assert what in shown


async def test_the_file_env_of_the_home_folder_says_where_the_store_is(relight, store, tmp_path):
    elsewhere = CommandLine(tmp_path / "elsewhere")
    elsewhere.home.mkdir()
    url = f"sqlite:///{relight.home / 'fleet.db'}"
    (elsewhere.home / "env").write_text(f"RELIGHT_STORE_URL={url}\n")
    assert (await elsewhere("settings", "get", "default_release_tag")).out == "v0.0.73\n"


async def test_an_address_that_no_store_can_be_kept_in_is_refused(relight):
    wrong = relight.where(RELIGHT_STORE_URL="mysql://root:hunter2@db.example/fleet")
    ended = await wrong("fleet", "status")
    refused(ended, 3, "mysql")
    assert "hunter2" not in ended.err


@pytest.mark.parametrize(
    ("past", "shown"),
    [
        (timedelta(seconds=-3), "0 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=23), "23 h"),
        (timedelta(days=40), "40 d"),
    ],
)
def test_an_age_is_in_its_largest_whole_unit(past, shown):
    assert age(past) == shown
