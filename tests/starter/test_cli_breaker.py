"""`relight breaker`: its state, and the overrides of its groups."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerIncident,
    ConnectivityResult,
)
from relight.domain.fault.table import fault
from tests.starter.stores import refused, serve_all
from tests.store.fleets import MANUAL, begin_swap, failing, replace_machine, run_on


async def test_the_status_has_the_incident_and_the_connectivity_checks(relight, store):
    now = datetime.now(UTC)
    assert (await relight("breaker", "status")).out.startswith("closed")
    incident = BreakerIncident(opened_at=now, last_observed_at=now, summary="region lab/x: 2 of 2")
    store.breaker.update(lambda _: Breaker(incident=incident), MANUAL)
    store.breaker.record_connectivity(
        [
            ConnectivityResult(
                name="https://a.example", observed_at=now, reached=False, answer="no answer"
            )
        ]
    )
    shown = (await relight("breaker", "status")).out
    assert "OPEN since" in shown
    # Evaluated now: the region is no cause any more, and the latest check has failed.
    offline = "no connectivity check of the control plane succeeded recently (https://a.example)"
    assert offline in shown
    assert "no answer" in shown
    as_json = (await relight("breaker", "status", "--json")).json
    assert as_json["breaker"]["incident"]["summary"] == offline


async def test_the_status_has_each_limit_with_what_is_used_and_when_it_frees(relight, store):
    serve_all(store, "r-1", "r-2")
    shown = (await relight("breaker", "status")).out
    assert "destroyed per hour: at most 10, and 2 in a region" in shown
    assert "out at once: at most 10% of a provider, 10% of a region, 10% of a track" in shown
    assert "of no limit anything is used now" in shown
    replace_machine(store)
    [begun] = store.events.list(kind="machine-attached")
    frees = f"at {begun.at + timedelta(hours=1):%H:%M} UTC"
    begin_swap(store, "r-2")
    ended = await relight("breaker", "status")
    assert re.search(rf"destroyed per hour +fleet +1 of 10 +{frees}", ended.out), ended
    assert re.search(rf"destroyed per hour +region lab/east +1 of 2 +{frees}", ended.out)
    assert re.search(r"out at once +track stable +1 of 1 +when r-2 is proven again", ended.out)
    uses = (await relight("breaker", "status", "--json")).json["limits"]
    assert [(each["group"], each["used"], each["limit"]) for each in uses] == [
        ("fleet", 1, 10),
        ("region lab/east", 1, 2),
        ("provider lab", 1, 1),
        ("region lab/east", 1, 1),
        ("track stable", 1, 1),
    ]


async def test_an_override_is_added_listed_and_removed(relight, store):
    serve_all(store, "east-1")
    words = ("--provider", "lab", "--region", "east", "--owner", "ann", "--until", "2100-01-01")
    done = await relight("breaker", "override", "add", *words, "--reason", "it closed")
    assert done.out == "override 1: lab/east (1 route now), until 2100-01-01 00:00 UTC\n"
    assert done.notes == []
    [kept] = store.breaker_overrides.list()
    assert (kept.owner, kept.reason) == ("ann", "it closed")
    assert "active" in (await relight("breaker", "override", "list")).out
    assert (await relight("breaker", "override", "remove", "1")).out == "override 1 is removed\n"
    assert (await relight("breaker", "override", "list")).out == "no overrides\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("add", "--region", "east", "--for", "1h", "-r", "x"), "covers one group"),
        (("add", "--track", "nowhere", "--for", "1h", "-r", "x"), "no track nowhere"),
        (("add", "-r", "x"), "set the end"),
        (("remove", "7"), "there is no override 7"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_an_invalid_override_is_bad_input(relight, store, words, text):
    before = store.events.list()
    refused(await relight("breaker", "override", *words), 2, text)
    assert (store.breaker_overrides.list(), store.events.list()) == ([], before)


async def test_an_override_of_a_group_without_machines_is_accepted_with_a_warning(relight, store):
    done = await relight(
        *("breaker", "override", "add", "--provider", "nobody", "--for", "1h", "-r", "x")
    )
    assert done.code == 0
    assert "check the spelling" in done.said


async def test_status_says_at_once_what_was_recorded_since_the_last_run(relight, store):
    serve_all(store, "east-1", "east-2", "east-3")
    assert (await relight("breaker", "status")).out.startswith("closed")
    for route_id in ("east-1", "east-2"):
        unreachable = fault("host-unreachable", "no SSH login")
        key = f"{route_id}-g1"
        unreachable = unreachable.model_copy(update={"machine_key": key})
        recorded = failing(route_id, unreachable, key=key)
        store.routes.record_fault(recorded, run_on(route_id).activity())
    shown = (await relight("breaker", "status")).out
    assert "OPEN since" in shown
    assert "2 of 3 machines cannot be reached" in shown
    # It only looks.
    assert store.breaker.get() == Breaker()


async def test_offline_the_status_says_so_by_checks_of_its_own(relight, store):
    offline = relight.where(RELIGHT_CONNECTIVITY_CHECKS='["tcp://127.0.0.1:1"]')
    shown = (await offline("breaker", "status")).out
    assert "no connectivity check of the control plane succeeded" in shown
