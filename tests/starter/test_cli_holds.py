"""`relight freeze`, `exclude` and `breaker override`: the options and the state of each hold."""

import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from relight.person import person
from relight.store.store import Store
from tests.starter.in_process import InProcess
from tests.starter.stores import (
    refused,
    serve_all,
    store_of,
)

ME = f"{person().name}@{socket.gethostname()}"
HOLD_KEYS = [
    *("kind", "covers", "starts_at", "ends_at", "owner", "reason", "pinned_to"),
    *("hold_id", "added_at"),
]


@pytest.fixture
def store(relight: InProcess) -> Iterator[Store]:
    with store_of(relight) as store:
        serve_all(store, "east-1", "east-2")
        yield store


async def test_by_default_a_freeze_starts_now_and_covers_the_fleet(relight, store):
    before = datetime.now(UTC)
    done = await relight("freeze", "add", "--for", "4h", "--reason", "incident 412")
    assert (done.code, done.notes) == (0, [])
    assert done.out.startswith("freeze 1: all routes (2 routes now), ")
    [kept] = store.freezes.list()
    assert before <= kept.starts_at <= datetime.now(UTC)
    assert kept.ends_at - kept.starts_at == timedelta(hours=4)
    assert (kept.owner, kept.reason, kept.covers.selects_all) == (ME, "incident 412", True)
    [event] = store.events.list(kind="freeze-added")
    assert (event.requested_by, event.reason) == (ME, "incident 412")


async def test_a_freeze_has_every_option_and_its_json(relight, store):
    words = ("--route", "east-1", "--track", "stable", "--provider", "lab", "--region", "east")
    when = ("--from", "2100-12-24T18:00+01:00", "--until", "2100-12-27")
    done = await relight(
        "freeze", "add", *words, *when, "--owner", "ann", "--reason", "holidays", "--json"
    )
    assert list(done.json) == HOLD_KEYS
    assert done.json["starts_at"] == "2100-12-24T17:00:00Z"
    assert done.json["ends_at"] == "2100-12-27T00:00:00Z"
    assert done.json["owner"] == "ann"
    assert done.json["covers"] == {
        "route_id": "east-1",
        "provider": "lab",
        "region": "east",
        "track": "stable",
    }


async def test_the_list_has_owner_selector_and_state(relight, store):
    for words in (
        ("--track", "stable", "--for", "3h", "-r", "elections"),
        ("--provider", "lab", "--from", "2100-01-01", "--until", "2100-01-02", "-r", "new year"),
    ):
        assert (await relight("freeze", "add", *words)).code == 0
    shown = (await relight("freeze", "list")).out
    for text in (
        "track stable",
        "provider lab",
        ME,
        "elections",
        "2100-01-02 00:00",
        "upcoming, in ",
    ):
        assert text in shown
    assert re.search("active, (3 h|2 h 59 min) left", shown)
    active, upcoming = (await relight("freeze", "list", "--json")).json
    assert list(active) == [*HOLD_KEYS, "state", "routes"]
    assert (active["state"], active["routes"]) == ("active", 2)
    assert upcoming["state"] == "upcoming"


async def test_expired_holds_stay_in_the_list(relight, store):
    for command in (("freeze",), ("exclude",), ("breaker", "override")):
        words = ("--provider", "lab", "--for", "1s", "-r", "short")
        assert (await relight(*command, "add", *words)).code == 0
        [expired] = (await relight(*command, "list", "--json")).json
        while expired["state"] != "expired":
            [expired] = (await relight(*command, "list", "--json")).json
        assert "expired" in (await relight(*command, "list")).out.split()


async def test_every_kind_has_the_same_options_and_the_same_json(relight, store):
    words = ("--provider", "lab", "--from", "2100-01-01", "--until", "2100-01-02")
    for command in (("freeze",), ("exclude",), ("breaker", "override")):
        added = await relight(*command, "add", *words, "--owner", "ann", "-r", "moves", "--json")
        assert list(added.json) == HOLD_KEYS
        [shown] = (await relight(*command, "list", "--json")).json
        assert shown == {**added.json, "state": "upcoming", "routes": 2}
        text = (await relight(*command, "add", *words, "-r", "moves")).out
        assert text.endswith(
            "provider lab (2 routes now), from 2100-01-01 00:00 until 2100-01-02 00:00 UTC\n"
        )


async def test_a_freeze_is_removed_by_its_number_once(relight, store):
    await relight("freeze", "add", "--for", "4h", "-r", "incident 412")
    done = await relight("freeze", "remove", "1", "-r", "it is over")
    assert (done.code, done.out) == (0, "freeze 1 is removed\n")
    assert store.events.list(kind="freeze-removed")[0].reason == "it is over"
    refused(await relight("freeze", "remove", "1"), 2, "no freeze 1", "relight freeze list")
    assert (await relight("freeze", "list")).out == "no freezes\n"


async def test_an_exclusion_and_a_pin_are_added_listed_and_removed(relight, store, published):
    relight = relight.where(**published)
    words = ("--route", "east-1", "--for", "2d", "-r", "a customer debugs on it")
    added = await relight("exclude", "add", *words)
    assert added.out.startswith("exclusion 1: route east-1 (1 route now), until ")
    pin = ("--track", "stable", "--pin", "v0.0.73", "--for", "1w", "--owner", "ann", "-r", "leaks")
    pinned = await relight("exclude", "add", *pin, "--json")
    assert list(pinned.json) == HOLD_KEYS
    assert (pinned.json["pinned_to"], pinned.json["owner"]) == ("v0.0.73", "ann")
    shown = (await relight("exclude", "list")).out
    for text in ("route east-1", "track stable", "v0.0.73", ME, "ann"):
        assert text in shown
    assert re.search("active, (2 d|1 d 23 h) left", shown)
    first, second = (await relight("exclude", "list", "--json")).json
    assert list(first) == [*HOLD_KEYS, "state", "routes"]
    assert [(each["state"], each["routes"]) for each in (first, second)] == [
        ("active", 1),
        ("active", 2),
    ]
    for number in ("1", "2"):
        assert (await relight("exclude", "remove", number)).code == 0
    assert (await relight("exclude", "list")).out == "no exclusions\n"
    refused(await relight("exclude", "remove", "2"), 2, "no exclusion 2")


async def test_a_selector_without_routes_is_accepted_with_a_warning(relight, store):
    done = await relight("exclude", "add", "--provider", "linod", "--for", "2d", "-r", "moves")
    assert done.code == 0
    assert "no route matches provider linod now: check the spelling" in done.said
    assert "(no routes now)" in done.out


FOR = ("--for", "4h")
WHY = ("-r", "why")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("freeze", "add", *FOR), "--reason"),
        (("freeze", "add", *FOR, "-r", " "), "it is empty"),
        (("freeze", "add", *WHY), "--until or --for"),
        (("freeze", "add", *WHY, *FOR, "--until", "2100-01-01"), "not both"),
        (("freeze", "add", *WHY, "--for", "4"), "4h"),
        (("freeze", "add", *WHY, "--for", "0s"), "in the past"),
        (("freeze", "add", *WHY, "--for", "999999w"), "calendar"),
        (("freeze", "add", *WHY, "--until", "tomorrow"), "'tomorrow'"),
        (("freeze", "add", *WHY, "--until", "2020-01-01"), "2020-01-01 00:00 UTC"),
        (
            ("freeze", "add", *WHY, "--from", "2100-01-02", "--until", "2100-01-01"),
            "before the start 2100-01-02",
        ),
        (("freeze", "add", *WHY, *FOR, "--track", "nowhere"), "no track nowhere"),
        (("freeze", "add", *WHY, *FOR, "--route", "nowhere-1"), "no route nowhere-1"),
        (("freeze", "add", *WHY, *FOR, "--route", "No_Where"), "'No_Where'"),
        (("freeze", "add", *WHY, *FOR, "--provider", ""), "empty"),
        (("exclude", "add", *WHY, *FOR), "to hold all, freeze"),
        (("exclude", "add", *WHY, "--route", "east-1"), "--until or --for"),
        (("exclude", "add", *WHY, *FOR, "--route", "east-1", "--pin", "latest"), "'latest'"),
        (("exclude", "add", *WHY, *FOR, "--track", "nowhere"), "no track nowhere"),
    ],
    ids=str,
)
async def test_an_invalid_hold_is_bad_input(relight, store, words, text):
    before = store.events.list()
    refused(await relight(*words), 2, text)
    assert (store.freezes.list(), store.exclusions.list()) == ([], [])
    assert store.events.list() == before
