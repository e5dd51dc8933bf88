"""`relight fleet status`."""

import os
import re

from tests.starter.stores import SHOWN_ROUTE_KEYS, serve_all
from tests.store.fleets import MANUAL, begin_swap


async def test_the_fleet_as_json_has_declared_and_proven_releases_and_drift(relight, one_faulted):
    ended = await relight("fleet", "status", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert list(ended.json) == [
        "default_release_tag",
        "tracks",
        "converged",
        "drifted",
        "not_known",
        "proven",
        "others",
        "liveness",
        "incident",
        "incidents",
        "routes",
    ]
    assert ended.json["converged"] is False
    assert ended.json["drifted"] == ["east-2"]
    assert ended.json["not_known"] == []
    assert (ended.json["proven"], ended.json["others"]) == ({"v0.0.73": 1}, {"faulted": 1})
    assert [list(route) for route in ended.json["routes"]] == [SHOWN_ROUTE_KEYS] * 2


async def test_the_fleet_names_the_drifted_route_and_its_fault(relight, one_faulted):
    shown = (await relight("fleet", "status")).out
    assert "east-2 faulted: lantern-box.service failed" in shown
    assert "not as declared: east-2" in shown
    assert "default release: v0.0.73" in shown


async def test_an_empty_fleet_has_no_routes_and_no_default_release(relight):
    assert (await relight("init")).code == 0
    shown = await relight("fleet", "status")
    assert shown.code == 0
    assert "no routes" in shown.out
    assert "provisioning is refused" in shown.out
    assert (await relight("fleet", "status", "--json")).json["converged"] is True


async def test_a_track_with_an_override_has_drift_until_it_runs_the_override(relight, store):
    serve_all(store, "east-1")
    store.tracks.set("stable", "v0.0.74", MANUAL)
    assert (await relight("fleet", "status", "--json")).json["drifted"] == ["east-1"]
    store.tracks.set("stable", "v0.0.73", MANUAL)
    assert (await relight("fleet", "status", "--json")).json["drifted"] == []


async def test_the_skew_has_a_bar_for_each_target_and_current_release(relight, store):
    serve_all(store, "east-1", "east-2", "east-3")
    begin_swap(store, "east-2")
    at = store.events.list(kind="target-set")[0].at
    shown = (await relight("fleet", "skew")).out
    for row in (
        rf"stable +v0\.0\.73 +v0\.0\.74 +v0\.0\.73 +1 +#{{6}} +{at:%Y-%m-%d %H:%M}",
        r"stable +v0\.0\.73 +v0\.0\.73 +v0\.0\.73 +2 +#{13} +-",
    ):
        assert re.search(row, shown), shown
    assert f"stable: 1 of 3 lag, since {at:%Y-%m-%d %H:%M} UTC" in shown
    skew = (await relight("fleet", "skew", "--json")).json
    assert skew == store.skew.get().model_dump(mode="json")
    assert (skew["tracks"][0]["lagging"], len(skew["tracks"][0]["pairs"])) == (1, 2)


async def test_a_fleet_without_routes_has_no_skew(relight, store):
    assert (await relight("fleet", "skew")).out == "no route is in service\n"


async def test_the_json_of_a_process_goes_through_a_pipe(relight, one_faulted):
    in_process, piped = [
        await command("fleet", "status", "--json") for command in (relight, relight.processes)
    ]
    assert piped == in_process


async def test_no_text_is_cut_on_a_terminal_of_80_columns(relight, one_faulted):
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
    for text in ("east-1", "lab/east", "192.0.2.7", "faulted", "v0.0.73"):
        assert text in shown
