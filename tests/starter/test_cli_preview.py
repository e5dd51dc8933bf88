"""`relight rollout plan` and `relight rollout simulate`."""

import itertools
import resource
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relight.domain.event import PREFLIGHT_PASSED
from relight.domain.hold import Hold, HoldKind, Selector
from relight.domain.install_plan import InstallPlan
from relight.store.store import Store
from starter.cli.simulated_fleet import generate
from starter.cli.swap_durations import ASSUMED, swap_durations
from tests.starter.in_process import InProcess
from tests.starter.stores import (
    record_swap,
    refused,
    serve_all,
    store_of,
)
from tests.store.fleets import (
    FAULT,
    MANUAL,
    opening,
    run_on,
)

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
PLAN_KEYS = [
    "release_tag",
    "scope",
    "checks",
    "waves",
    "left_out",
    "frozen",
    "strata",
    "unmet_strata",
    "dry_runs",
]
SIMULATION_KEYS = [
    "release_tag",
    "scope",
    "fleet",
    "durations",
    "plan",
    "waves",
    "releases",
    "runs",
    "seed",
]


@pytest.fixture
def relight(tmp_path: Path, published: Mapping[str, str]) -> InProcess:
    """A command line with a repository and without Temporal."""
    return InProcess(tmp_path / "home", published)


@pytest.fixture
def store(relight: InProcess) -> Iterator[Store]:
    """A fleet of three tracks, one of which has a release override."""
    with store_of(relight) as store:
        store.tracks.set("beta", None, MANUAL)
        store.tracks.set("pinned", "v0.0.70", MANUAL)
        serve_all(store, "east-1", "east-2", "east-3", "east-4")
        serve_all(store, "beta-1", track="beta")
        serve_all(store, "pinned-1", track="pinned")
        yield store


def exclude(store: Store, route_id: str, pinned_to: str | None = None) -> Hold:
    return store.exclusions.add(
        Hold(
            kind=HoldKind.EXCLUSION,
            starts_at=NOW - HOUR,
            covers=Selector(route_id=route_id),
            owner="ann",
            reason="a customer debugs on it",
            ends_at=NOW + HOUR,
            pinned_to=pinned_to,
        ),
        MANUAL,
    )


def freeze(store: Store, route_id: str) -> Hold:
    return store.freezes.add(
        Hold(
            kind=HoldKind.FREEZE,
            starts_at=NOW - HOUR,
            ends_at=NOW + HOUR,
            owner="bob",
            reason="elections",
            covers=Selector(route_id=route_id),
        ),
        MANUAL,
    )


async def test_a_plan_has_the_waves_and_the_strata_of_the_canary_and_starts_nothing(relight, store):
    before = store.events.list()
    shown = await relight("rollout", "plan", "v0.0.74", "--wave", "1")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("v0.0.74 over fleet: 5 routes in 2 waves\n")
    for text in (
        "1 of 2  beta-1",
        "east-1, east-2, east-3, east-4",
        "the canary covers lab/amd64/beta",
        "it does not cover lab/amd64/stable: --canary strata would",
        "nothing was started",
    ):
        assert text in shown.out
    assert store.events.list() == before


async def test_a_plan_has_the_checks_after_each_wave(relight, store):
    words = ("rollout", "plan", "v0.0.74", "--check", "errors", "--check", "smoke")
    assert (
        "checks that have to pass after each wave: errors, smoke\n" in (await relight(*words)).out
    )
    assert (await relight(*words, "--json")).json["checks"] == ["errors", "smoke"]
    assert "have to pass" not in (await relight("rollout", "plan", "v0.0.74")).out


async def test_a_plan_has_the_last_dry_run_of_the_release_in_each_region(relight, store):
    plan = InstallPlan(
        installed=("libdaemon 2.0",),
        downgraded=("lantern-tools 2 -> 1",),
        download_bytes=20672,
        free_bytes=10**9,
    )

    def record(tag: str, scope: str, plan: InstallPlan, machine: str) -> None:
        region = "lab/lab-east"
        store.events.append(
            PREFLIGHT_PASSED,
            MANUAL,
            release_tag=tag,
            detail={
                "scope": scope,
                "dry_run_on": {region: machine},
                "plans": {region: plan.model_dump(mode="json")},
            },
        )

    record("v0.0.74", "fleet", InstallPlan(), "east-1-g1")
    record("v0.0.74", "fleet", plan, "east-2-g1")
    record("v0.0.74", "track:beta", InstallPlan(), "beta-1-g1")
    record("v0.0.73", "fleet", InstallPlan(), "east-3-g1")
    shown = await relight("rollout", "plan", "v0.0.74")
    assert "on east-2-g1 in lab/lab-east: installs libdaemon 2.0; downgrades lantern" in shown.out
    assert "downloads 20.7 kB, takes 0 B of 1.0 GB free" in shown.out
    [dry_run] = (await relight("rollout", "plan", "v0.0.74", "--json")).json["dry_runs"]
    assert (dry_run["machine_key"], dry_run["region"]) == ("east-2-g1", "lab/lab-east")
    assert dry_run["plan"] == plan.model_dump(mode="json")


async def test_a_plan_as_json_has_every_route_of_the_scope_once(relight, store):
    store.routes.open(opening("east-5"), run_on("east-5").activity())
    plan = (await relight("rollout", "plan", "v0.0.74", "--canary", "strata", "--json")).json
    assert list(plan) == PLAN_KEYS
    assert (plan["release_tag"], plan["scope"]) == ("v0.0.74", "fleet")
    routes = ["beta-1", "east-1", "east-2", "east-3", "east-4"]
    assert sorted(itertools.chain(*plan["waves"])) == routes
    assert plan["waves"][0] == ["beta-1", "east-1"]
    assert plan["unmet_strata"] == []
    [left_out] = plan["left_out"]
    assert left_out["route_id"] == "east-5"
    assert "has no machine" in left_out["reason"]


async def test_a_plan_has_reason_owner_and_end_of_left_out_and_frozen_routes(relight, store):
    exclusion, window = exclude(store, "east-1"), freeze(store, "east-2")
    exclude(store, "east-3", pinned_to="v0.0.73")
    exclude(store, "east-4", pinned_to="v0.0.74")
    shown = (await relight("rollout", "plan", "v0.0.74")).out
    assert "3 routes in 2 waves, 2 left out" in shown
    for text in (
        "east-1",
        "ann",
        "a customer debugs on it",
        f"{exclusion.ends_at:%Y-%m-%d %H:%M}",
        "bob",
        "elections",
        f"{window.ends_at:%Y-%m-%d %H:%M}",
    ):
        assert text in shown
    plan = (await relight("rollout", "plan", "v0.0.74", "--json")).json
    assert [each["route_id"] for each in plan["left_out"]] == ["east-1", "east-3"]
    assert [each["pinned_to"] for each in plan["left_out"]] == [None, "v0.0.73"]
    assert [(each["route_id"], each["owner"]) for each in plan["frozen"]] == [("east-2", "bob")]
    # Frozen routes come last; a pin to this release does not exclude its route.
    assert plan["waves"][-1][-1] == "east-2"
    assert "east-4" in itertools.chain(*plan["waves"])


async def test_a_plan_over_a_track_has_the_routes_of_that_track(relight, store):
    plan = (await relight("rollout", "plan", "v0.0.74", "--track", "pinned", "--json")).json
    assert (plan["scope"], plan["waves"]) == ("track:pinned", [["pinned-1"]])


@pytest.mark.parametrize("command", ["plan", "simulate"])
async def test_a_scope_that_does_not_exist_or_has_no_routes_is_refused(relight, store, command):
    words = ("rollout", command, "v0.0.74", "--track")
    refused(await relight(*words, "nowhere"), 2, "no track nowhere")
    store.tracks.set("empty", None, MANUAL)
    refused(await relight(*words, "empty"), 3, "no routes in the scope track:empty")
    refused(await relight("rollout", command, "latest"), 2, "'latest'")


async def test_a_simulation_has_waves_durations_reach_and_capacity(relight, store):
    before = store.events.list()
    shown = await relight("rollout", "simulate", "v0.0.74", "--probability", "0", "-p", "100%")
    assert (shown.code, shown.err) == (0, "")
    for text in (
        "v0.0.74 over fleet (from the store): 5 routes in 3 waves",
        "no swap is recorded yet; assumed duration: 15 s to 1 min 30 s",
        "10 converged",
        "10 stopped",
        "lab/east",
        "10 runs each, seed 0; nothing was started",
    ):
        assert text in shown.out
    assert store.events.list() == before


async def test_a_simulation_as_json_has_the_plan_and_a_forecast_for_each_probability(
    relight, store
):
    exclude(store, "east-1")
    exclude(store, "east-2", pinned_to="v0.0.74")
    words = ("--runs", "3", "--seed", "7", "-p", "0", "-p", "1", "--wave", "1")
    answer = (await relight("rollout", "simulate", "v0.0.74", *words, "--json")).json
    assert list(answer) == SIMULATION_KEYS
    assert (answer["runs"], answer["seed"]) == (3, 7)
    assert answer["fleet"] == {"source": "store", "routes": 5}
    plan = (await relight("rollout", "plan", "v0.0.74", "--wave", "1", "--json")).json
    assert answer["plan"] == {name: plan[name] for name in answer["plan"]}
    good, bad = answer["releases"]
    assert (good["converged"], good["touched_most"]) == (3, 4)
    assert (bad["aborted"], bad["touched_most"]) == (3, 1)
    # pinned-1 is outside of the scope and serves in the region throughout: 1 of 6 is out.
    assert bad["lowest_capacity"] == {"lab/east": pytest.approx(5 / 6)}


async def test_recorded_durations_replace_the_assumed_ones(relight, store):
    for seconds in (20, 40, 60):
        record_swap(store, timedelta(seconds=seconds))
    shown = await relight("rollout", "simulate", "v0.0.74")
    assert "duration of a swap, from the last 3: 30 s to 1 min 10 s, median 50 s" in shown.out
    answer = (await relight("rollout", "simulate", "v0.0.74", "-p", "0", "--json")).json
    assert answer["durations"] == {
        "source": "recorded",
        "count": 3,
        "shortest": "PT30S",
        "median": "PT50S",
        "longest": "PT1M10S",
    }


def test_failed_and_unreadable_swaps_have_no_duration(store):
    for detail, fault in (({"seen": FAULT.model_dump(mode="json")}, FAULT), ({"seen": {}}, None)):
        store.events.append(
            "swap-attempted",
            run_on("east-1").activity(),
            route_id="east-1",
            fault=fault,
            detail=detail,
        )
    assert swap_durations(store).each == ASSUMED
    record_swap(store, timedelta(seconds=5))
    assert swap_durations(store).each == [timedelta(seconds=15)]


async def test_the_same_seed_gives_the_same_forecasts_and_another_seed_others(relight):
    words = ("rollout", "simulate", "v0.0.74", "--fleet", "50", "--failure-budget", "3", "--json")
    first, again, other = [
        (await relight(*words, "--seed", seed)).json["releases"] for seed in ("1", "1", "2")
    ]
    assert first == again != other


async def test_a_generated_fleet_needs_no_store(relight):
    words = ("rollout", "simulate", "v0.0.74", "--fleet", "300")
    answer = (await relight(*words, "--canary", "strata", "--json")).json
    assert answer["fleet"] == {"source": "generated", "routes": 300}
    assert answer["plan"]["unmet_strata"] == []
    beta = (await relight(*words, "--track", "beta", "--json")).json
    assert 0 < beta["fleet"]["routes"] < 100
    refused(await relight(*words, "--track", "nowhere"), 2, "it has stable, beta, edge")


def test_a_generated_fleet_has_many_locations_and_depends_only_on_the_seed():
    fleet = generate(2000, seed=3)
    assert fleet == generate(2000, seed=3) != generate(2000, seed=4)
    assert len({each.route_id for each in fleet}) == 2000
    assert len({each.provider for each in fleet}) == 4
    assert len({(each.provider, each.region) for each in fleet}) == 36
    assert {each.machine.architecture for each in fleet if each.machine} == {"amd64", "arm64"}
    assert {each.track for each in fleet} == {"stable", "beta", "edge"}


async def test_a_cold_start_simulates_ten_thousand_routes_in_ten_seconds_of_cpu_time(relight):
    words = ("--canary", "strata", "--max-concurrent", "200", "--region-budget", "10%")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = await relight.processes("rollout", "simulate", "v0.0.74", "--fleet", "10000", *words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 10
    assert "10000 routes in" in ended.out
